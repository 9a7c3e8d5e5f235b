//! From a cgroup's id to its path, by a file handle: one call, however many cgroups there are. One of the system-call wrappers:
//! `open_by_handle_at(2)`. The root is injected.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{fs::statfs, io::Errno};

use super::{cgroups::is_no_look_alike, node::CGROUP2_MAGIC};

/// `FILEID_KERNFS` of `linux/exportfs.h`: the handle of a kernfs file is its 64-bit id (5.5 and newer).
const KERNFS: i32 = 0xfe;

/// `struct file_handle` of `linux/fs.h` with the id of a kernfs file.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    id: [u8; 8],
}

/// Why no cgroup's path can be known.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// There is no such hierarchy.
    #[error("{} is not cgroup v2; mount it there: mount -t cgroup2 none {}", .0.display(), .0.display())]
    NotThere(PathBuf),
    /// The kernel refused.
    #[error("cannot open a cgroup of {} by its id; run as root, with CAP_DAC_READ_SEARCH", path.display())]
    Refused {
        /// The hierarchy.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
}

/// A cgroup v2 hierarchy in which paths are looked up.
#[derive(Debug)]
pub struct CgroupHandles {
    root: File,
    path: PathBuf,
}

impl CgroupHandles {
    /// The hierarchy that is mounted at `root`, if cgroups of it can be opened.
    pub fn open(root: &Path) -> Result<Self, HandleError> {
        let is_v2 = statfs(root).is_ok_and(|fs| fs.f_type == CGROUP2_MAGIC);
        let opened = fs::canonicalize(root).and_then(|path| Ok((File::open(&path)?, path))).ok().filter(|_| is_v2);
        let (root, path) = opened.ok_or_else(|| HandleError::NotThere(root.to_owned()))?;
        let handles = Self { root, path };
        let own = handles.root.metadata().map(|root| root.ino());
        match own.and_then(|id| handles.open_id(id).map_err(io::Error::from)) {
            Ok(_) => Ok(handles),
            Err(source) => Err(HandleError::Refused { path: handles.path, source }),
        }
    }

    /// The path of a cgroup, relative to the hierarchy's root and with a leading `/`; `None` for one that is gone or whose name is no text, and
    /// for what only looks like a pod's, because root has not made it.
    pub fn path(&self, id: u64) -> Option<String> {
        let opened = self.open_id(id).ok()?;
        let path = fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).ok()?;
        let path = below(&self.path, &path)?;
        is_no_look_alike(&self.path, &path).then_some(path)
    }

    fn open_id(&self, id: u64) -> rustix::io::Result<OwnedFd> {
        let mut handle = Handle { bytes: 8, kind: KERNFS, id: id.to_ne_bytes() };
        let root = self.root.as_fd().as_raw_fd();
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        // SAFETY: the handle is a whole `struct file_handle` of the length that it says, and the kernel only reads it.
        let opened = unsafe { libc::open_by_handle_at(root, (&raw mut handle).cast(), flags) };
        if opened < 0 {
            return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        // SAFETY: the kernel has just opened it for us.
        Ok(unsafe { OwnedFd::from_raw_fd(opened) })
    }
}

/// What the kernel prints behind a removed directory.
const DELETED: &str = " (deleted)";

/// The path below the root, as the kernel prints it.
fn below(root: &Path, path: &Path) -> Option<String> {
    let path = path.to_str().filter(|path| !path.ends_with(DELETED))?;
    match path.strip_prefix(root.to_str()?)? {
        "" => Some("/".to_owned()),
        below => below.starts_with('/').then(|| below.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_the_root() {
        for (path, expected) in [
            ("/sys/fs/cgroup", Some("/")),
            ("/sys/fs/cgroup/kubepods.slice/x", Some("/kubepods.slice/x")),
            ("/sys/fs/cgroup/x (deleted)", None),
            ("/sys/fs/cgroups/x", None),
            ("/other", None),
        ] {
            assert_eq!(below(Path::new("/sys/fs/cgroup"), Path::new(path)).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_hierarchy_is_said() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path(), &dir.path().join("none")] {
            let said = CgroupHandles::open(path).unwrap_err().to_string();
            assert!(said.contains("is not cgroup v2; mount it there"), "{said}");
        }
    }
}
