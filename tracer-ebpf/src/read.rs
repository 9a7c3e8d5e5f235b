//! Reads of kernel memory. An address is a plain number here: the verifier lets a number through any function, and a
//! read through the helper cannot fault, it fails.

use core::mem::MaybeUninit;

use aya_ebpf::{EbpfContext, Global, helpers::generated};
use tracer_common::fact::ABSENT;

/// `MAX_ERRNO` of `linux/err.h`.
const MAX_ERRNO: u64 = 4095;

/// The integer at `address`, zero where nothing can be read: the helper clears what it cannot fill.
///
/// No branch on failure, on purpose: a branch doubles the paths that the verifier follows, in a loop at every turn.
#[inline(always)]
pub(crate) fn read<T>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the destination is `size_of::<T>()` bytes of our stack, which the helper fills in any case; it bears any
    // source. Every `T` used here is a plain integer.
    unsafe {
        generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        value.assume_init()
    }
}

/// The member of an object at `object`, zero where nothing can be read or this kernel has no such member.
#[inline(always)]
pub(crate) fn member<T: Default>(object: u64, offset: &Global<u32>) -> T {
    let offset = offset.load();
    if offset == ABSENT { T::default() } else { read(object.wrapping_add(u64::from(offset))) }
}

/// A pointer in an object.
#[inline(always)]
pub(crate) fn pointer(object: u64, offset: &Global<u32>) -> u64 {
    member(object, offset)
}

/// Whether a pointer stands for an errno: `IS_ERR` of `linux/err.h`.
#[inline(always)]
pub(crate) fn is_error(pointer: u64) -> bool {
    pointer >= MAX_ERRNO.wrapping_neg()
}

/// The running thread's `struct task_struct *`.
#[inline(always)]
pub(crate) fn current() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { generated::bpf_get_current_task() }
}

/// Copies a NUL-ended string of at most `limit` bytes to `to`; how many bytes it took, NUL included, 0 when unreadable.
///
/// # Safety
/// `to` must have room for `limit` bytes.
#[inline(always)]
pub(crate) unsafe fn string(to: *mut u8, limit: u32, from: u64) -> usize {
    if from == 0 {
        return 0;
    }
    // SAFETY: the caller gives the room; the helper bears any source.
    let n = unsafe { generated::bpf_probe_read_kernel_str(to.cast(), limit, from as *const _) };
    if n < 0 { 0 } else { n as usize }
}

/// The `n`th word of a trampoline's context: an argument, or behind the last one the result.
///
/// Read through the helper, so that the verifier takes it for a number and not for a typed pointer: numbers may be
/// handed to global functions, and the index may come from a global.
#[inline(always)]
pub(crate) fn word(context: &impl EbpfContext, n: u32) -> u64 {
    read(context.as_ptr() as u64 + u64::from(n) * 8)
}

/// Copies a NUL-ended string of at most `limit` bytes of the caller's memory to `to`; how many bytes it took, NUL
/// included, 0 when unreadable.
///
/// # Safety
/// `to` must have room for `limit` bytes.
#[inline(always)]
pub(crate) unsafe fn user_string(to: *mut u8, limit: u32, from: u64) -> usize {
    if from == 0 {
        return 0;
    }
    // SAFETY: the caller gives the room; the helper bears any source.
    let n = unsafe { generated::bpf_probe_read_user_str(to.cast(), limit, from as *const _) };
    if n < 0 { 0 } else { n as usize }
}

/// The word at `address` of the caller's memory, zero where nothing can be read.
#[inline(always)]
pub(crate) fn user_word(address: u64) -> u64 {
    let mut value = 0u64;
    // SAFETY: the destination is eight bytes of our stack; the helper bears any source.
    unsafe { generated::bpf_probe_read_user((&raw mut value).cast(), 8, address as *const _) };
    value
}
