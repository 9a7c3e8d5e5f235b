//! Sets attributes of mounts by `mount_setattr(2)` and `open_tree_attr(2)`, which no library calls yet. One of the system-call
//! wrappers.

use std::{
    ffi::CStr,
    io,
    os::fd::{FromRawFd as _, OwnedFd},
};

use rustix::mount::{MountAttrFlags, OpenTreeFlags};

/// The same number on every architecture but alpha.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

impl Attributes {
    fn setting(set: MountAttrFlags) -> Self {
        Self { set: set.bits().into(), clear: 0, propagation: 0, userns_fd: 0 }
    }
}

/// Sets attributes of the mount at a path; `ENOSYS` before Linux 5.12.
pub fn mount_setattr(path: &CStr, set: MountAttrFlags) -> io::Result<()> {
    let attributes = Attributes::setting(set);
    let size = size_of::<Attributes>();
    // SAFETY: mount_setattr(2) reads the path and the attributes, and both live as long as the call.
    let failed = unsafe {
        libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, path.as_ptr(), 0, &raw const attributes, size)
    } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The same, and the mount opened; `ENOSYS` before Linux 6.15.
pub fn open_tree_attr(path: &CStr, set: MountAttrFlags) -> io::Result<OwnedFd> {
    let attributes = Attributes::setting(set);
    let (flags, size) = (OpenTreeFlags::OPEN_TREE_CLOEXEC.bits(), size_of::<Attributes>());
    // SAFETY: open_tree_attr(2) reads the path and the attributes, and both live as long as the call.
    let result =
        unsafe { libc::syscall(OPEN_TREE_ATTR, libc::AT_FDCWD, path.as_ptr(), flags, &raw const attributes, size) };
    match i32::try_from(result) {
        // SAFETY: the kernel has just made it, and nobody else knows of it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
