//! Who is setting attributes of a mount that the kernel has to look up: counted, so that everybody else who looks up a path pays for one
//! comparison.

use core::arch::asm;

use tracer_common::fact::syscall;

use crate::{
    emit::call,
    maps::{Call, SETTING},
};

/// `OPEN_TREE_CLONE` of `uapi/linux/mount.h`.
const CLONE: u64 = 1;

/// Whether a call sets attributes of a mount that it looks up.
#[inline(always)]
fn sets(call: &Call) -> bool {
    call.syscall == syscall::MOUNT_SETATTR || call.syscall == syscall::OPEN_TREE_ATTR && call.flags & CLONE == 0
}

/// Notes that a call has begun.
#[inline(always)]
pub(crate) fn begins(call: &Call) {
    if sets(call) {
        add(1);
    }
}

/// Notes that a call has ended that was noted.
#[inline(always)]
pub(crate) fn ends(call: &Call) {
    if sets(call) {
        add(u64::MAX);
    }
}

#[inline(always)]
fn add(number: u64) {
    if let Some(count) = SETTING.get_ptr_mut(0) {
        // SAFETY: a map value, aligned, that programs of all CPUs add to. The library has no atomic addition for this target, which
        // lacks some of the others.
        unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) count, in(reg) number) };
    }
}

/// Whether any thread is in such a call. One whose end was missed counts for ever, and costs time alone.
#[inline(always)]
pub(crate) fn is_anybody() -> bool {
    SETTING.get(0).is_some_and(|count| *count != 0)
}

/// Whether this thread is.
#[inline(always)]
pub(crate) fn is_this_thread() -> bool {
    // SAFETY: a map value; only this thread writes it.
    call().is_some_and(|call| sets(unsafe { &*call }))
}
