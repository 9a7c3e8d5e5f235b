//! Mount namespaces as /proc names them. The root of /proc is injected.

use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use thiserror::Error;

/// Why a namespace could not be named.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// The link cannot be read.
    #[error("cannot read {}; run as root in the host's pid namespace (hostPID: true)", path.display())]
    Read {
        /// The link.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The link does not read `mnt:[NUMBER]`.
    #[error("cannot understand the link {}: it reads {text:?}; give the agent the host's /proc", path.display())]
    Understand {
        /// The link.
        path: PathBuf,
        /// What it reads.
        text: String,
    },
}

/// The inode number of a process' mount namespace.
pub fn mount_namespace(proc: &Path, pid: u32) -> Result<u32, NamespaceError> {
    mount_namespace_of(&proc.join(pid.to_string()))
}

/// The same, of the process or thread with this directory in /proc.
pub fn mount_namespace_of(task: &Path) -> Result<u32, NamespaceError> {
    let path = task.join("ns/mnt");
    let link = match fs::read_link(&path) {
        Ok(link) => link,
        Err(source) => return Err(NamespaceError::Read { path, source }),
    };
    // What 5.10 answers to whoever may not look.
    if link.as_os_str().is_empty() {
        return Err(NamespaceError::Read { path, source: ErrorKind::PermissionDenied.into() });
    }
    let text = link.to_string_lossy().into_owned();
    let number = text.strip_prefix("mnt:[").and_then(|rest| rest.strip_suffix(']')).and_then(|n| n.parse().ok());
    number.ok_or(NamespaceError::Understand { path, text })
}

/// A directory as pid 1's kernel paths name it, without links; `None` when it is not there yet.
///
/// Opened within pid 1's root, where absolute links mean what they mean to the kubelet.
pub fn real_directory(proc: &Path, directory: &Path) -> Option<PathBuf> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(proc.join("1/root"), flags, Mode::empty()).ok()?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(&root, directory, flags | OFlags::DIRECTORY, Mode::empty(), resolve).ok()?;
    fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_link_is_read() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("1/ns")).unwrap();
        assert!(matches!(mount_namespace(proc.path(), 1), Err(NamespaceError::Read { .. })));
        symlink("mnt:[4026531841]", proc.path().join("1/ns/mnt")).unwrap();
        assert_eq!(mount_namespace(proc.path(), 1).unwrap(), 4_026_531_841);
        fs::create_dir_all(proc.path().join("2/ns")).unwrap();
        symlink("net:[1]", proc.path().join("2/ns/mnt")).unwrap();
        assert!(matches!(mount_namespace(proc.path(), 2), Err(NamespaceError::Understand { .. })));
    }
}
