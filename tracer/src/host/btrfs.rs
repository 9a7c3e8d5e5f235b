//! Which btrfs an open file or directory is of. One of the system-call wrappers: an ioctl of `linux/btrfs.h`.
//!
//! The numbers that stat(2) and mount tables give for a btrfs are anonymous, and each subvolume has one of its own. Its
//! UUID is what the kernel's sysfs knows it by, with its devices.

use std::{
    fmt,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    ioctl::{Getter, Opcode, ioctl, opcode},
};

/// `BTRFS_IOC_FS_INFO`, which anybody may ask.
const FS_INFO: Opcode = opcode::read::<FsInfo>(0x94, 31);

/// `struct btrfs_ioctl_fs_info_args`.
#[repr(C)]
struct FsInfo {
    max_id: u64,
    num_devices: u64,
    fsid: [u8; 16],
    rest: [u8; 992],
}

/// A file system's UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fsid([u8; 16]);

impl Fsid {
    /// From its bytes, in the order in which they are written.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// The btrfs that a directory or a plain file is of, given by a descriptor that need only be a path (`O_PATH`). `proc` is
/// where `/proc` is. An error on whatever is no btrfs, or neither of both.
pub fn fsid(place: &OwnedFd, proc: &Path) -> io::Result<Fsid> {
    let file = readable(place, proc)?;
    // SAFETY: BTRFS_IOC_FS_INFO writes one `struct btrfs_ioctl_fs_info_args`, which `FsInfo` is, and other file systems refuse it.
    let info = unsafe { ioctl(file.as_fd(), Getter::<FS_INFO, FsInfo>::new()) }?;
    Ok(Fsid::new(info.fsid))
}

/// The same, open. A device's node or a pipe would do something when it is opened.
fn readable(place: &OwnedFd, proc: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let stat = rustix::fs::fstat(place)?;
    let opened = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => rustix::fs::openat(place, ".", flags | OFlags::DIRECTORY, Mode::empty())?,
        FileType::RegularFile => {
            rustix::fs::open(proc.join("self/fd").join(place.as_raw_fd().to_string()), flags, Mode::empty())?
        }
        _ => return Err(io::Error::other("neither a directory nor a plain file")),
    };
    Ok(File::from(opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_that_of_the_header() {
        assert_eq!((FS_INFO, size_of::<FsInfo>()), (0x8400_941f, 1024));
    }

    #[test]
    fn a_uuid_is_written_as_sysfs_has_it() {
        let fsid =
            Fsid::new([0x3f, 0x8a, 0x0c, 0x5d, 0x7e, 0x9b, 0x1a, 0x2c, 0x4d, 0x6e, 0x8f, 0x0a, 0x1b, 0x3c, 0x5d, 0x7e]);
        assert_eq!(fsid.to_string(), "3f8a0c5d-7e9b-1a2c-4d6e-8f0a1b3c5d7e");
    }

    #[test]
    fn what_is_no_btrfs_is_refused() {
        for path in ["/proc", "/proc/self/status", "/dev/null"] {
            let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            assert!(fsid(&place, Path::new("/proc")).is_err(), "{path}");
        }
    }
}
