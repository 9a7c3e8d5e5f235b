//! The only room that writes to the node: `io.max` of pods' cgroups, through descriptors, read back.
//!
//! The order of work is [`CgroupRoot::inspect`], a verdict, [`Inspection::write`]; the directory's descriptor is kept
//! in between, so that what was looked at is what is written.

mod error;
pub mod io_max;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use error::ApplyError;

use super::Limits;
use crate::device::Dev;

/// The longest `io.max` that is read, in bytes: a line is below 128, so this is for more disks than a node has.
const LONGEST_IO_MAX: u64 = 1024 * 1024;

/// The root of the cgroup v2 hierarchy. Nothing outside of it is ever reached.
#[derive(Debug)]
pub struct CgroupRoot {
    dir: OwnedFd,
}

/// A pod's cgroup as it was found, kept open.
#[derive(Debug)]
pub struct Inspection {
    dir: OwnedFd,
    cgroup: String,
    cgroup_id: u64,
    disk: Dev,
    current: Option<Limits>,
}

impl CgroupRoot {
    /// Opens the hierarchy that is mounted here.
    pub fn open(path: &Path) -> Result<Self, ApplyError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        let dir = opened.map_err(|errno| ApplyError::Root { path: PathBuf::from(path), source: errno.into() })?;
        Ok(Self { dir })
    }

    /// Opens a pod's cgroup, its path as the kernel prints it, and reads what it has for the disk. A cgroup that merely
    /// has the same path, and not the `expected` id, is refused.
    pub fn inspect(&self, cgroup: &str, expected: u64, disk: Dev) -> Result<Inspection, ApplyError> {
        let relative = cgroup.trim_start_matches('/');
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = open_beneath(&self.dir, relative, flags).map_err(|errno| ApplyError::opening(cgroup, errno))?;
        // 64-bit inode numbers of kernfs are the cgroup ids (Linux 5.5 and newer).
        let stat = rustix::fs::fstat(&dir).map_err(|errno| ApplyError::opening(cgroup, errno))?;
        let cgroup_id = stat.st_ino;
        if expected != cgroup_id {
            return Err(ApplyError::AnotherCgroup { cgroup: cgroup.to_owned(), expected, found: cgroup_id });
        }
        let mut inspection = Inspection { dir, cgroup: cgroup.to_owned(), cgroup_id, disk, current: None };
        inspection.current = inspection.read()?;
        Ok(inspection)
    }
}

impl Inspection {
    /// The cgroup's id, which no other cgroup gets in this boot.
    pub fn cgroup_id(&self) -> u64 {
        self.cgroup_id
    }

    /// The cgroup's path as it was asked for.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// What `io.max` says for the disk; `None` when it has no line for it.
    pub fn current(&self) -> Option<Limits> {
        self.current
    }

    /// Writes the limits in one write(2), reads them back and tells what is in force now. After an error
    /// [`Inspection::current`] is what was read last.
    pub fn write(&mut self, limits: Limits) -> Result<Limits, ApplyError> {
        let order = io_max::order(self.disk, limits);
        let file = open_beneath(&self.dir, "io.max", OFlags::WRONLY).map_err(|errno| self.failed("write", errno))?;
        let written = rustix::io::write(&file, order.as_bytes()).map_err(|errno| self.failed("write", errno))?;
        if written != order.len() {
            return Err(self.failed("write", Errno::INVAL));
        }
        self.current = self.read()?;
        let in_force = self.current.unwrap_or(Limits::NONE);
        if in_force == limits {
            return Ok(in_force);
        }
        Err(ApplyError::ReadBackDiffers {
            cgroup: self.cgroup.clone(),
            disk: self.disk,
            wanted: io_max::order(self.disk, limits).trim_end().to_owned(),
            found: io_max::order(self.disk, in_force).trim_end().to_owned(),
        })
    }

    fn read(&self) -> Result<Option<Limits>, ApplyError> {
        let file = open_beneath(&self.dir, "io.max", OFlags::RDONLY).map_err(|errno| self.failed("read", errno))?;
        let mut text = String::new();
        let read = File::from(file).take(LONGEST_IO_MAX).read_to_string(&mut text);
        read.map_err(|source| self.failed_io("read", source))?;
        let lines = io_max::parse(&text).map_err(|source| ApplyError::NotUnderstood {
            cgroup: self.cgroup.clone(),
            disk: self.disk,
            source,
        })?;
        Ok(lines.get(&self.disk).copied().filter(|limits| !limits.is_none()))
    }

    fn failed_io(&self, operation: &'static str, source: io::Error) -> ApplyError {
        match Errno::from_io_error(&source) {
            Some(errno) => self.failed(operation, errno),
            None => ApplyError::Io { operation, cgroup: self.cgroup.clone(), disk: self.disk, source },
        }
    }

    /// What an error of `io.max` means depends on whether its cgroup is still there.
    fn failed(&self, operation: &'static str, errno: Errno) -> ApplyError {
        ApplyError::io_max(operation, &self.cgroup, self.disk, errno, self.is_alive())
    }

    /// A removed cgroup has lost this file, which every cgroup but a removed one has.
    fn is_alive(&self) -> bool {
        open_beneath(&self.dir, "cgroup.controllers", OFlags::RDONLY).is_ok()
    }
}

/// Straight down: no `..`, no link, no other mount.
fn open_beneath(dir: impl AsFd, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests;
