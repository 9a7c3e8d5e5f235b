//! System calls that no library makes, and such with addresses that lead nowhere. As 32-bit programs make them: `raw32.rs`.
//!
//! No other file of the trials has `unsafe` for calls. An address is a number here: the kernel looks at it, not we.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use libc::{
    SYS_bpf, SYS_clone, SYS_clone3, SYS_fanotify_init, SYS_fanotify_mark, SYS_ioctl, SYS_mount, SYS_mount_setattr,
    SYS_ptrace, SYS_umount2, c_long,
};
use rustix::io::Errno;

/// Numbers that the library has not, the same on every architecture.
const STATMOUNT: c_long = 457;
const LISTMOUNT: c_long = 458;
const OPEN_TREE_ATTR: c_long = 467;
/// `NS_GET_MNTNS_ID` of `linux/nsfs.h`.
const GET_MNTNS_ID: u64 = 0x8008_b705;

/// `linux/fanotify.h`: `FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_REPORT_MNT`, `FAN_MARK_ADD | FAN_MARK_MNTNS`, and
/// `FAN_MNT_ATTACH | FAN_MNT_DETACH`.
const MOUNT_EVENTS: u64 = 0x1 | 0x2 | 0x10 | 0x4000;
const MARK_NAMESPACE: u64 = 0x1 | 0x110;
const COMES_OR_GOES: u64 = 0x0100_0000 | 0x0200_0000;

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
    done(unsafe { call(SYS_mount, [source, target, fstype, flags, data]) })
}

/// umount2(2) with an address instead of a string.
pub(crate) fn umount2(target: u64, flags: u64) -> Result<(), Errno> {
    // SAFETY: umount2(2) only reads memory, and the kernel checks the address.
    done(unsafe { call(SYS_umount2, [target, flags, 0, 0, 0]) })
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
    done(unsafe { call(SYS_mount_setattr, [directory, path, flags, std::ptr::from_ref(attr) as u64, size]) })
}

/// `open_tree_attr(2)`; the path is absolute.
pub(crate) fn open_tree_attr(path: &CStr, flags: u64, attr: &MountAttr) -> Result<OwnedFd, Errno> {
    let (path, size) = (path.as_ptr() as u64, size_of::<MountAttr>() as u64);
    // SAFETY: open_tree_attr(2) only reads the path and the structure, which live as long as the call.
    let fd = unsafe { call(OPEN_TREE_ATTR, [u64::MAX, path, flags, std::ptr::from_ref(attr) as u64, size]) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::BADF)?) })
}

/// ptrace(2) of a thread, a request without arguments.
pub(crate) fn ptrace(request: u64, thread: i32) -> Result<(), Errno> {
    // SAFETY: without arguments it touches no memory of ours.
    done(unsafe { call(SYS_ptrace, [request, u64::from(thread.unsigned_abs()), 0, 0, 0]) })
}

/// `statmount(2)`: `struct statmount` with its strings, of a mount by its unique id, in a namespace by its 64-bit id.
pub(crate) fn statmount(namespace: u64, mount: u64, mask: u64) -> Result<Vec<u8>, Errno> {
    let request = MountRequest { size: 32, spare: 0, mount, param: mask, namespace };
    let mut answer = vec![0; STATMOUNT_ROOM];
    let room = [answer.as_mut_ptr() as u64, answer.len() as u64];
    // SAFETY: statmount(2) reads the request and writes at most the whole of `answer`; both live as long as the call.
    done(unsafe { call(STATMOUNT, [std::ptr::from_ref(&request) as u64, room[0], room[1], 0, 0]) })?;
    Ok(answer)
}

/// `listmount(2)`: the unique ids of mounts below one, from the one behind `after` on; none when there are no more.
pub(crate) fn listmount(namespace: u64, below: u64, after: u64) -> Result<Vec<u64>, Errno> {
    let request = MountRequest { size: 32, spare: 0, mount: below, param: after, namespace };
    let mut ids = vec![0; LISTMOUNT_IDS];
    let room = [ids.as_mut_ptr() as u64, ids.len() as u64];
    // SAFETY: listmount(2) reads the request and writes at most the whole of `ids`; both live as long as the call.
    let count = unsafe { call(LISTMOUNT, [std::ptr::from_ref(&request) as u64, room[0], room[1], 0, 0]) }?;
    ids.truncate(usize::try_from(count).unwrap_or(0));
    Ok(ids)
}

/// The 64-bit id of the mount namespace that a descriptor refers to (6.11 and newer).
pub(crate) fn namespace_id(namespace: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut id = 0;
    // SAFETY: this ioctl writes eight bytes to `id`, which lives as long as the call.
    done(unsafe { call(SYS_ioctl, [number(namespace), GET_MNTNS_ID, std::ptr::from_mut(&mut id) as u64, 0, 0]) })?;
    Ok(id)
}

/// A descriptor that gives fanotify's events of mounts that come to and go from a namespace, without waiting for them (6.15 and
/// newer).
pub(crate) fn mount_events(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: fanotify_init(2) takes no addresses.
    let fd = unsafe { call(SYS_fanotify_init, [MOUNT_EVENTS, 0, 0, 0, 0]) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    let events = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::BADF)?) };
    // SAFETY: without a path fanotify_mark(2) takes no addresses.
    done(unsafe {
        call(SYS_fanotify_mark, [number(events.as_fd()), MARK_NAMESPACE, COMES_OR_GOES, number(namespace), 0])
    })?;
    Ok(events)
}

