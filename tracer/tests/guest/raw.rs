//! System calls that no library makes: with addresses that lead nowhere, and as a 32-bit program makes them.
//!
//! The one file of the trials with `unsafe` for calls. An address is a number here: the kernel looks at it, not we.

use std::arch::asm;
use std::ffi::{CStr, c_void};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

const IOCTL: u64 = 16;
const MOUNT: u64 = 165;
const UMOUNT2: u64 = 166;
const BPF: u64 = 321;
const CLONE: u64 = 56;
const CLONE3: u64 = 435;
const MOUNT_SETATTR: u64 = 442;
const STATMOUNT: u64 = 457;
const LISTMOUNT: u64 = 458;
const OPEN_TREE_ATTR: u64 = 467;
/// `NS_GET_MNTNS_ID` of `linux/nsfs.h`.
const GET_MNTNS_ID: u64 = 0x8008_b705;
/// The numbers of the i386 table.
const MOUNT_32: u32 = 21;
const OLD_UMOUNT_32: u32 = 22;
const UMOUNT2_32: u32 = 52;
/// Not in rustix; from `asm/mman.h`.
const MAP_32BIT: u32 = 0x40;
const ARENA: usize = 64 * 1024;

/// `BPF_OBJ_GET_INFO_BY_FD` and `BPF_LINK_GET_FD_BY_ID` of `linux/bpf.h`.
const INFO_BY_FD: u64 = 15;
const LINK_BY_ID: u64 = 30;

/// `struct mnt_id_req` of `linux/mount.h`, with the namespace (6.11 and newer).
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    param: u64,
    namespace: u64,
}

/// `struct statmount` up to its strings, and room for them.
const STATMOUNT_ROOM: usize = 8192;
/// How many ids one `listmount(2)` gives at most.
const LISTMOUNT_IDS: usize = 512;

/// An address at which no process has memory.
pub(crate) const NOWHERE: u64 = 8;

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MountAttr {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns_fd: u64,
}

/// mount(2) with addresses instead of strings.
pub(crate) fn mount(source: u64, target: u64, fstype: u64, flags: u64, data: u64) -> Result<(), Errno> {
    // SAFETY: mount(2) only reads memory, and the kernel checks each address.
    check(unsafe { call(MOUNT, [source, target, fstype, flags, data]) })
}

/// umount2(2) with an address instead of a string.
pub(crate) fn umount2(target: u64, flags: u64) -> Result<(), Errno> {
    // SAFETY: umount2(2) only reads memory, and the kernel checks the address.
    check(unsafe { call(UMOUNT2, [target, flags, 0, 0, 0]) })
}

/// `mount_setattr(2)`; `flags` as `AT_RECURSIVE`. The path is absolute, or is empty and the descriptor's.
pub(crate) fn mount_setattr(
    directory: Option<BorrowedFd<'_>>,
    path: &CStr,
    flags: u64,
    attr: &MountAttr,
) -> Result<(), Errno> {
    let (path, size) = (path.as_ptr() as u64, size_of::<MountAttr>() as u64);
    let directory = directory.map_or(u64::MAX, number);
    // SAFETY: mount_setattr(2) only reads the path and the structure, which live as long as the call.
    check(unsafe { call(MOUNT_SETATTR, [directory, path, flags, std::ptr::from_ref(attr) as u64, size]) })
}

/// `open_tree_attr(2)`; the path is absolute.
pub(crate) fn open_tree_attr(path: &CStr, flags: u64, attr: &MountAttr) -> Result<OwnedFd, Errno> {
    let (path, size) = (path.as_ptr() as u64, size_of::<MountAttr>() as u64);
    // SAFETY: open_tree_attr(2) only reads the path and the structure, which live as long as the call.
    let fd = unsafe { call(OPEN_TREE_ATTR, [u64::MAX, path, flags, std::ptr::from_ref(attr) as u64, size]) };
    check(fd)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::BADF)?) })
}

/// `statmount(2)`: `struct statmount` with its strings, of a mount by its unique id, in a namespace by its 64-bit id.
pub(crate) fn statmount(namespace: u64, mount: u64, mask: u64) -> Result<Vec<u8>, Errno> {
    let request = MountRequest { size: 32, spare: 0, mount, param: mask, namespace };
    let mut answer = vec![0; STATMOUNT_ROOM];
    let room = [answer.as_mut_ptr() as u64, answer.len() as u64];
    // SAFETY: statmount(2) reads the request and writes at most the whole of `answer`; both live as long as the call.
    check(unsafe { call(STATMOUNT, [std::ptr::from_ref(&request) as u64, room[0], room[1], 0, 0]) })?;
    Ok(answer)
}

/// `listmount(2)`: the unique ids of mounts below one, from the one behind `after` on; none when there are no more.
pub(crate) fn listmount(namespace: u64, below: u64, after: u64) -> Result<Vec<u64>, Errno> {
    let request = MountRequest { size: 32, spare: 0, mount: below, param: after, namespace };
    let mut ids = vec![0; LISTMOUNT_IDS];
    let room = [ids.as_mut_ptr() as u64, ids.len() as u64];
    // SAFETY: listmount(2) reads the request and writes at most the whole of `ids`; both live as long as the call.
    let count = unsafe { call(LISTMOUNT, [std::ptr::from_ref(&request) as u64, room[0], room[1], 0, 0]) };
    check(count)?;
    ids.truncate(usize::try_from(count).unwrap_or(0));
    Ok(ids)
}

