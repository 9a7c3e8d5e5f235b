//! A thread that goes into a mount namespace that no process is in, opens its table, and comes back.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use super::nsfs;

/// What a thread needs to come back.
pub struct Visitor {
    /// The node's /proc, which the other namespace need not have.
    proc: OwnedFd,
    home: File,
}

impl Visitor {
    /// For the calling thread, which has a root and a working directory of its own from here on.
    pub fn new(proc: &Path) -> io::Result<Self> {
        // SAFETY: only a descriptor table of its own would be unsound; this is about the root and the working directory alone.
        unsafe { unshare_unsafe(UnshareFlags::FS) }?;
        let home = File::open(proc.join("thread-self/ns/mnt"))?;
        let proc = openat(CWD, proc, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { proc, home })
    }

    /// The table of the namespace with this inode number, as /proc shows it to who is in it; `None` if there is no such namespace, or
    /// the kernel cannot tell those that no process is in (before 6.12).
    pub fn open_table(&self, inum: u32) -> io::Result<Option<File>> {
        let Some(namespace) = nsfs::find(self.home.try_clone()?, inum)? else { return Ok(None) };
        enter(&namespace)?;
        let table = openat(&self.proc, "thread-self/mounts", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        enter(&self.home)?;
        Ok(Some(table?.into()))
    }
}

fn enter(namespace: &File) -> io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(Into::into)
}