fn number(descriptor: BorrowedFd<'_>) -> u64 {
    u64::from(descriptor.as_raw_fd().cast_unsigned())
}

/// ioctl(2) that takes a number or nothing; what it returns.
pub(crate) fn ioctl_number(descriptor: BorrowedFd<'_>, request: u64, value: u64) -> Result<c_long, Errno> {
    // SAFETY: these requests touch no memory of ours: the kernel takes the argument for a number.
    unsafe { call(SYS_ioctl, [number(descriptor), request, value, 0, 0]) }
}

/// ioctl(2) that reads and writes a structure, whose size is part of the request; what is behind the structure is the request's too.
pub(crate) fn ioctl_bytes(descriptor: BorrowedFd<'_>, request: u64, bytes: &mut [u8]) -> Result<c_long, Errno> {
    // `_IOC_SIZE`.
    let size = (request >> 16) & 0x3fff;
    if (bytes.len() as u64) < size {
        return Err(Errno::INVAL);
    }
    // SAFETY: there is room for the structure, and what is larger says in it how large it is.
    unsafe { call(SYS_ioctl, [number(descriptor), request, bytes.as_mut_ptr() as u64, 0, 0]) }
}

/// `BLKPG` of `linux/blkpg.h` with `BLKPG_ADD_PARTITION`, or `BLKPG_DEL_PARTITION` for no length; all in bytes.
pub(crate) fn partition(disk: BorrowedFd<'_>, number_of_it: u32, start: u64, length: u64) -> Result<(), Errno> {
    const BLKPG: u64 = 0x1269;
    // `struct blkpg_partition` (152 bytes) and `struct blkpg_ioctl_arg`.
    let mut partition = [0_u64; 19];
    (partition[0], partition[1], partition[2]) = (start, length, u64::from(number_of_it));
    let what: u64 = if length == 0 { 2 } else { 1 };
    let argument = [what, size_of_val(&partition) as u64, partition.as_ptr() as u64];
    // SAFETY: the kernel reads both structures, which live as long as the call.
    done(unsafe { call(SYS_ioctl, [number(disk), BLKPG, argument.as_ptr() as u64, 0, 0]) })
}

/// The words of `struct bpf_link_info`, of the link with this number.
pub(crate) fn link_info(id: u32) -> Result<[u32; 16], Errno> {
    let asked = [id, 0];
    // SAFETY: bpf(2) only reads the attributes, which live as long as the call.
    let fd = unsafe { call(SYS_bpf, [LINK_BY_ID, asked.as_ptr() as u64, size_of_val(&asked) as u64, 0, 0]) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::BADF)?) };
    let mut info = [0; 16];
    let asked = [u64::from(fd.as_raw_fd().cast_unsigned()) | (64 << 32), info.as_mut_ptr() as u64];
    // SAFETY: bpf(2) reads the attributes and writes at most the 64 bytes of `info`; both live as long as the call.
    done(unsafe { call(SYS_bpf, [INFO_BY_FD, asked.as_ptr() as u64, size_of_val(&asked) as u64, 0, 0]) })?;
    Ok(info)
}

/// clone(2) of a child that ends at once; its process id.
pub(crate) fn clone_and_end(flags: u64) -> Result<i32, Errno> {
    unsafe_fork(SYS_clone, [flags, 0, 0, 0, 0])
}

/// clone3(2) of a child that ends at once; its process id.
pub(crate) fn clone3_and_end(flags: u64, exit_signal: u64) -> Result<i32, Errno> {
    // `struct clone_args` of `linux/sched.h`, its first version.
    let asked = [flags, 0, 0, 0, exit_signal, 0, 0, 0];
    unsafe_fork(SYS_clone3, [asked.as_ptr() as u64, size_of_val(&asked) as u64, 0, 0, 0])
}

/// Makes a child, which shares no memory with us and does nothing but end.
fn unsafe_fork(number: c_long, arguments: [u64; 5]) -> Result<i32, Errno> {
    // SAFETY: without CLONE_VM the child has memory of its own, and all that it does is to end.
    let answer = unsafe { call(number, arguments) }?;
    if answer == 0 {
        // SAFETY: the child's only step; it runs nothing that was registered for the end.
        unsafe { libc::_exit(0) };
    }
    Ok(i32::try_from(answer).unwrap_or(i32::MAX))
}

fn done(answer: Result<c_long, Errno>) -> Result<(), Errno> {
    answer.map(drop)
}

/// A system call as a 64-bit program makes it.
///
/// # Safety
///
/// What the call does with its arguments must be sound.
unsafe fn call(number: c_long, arguments: [u64; 5]) -> Result<c_long, Errno> {
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: the caller's promise. The library takes six arguments, always.
    let answer = unsafe { libc::syscall(number, first, second, third, fourth, fifth, 0u64) };
    if answer == -1 { Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)) } else { Ok(answer) }
}