/// The 64-bit id of the mount namespace that a descriptor refers to (6.11 and newer).
pub(crate) fn namespace_id(namespace: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut id = 0;
    // SAFETY: this ioctl writes eight bytes to `id`, which lives as long as the call.
    check(unsafe { call(IOCTL, [number(namespace), GET_MNTNS_ID, std::ptr::from_mut(&mut id) as u64, 0, 0]) })?;
    Ok(id)
}

fn number(descriptor: BorrowedFd<'_>) -> u64 {
    u64::from(descriptor.as_raw_fd().cast_unsigned())
}

/// The words of `struct bpf_link_info`, of the link with this number.
pub(crate) fn link_info(id: u32) -> Result<[u32; 16], Errno> {
    let asked = [id, 0];
    // SAFETY: bpf(2) only reads the attributes, which live as long as the call.
    let fd = unsafe { call(BPF, [LINK_BY_ID, asked.as_ptr() as u64, size_of_val(&asked) as u64, 0, 0]) };
    check(fd)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::BADF)?) };
    let mut info = [0; 16];
    let asked = [u64::from(fd.as_raw_fd().cast_unsigned()) | (64 << 32), info.as_mut_ptr() as u64];
    // SAFETY: bpf(2) reads the attributes and writes at most the 64 bytes of `info`; both live as long as the call.
    check(unsafe { call(BPF, [INFO_BY_FD, asked.as_ptr() as u64, size_of_val(&asked) as u64, 0, 0]) })?;
    Ok(info)
}

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
pub(crate) fn mount_32(source: u32, target: u32, fstype: u32, flags: u32, data: u32) -> Result<(), Errno> {
    // SAFETY: mount(2) only reads memory, and the kernel checks each address.
    check(unsafe { call_32(MOUNT_32, [source, target, fstype, flags, data]) }.into())
}

/// The i386 umount2(2).
pub(crate) fn umount2_32(target: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: umount2(2) only reads memory, and the kernel checks the address.
    check(unsafe { call_32(UMOUNT2_32, [target, flags, 0, 0, 0]) }.into())
}

/// The i386 umount(2), which has no flags.
pub(crate) fn old_umount_32(target: u32) -> Result<(), Errno> {
    // SAFETY: umount(2) only reads memory, and the kernel checks the address.
    check(unsafe { call_32(OLD_UMOUNT_32, [target, 0, 0, 0, 0]) }.into())
}

/// `open_tree(2)`, `fsopen(2)` and `fspick(2)` by the i386 door: what gives a descriptor for a name.
pub(crate) fn open_32(number: u32, arguments: [u32; 3]) -> Result<OwnedFd, Errno> {
    let [first, second, third] = arguments;
    // SAFETY: these calls only read memory, and the kernel checks each address.
    let fd = unsafe { call_32(number, [first, second, third, 0, 0]) };
    check(fd.into())?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A call by the i386 door that only reads memory and gives no descriptor: the newer calls for mounts.
pub(crate) fn newer_32(number: u32, arguments: [u32; 5]) -> Result<(), Errno> {
    // SAFETY: these calls only read memory, and the kernel checks each address.
    check(unsafe { call_32(number, arguments) }.into())
}

/// clone(2) of a child that ends at once; its process id.
pub(crate) fn clone_and_end(flags: u64) -> Result<i32, Errno> {
    let answer = unsafe_fork(CLONE, [flags, 0, 0, 0, 0]);
    check(answer).map(|()| i32::try_from(answer).unwrap_or(i32::MAX))
}

/// clone3(2) of a child that ends at once; its process id.
pub(crate) fn clone3_and_end(flags: u64, exit_signal: u64) -> Result<i32, Errno> {
    // `struct clone_args` of `linux/sched.h`, its first version.
    let asked = [flags, 0, 0, 0, exit_signal, 0, 0, 0];
    let answer = unsafe_fork(CLONE3, [asked.as_ptr() as u64, size_of_val(&asked) as u64, 0, 0, 0]);
    check(answer).map(|()| i32::try_from(answer).unwrap_or(i32::MAX))
}

/// Makes a child, which shares no memory with us and does nothing but end.
fn unsafe_fork(number: u64, arguments: [u64; 5]) -> i64 {
    let [first, second, third, fourth, fifth] = arguments;
    let answer: i64;
    // SAFETY: without CLONE_VM the child has memory of its own, and it leaves the block by exit(2) alone; the parent clobbers
    // what a system call clobbers.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov eax, 60",
            "xor edi, edi",
            "syscall",
            "2:",
            inlateout("rax") number => answer,
            inlateout("rdi") first => _,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

fn check(answer: i64) -> Result<(), Errno> {
    let errno = answer.checked_neg().and_then(|errno| i32::try_from(errno).ok()).filter(|errno| *errno > 0);
    errno.map_or(Ok(()), |errno| Err(Errno::from_raw_os_error(errno)))
}

/// A system call as a 64-bit program makes it.
///
/// # Safety
///
/// What the call does with its arguments must be sound.
unsafe fn call(number: u64, arguments: [u64; 5]) -> i64 {
    let [first, second, third, fourth, fifth] = arguments;
    let answer: i64;
    // SAFETY: the instruction clobbers rcx and r11 alone; the rest is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// A system call as a 32-bit program makes it.
///
/// # Safety
///
/// What the call does with its arguments must be sound.
unsafe fn call_32(number: u32, arguments: [u32; 5]) -> i32 {
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
