//! System calls as 32-bit programs make them: by `int 0x80`, which a 64-bit program may use too. On arm64 only a 32-bit program
//! can make them, so this is for x86-64 alone.
//!
//! An address is a number here: the kernel looks at it, not we.

use std::arch::asm;
use std::ffi::c_void;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// Numbers of the i386 table.
const MOUNT: u32 = 21;
const OLD_UMOUNT: u32 = 22;
const UMOUNT2: u32 = 52;
/// Not in rustix; from `asm/mman.h`.
const MAP_32BIT: u32 = 0x40;
const ARENA: usize = 64 * 1024;

/// Memory below 4 GiB, where a 32-bit program has its strings. Gone with the process.
pub(crate) struct LowMemory {
    start: *mut u8,
    used: usize,
}

impl LowMemory {
    /// Fresh memory.
    pub(crate) fn new() -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::from_bits_retain(MAP_32BIT);
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
        let start = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut::<c_void>(), ARENA, ProtFlags::READ | ProtFlags::WRITE, flags)
        };
        let start = start.context("no memory below 4 GiB")?.cast::<u8>();
        ensure!(u32::try_from(start as usize + ARENA).is_ok(), "MAP_32BIT gave memory at {start:?}");
        Ok(Self { start, used: 0 })
    }

    /// The address of a string with a zero behind it.
    pub(crate) fn text(&mut self, bytes: impl AsRef<[u8]>) -> Result<u32> {
        let bytes = bytes.as_ref();
        ensure!(self.used + bytes.len() < ARENA, "the memory below 4 GiB is used up");
        // SAFETY: the bytes and the zero, which the mapping has already, end within the mapping; nobody else has a
        // reference into it.
        let at = unsafe {
            let at = self.start.add(self.used);
            at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            at
        };
        self.used += bytes.len() + 1;
        Ok(u32::try_from(at as usize)?)
    }

    /// The address of `struct mount_attr` that sets these attributes.
    pub(crate) fn attributes(&mut self, set: u64) -> Result<u32> {
        self.text([set.to_ne_bytes().as_slice(), &[0; 24]].concat())
    }

    /// The address of a path.
    pub(crate) fn path(&mut self, path: &Path) -> Result<u32> {
        self.text(path.as_os_str().as_encoded_bytes())
    }
}

/// The i386 mount(2).
pub(crate) fn mount(source: u32, target: u32, fstype: u32, flags: u32, data: u32) -> Result<(), Errno> {
    // SAFETY: mount(2) only reads memory, and the kernel checks each address.
    check(unsafe { call(MOUNT, [source, target, fstype, flags, data]) })
}

/// The i386 umount2(2).
pub(crate) fn umount2(target: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: umount2(2) only reads memory, and the kernel checks the address.
    check(unsafe { call(UMOUNT2, [target, flags, 0, 0, 0]) })
}

/// The i386 umount(2), which has no flags.
pub(crate) fn old_umount(target: u32) -> Result<(), Errno> {
    // SAFETY: umount(2) only reads memory, and the kernel checks the address.
    check(unsafe { call(OLD_UMOUNT, [target, 0, 0, 0, 0]) })
}

/// `open_tree(2)`, `fsopen(2)` and `fspick(2)` by the i386 door: what gives a descriptor for a name.
pub(crate) fn open(number: u32, arguments: [u32; 3]) -> Result<OwnedFd, Errno> {
    let [first, second, third] = arguments;
    // SAFETY: these calls only read memory, and the kernel checks each address.
    let fd = unsafe { call(number, [first, second, third, 0, 0]) };
    check(fd)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A call by the i386 door that only reads memory and gives no descriptor: the newer calls for mounts.
pub(crate) fn newer(number: u32, arguments: [u32; 5]) -> Result<(), Errno> {
    // SAFETY: these calls only read memory, and the kernel checks each address.
    check(unsafe { call(number, arguments) })
}

fn check(answer: i32) -> Result<(), Errno> {
    let errno = answer.checked_neg().filter(|errno| *errno > 0);
    errno.map_or(Ok(()), |errno| Err(Errno::from_raw_os_error(errno)))
}

/// A system call as a 32-bit program makes it.
///
/// # Safety
///
/// What the call does with its arguments must be sound.
unsafe fn call(number: u32, arguments: [u32; 5]) -> i32 {
    let [first, second, third, fourth, fifth] = arguments;
    let answer: i32;
    // SAFETY: rbx, which the compiler keeps for itself, is put back; kernels before 4.17 zeroed r8 to r11; the rest is the
    // caller's promise.
    unsafe {
        asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) u64::from(first) => _,
            inlateout("eax") number => answer,
            in("ecx") second,
            in("edx") third,
            in("esi") fourth,
            in("edi") fifth,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
            options(nostack),
        );
    }
    answer
}
