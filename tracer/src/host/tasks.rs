//! Which threads are in which mount namespace, from /proc, whose root is injected. A thread may be in another one than its
//! process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::namespaces::{NamespaceError, mount_namespace_of};

/// A thread: its process, and its own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
}

impl TaskId {
    /// Its directory.
    pub fn dir(self, proc: &Path) -> PathBuf {
        proc.join(self.pid.to_string()).join("task").join(self.tid.to_string())
    }
}

/// Who is in a mount namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Processes with a thread in it.
    pub processes: BTreeSet<u32>,
    /// A thread for each root directory that its threads have: a table only shows what is below its reader's.
    pub by_root: BTreeMap<Root, TaskId>,
}

/// What tells root directories apart: mount and inode, 0 where they cannot be had.
pub type Root = (u64, u64);

/// All that can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// By the namespace's inode number.
    pub namespaces: BTreeMap<u32, Members>,
    /// Threads that may not be looked into.
    pub refused: usize,
}

/// Looks at every thread of the node.
pub fn scan(proc: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    for pid in numbers(proc)? {
        // A process that has ended meanwhile has no threads.
        let Ok(tids) = numbers(&proc.join(pid.to_string()).join("task")) else { continue };
        for tid in tids {
            scan.take(proc, TaskId { pid, tid });
        }
    }
    Ok(scan)
}

impl Scan {
    fn take(&mut self, proc: &Path, task: TaskId) {
        let dir = task.dir(proc);
        match mount_namespace_of(&dir) {
            Ok(inum) => {
                let members = self.namespaces.entry(inum).or_default();
                members.processes.insert(task.pid);
                members.by_root.entry(root(&dir)).or_insert(task);
            }
            Err(NamespaceError::Read { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                self.refused += 1;
            }
            // It has ended, or is about to.
            Err(_) => {}
        }
    }
}

fn root(dir: &Path) -> Root {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    // Without asking a server: it may be one that does not answer.
    let stat = rustix::fs::statx(CWD, dir.join("root"), AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT, wanted);
    stat.map_or((0, 0), |stat| (stat.stx_mnt_id, stat.stx_ino))
}

/// Whether it says that a process has ended, or a namespace; EINVAL is what a mount table of a zombie says.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) || error.raw_os_error() == Some(libc::ESRCH)
}

/// The entries of a directory that are numbers, in order.
pub(super) fn numbers(dir: &Path) -> io::Result<BTreeSet<u32>> {
    let entries = fs::read_dir(dir)?.filter_map(Result::ok);
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_thread_may_be_elsewhere() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, tid, inum) in [(1, 1, 10), (20, 20, 10), (20, 21, 11)] {
            let task = TaskId { pid, tid }.dir(proc.path());
            fs::create_dir_all(task.join("ns")).unwrap();
            symlink(format!("mnt:[{inum}]"), task.join("ns/mnt")).unwrap();
        }
        fs::create_dir_all(proc.path().join("30/task/30/ns")).unwrap();
        fs::create_dir_all(proc.path().join("sys")).unwrap();
        let scan = scan(proc.path()).unwrap();
        let found: Vec<(u32, Vec<u32>)> =
            scan.namespaces.iter().map(|(inum, found)| (*inum, found.processes.iter().copied().collect())).collect();
        assert_eq!(found, [(10, vec![1, 20]), (11, vec![20])]);
        assert_eq!(scan.namespaces[&11].by_root.values().next(), Some(&TaskId { pid: 20, tid: 21 }));
        assert_eq!(scan.refused, 0);
    }
}
