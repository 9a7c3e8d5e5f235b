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
    /// It could not come back.
    lost: bool,
}

impl Visitor {
    /// For the calling thread, which has a root and a working directory of its own from here on.
    pub fn new(proc: &Path) -> io::Result<Self> {
        // SAFETY: only a descriptor table of its own would be unsound; this is about the root and the working directory alone.
        unsafe { unshare_unsafe(UnshareFlags::FS) }?;
        let home = File::open(proc.join("thread-self/ns/mnt"))?;
        let proc = openat(CWD, proc, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { proc, home, lost: false })
    }

    /// The table of the namespace with this inode number, as /proc shows it to who is in it; `None` if there is no such namespace, or
    /// the kernel cannot tell those that no process is in (before 6.12).
    ///
    /// A thread that could not come back must read nothing more: what it would find in /proc is another's.
    pub fn open_table(&mut self, inum: u32) -> io::Result<Option<File>> {
        let Some(namespace) = nsfs::find(self.home.try_clone()?, inum)? else { return Ok(None) };
        enter(&namespace)?;
        let table = openat(&self.proc, "thread-self/mounts", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let back = enter(&self.home);
        self.lost = back.is_err();
        back?;
        Ok(Some(table?.into()))
    }

    /// Whether the thread could not come back.
    pub fn is_lost(&self) -> bool {
        self.lost
    }
}

fn enter(namespace: &File) -> io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(Into::into)
}
