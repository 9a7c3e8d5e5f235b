//! One agent a node: its directory in /run, and a lock in it that ends with the process, however that ends.

use std::{
    fs::{DirBuilder, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, fchmod, flock, fstat, open, openat},
    io::Errno,
    process::geteuid,
};
use thiserror::Error;

/// The lock's file.
const FILE: &str = "agent.lock";
/// The directory is its owner's alone: whoever may ask the agent learns every mount of the node.
const DIRECTORY_MODE: u32 = 0o700;
/// A process id has at most this many digits (`PID_MAX_LIMIT` is 2^22), and an end of line.
const PID_BYTES: u64 = 8;

/// Why the agent does not hold the lock.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another agent does.
    #[error(
        "another agent runs on this node: {} holds {}; two would write the same limits. End that one first",
        pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}")),
        file.display()
    )]
    Held {
        /// The lock's file.
        file: PathBuf,
        /// Who holds it, if it has said so yet.
        pid: Option<u32>,
    },
    /// The directory or the file cannot be made.
    #[error("cannot make {}; let it be writable (in a pod, mount the host's directory there)", path.display())]
    Make {
        /// The directory or the file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else made the directory, and could take the lock away.
    #[error("{} belongs to user {uid}; remove it", directory.display())]
    NotOurs {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        uid: u32,
    },
}

/// The lock, for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    /// Where the agent's own files are.
    pub(super) directory: PathBuf,
    _held: File,
}

impl Lock {
    /// Takes the lock in this directory, which is made if it is missing, and writes the own process id into it.
    pub(super) fn take(directory: &Path) -> Result<Self, LockError> {
        let failed = |path: &Path, source: io::Error| LockError::Make { path: path.to_owned(), source };
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)
            .map_err(|source| failed(directory, source))?;
        let opened = open(directory, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let opened = opened.map_err(|errno| failed(directory, errno.into()))?;
        let uid = fstat(&opened).map_err(|errno| failed(directory, errno.into()))?.st_uid;
        if uid != geteuid().as_raw() {
            return Err(LockError::NotOurs { directory: directory.to_owned(), uid });
        }
        fchmod(&opened, Mode::from_raw_mode(DIRECTORY_MODE)).map_err(|errno| failed(directory, errno.into()))?;

        let path = directory.join(FILE);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            openat(&opened, FILE, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| failed(&path, errno.into()))?;
        let mut file = File::from(file);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held { pid: holder(&file), file: path }),
            Err(errno) => return Err(failed(&path, errno.into())),
        }
        write_own_pid(&mut file).map_err(|source| failed(&path, source))?;
        Ok(Self { directory: directory.to_owned(), _held: file })
    }
}

/// Who wrote its process id there; `None` while it has not yet.
fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_own_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{}\n", process::id()).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn the_second_one_is_told_who_holds_it() {
        let room = tempfile::tempdir().unwrap();
        let directory = room.path().join("run/mount-tracer");
        let lock = Lock::take(&directory).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, DIRECTORY_MODE);
        let error = Lock::take(&directory).unwrap_err();
        assert!(matches!(error, LockError::Held { pid: Some(pid), .. } if pid == process::id()), "{error}");
        drop(lock);
        Lock::take(&directory).unwrap();
    }

    #[test]
    fn a_file_that_is_left_over_holds_nothing() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join(FILE);
        fs::write(&file, "4194303999 of another life\n").unwrap();
        let _lock = Lock::take(room.path()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", process::id()));
        assert_eq!(fs::metadata(room.path()).unwrap().permissions().mode() & 0o777, DIRECTORY_MODE);
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Lock::take(&file.join("below")).unwrap_err();
        assert!(matches!(&error, LockError::Make { path, .. } if *path == file.join("below")), "{error}");
        // A link could lead anywhere.
        let link = room.path().join("link");
        std::os::unix::fs::symlink(room.path(), &link).unwrap();
        assert!(matches!(Lock::take(&link), Err(LockError::Make { .. })));
    }
}
