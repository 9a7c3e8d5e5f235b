//! Carries out one operation of a workload, in the process that was told to: the words of `workload.rs` as system calls.

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use super::super::actor;
use super::super::raw::{self, MountAttr};
use super::workload::{BY_PATH, LEAF, NAMES};

/// `linux/fcntl.h`.
const AT_EMPTY_PATH: u64 = 0x1000;
const AT_RECURSIVE: u64 = 0x8000;
/// `linux/mount.h`.
const OPEN_TREE_CLONE: u64 = 1;
/// Not in rustix; from `linux/mount.h`.
const SET_GROUP: u32 = 0x100;
const BENEATH: u32 = 0x200;
/// `MS_*` of `sys/mount.h`, which `mount_setattr(2)` takes as well.
const KINDS: [(&str, u32); 4] =
    [("shared", 1 << 20), ("slave", 1 << 19), ("private", 1 << 18), ("unbindable", 1 << 17)];

/// Where a worker works.
#[derive(Debug)]
pub(crate) struct Site {
    /// The tree as the test sees it.
    tree: PathBuf,
    /// The tree in this worker's namespace.
    here: PathBuf,
    /// The test's `/proc`, which a namespace of this workload need not have.
    proc: OwnedFd,
    /// The workers' process ids.
    pids: Vec<String>,
}

impl Site {
    /// From the first line that a worker is sent.
    pub(crate) fn new(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let tree = PathBuf::from(words.next().context("no tree")?);
        let proc = rustix::fs::open("/proc", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { here: tree.clone(), tree, proc, pids: words.map(str::to_owned).collect() })
    }

    /// Does it.
    pub(crate) fn perform(&mut self, words: &[&str]) -> Result<(), Errno> {
        // After `pivot_root(2)`, here or by a visitor, the tree is the root.
        self.here = if self.tree.is_dir() { self.tree.clone() } else { PathBuf::from("/") };
        let result = self.dispatch(words);
        if result == Err(Errno::NOSPC) {
            // `fs.mount-max` is reached here, or in a namespace that gets copies: what is unmounted here goes there as well.
            self.make_room();
        }
        result
    }

    fn dispatch(&self, words: &[&str]) -> Result<(), Errno> {
        match *words {
            ["tmpfs", at] => mount_tmpfs(&self.at(at)),
            ["bind", from, to] => rustix::mount::mount_bind(self.at(from), self.at(to)),
            ["rbind", from, to] => rustix::mount::mount_bind_recursive(self.at(from), self.at(to)),
            ["move", from, to] => rustix::mount::mount_move(self.at(from), self.at(to)),
            ["move_mount", from, to] => move_mount(&self.at(from), &self.at(to), MoveMountFlags::empty()),
            ["beneath", from, to] => {
                attach(&clone_tree(&self.at(from), false)?, &self.at(to), MoveMountFlags::from_bits_retain(BENEATH))
            }
            ["set_group", from, to] => {
                rustix::mount::mount_bind(self.at(from), self.at(to))?;
                change(&self.at(to), "private", false, "mount")?;
                move_mount(&self.at(from), &self.at(to), MoveMountFlags::from_bits_retain(SET_GROUP))
            }
            ["carry", at, to, propagation] => carry(&self.at(at), &self.at(to), propagation),
            ["remount", at, flags] => {
                let flags = MountFlags::from_bits_retain(number(flags)?) | MountFlags::BIND;
                rustix::mount::mount_remount(self.at(at), flags, c"")
            }
            ["attributes", at, set, clear, recursive] => {
                let attr = MountAttr { set: number(set)?, clear: number(clear)?, ..MountAttr::default() };
                set_through_descriptor(&self.at(at), recursive == "rec", &attr)
            }
            [BY_PATH, at, set, clear, recursive] => {
                let attr = MountAttr { set: number(set)?, clear: number(clear)?, ..MountAttr::default() };
                set_by_path(&self.at(at), recursive == "rec", &attr)
            }
            ["open_tree_attr", at, set, recursive] => {
                open_tree_attr(&self.at(at), 0, number(set)?, recursive == "rec").map(drop)
            }
            ["open_tree_attr", at, set, recursive, to] => {
                let clone = open_tree_attr(&self.at(at), OPEN_TREE_CLONE, number(set)?, recursive == "rec")?;
                attach(&clone, &self.at(to), MoveMountFlags::empty())
            }
            ["reconfigure", at, flags] => {
                rustix::mount::mount_remount(self.at(at), MountFlags::from_bits_retain(number(flags)?), c"")
            }
            ["change", at, kind, recursive, door] => change(&self.at(at), kind, recursive == "rec", door),
            ["clone", from, recursive] => clone_tree(&self.at(from), recursive == "rec").map(drop),
            ["clone", from, recursive, to] => {
                attach(&clone_tree(&self.at(from), recursive == "rec")?, &self.at(to), MoveMountFlags::empty())
            }
            ["fsmount", attributes] => new_tmpfs(number(attributes)?).map(drop),
            ["fsmount", attributes, to] => {
                attach(&new_tmpfs(number(attributes)?)?, &self.at(to), MoveMountFlags::empty())?;
                make_directories(&self.at(to));
                Ok(())
            }
            ["umount", at, flags] => rustix::mount::unmount(self.at(at), unmount_flags(flags)?),
            ["rmdir", at] => {
                rustix::fs::rmdir(self.at(at))?;
                // So that later operations find it again.
                rustix::fs::mkdir(self.at(at), 0o755.into())
            }
            ["pivot", at, source, propagation] => self.pivot(at, source, propagation),
            ["unshare"] => actor::unshare(),
            ["enter", worker] => self.enter(worker),
            _ => Err(Errno::NOSYS),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        if path == "." { self.here.clone() } else { self.here.join(path) }
    }

    /// Unmounts what is mounted on the first level.
    fn make_room(&self) {
        for name in NAMES.into_iter().chain([LEAF]) {
            while rustix::mount::unmount(self.at(name), UnmountFlags::DETACH).is_ok() {}
        }
    }

    /// A new root, as a container's runtime makes one: the old root ends on top of it and is unmounted lazily.
    fn pivot(&self, at: &str, source: &str, propagation: &str) -> Result<(), Errno> {
        let new = self.at(at);
        change(Path::new("/"), propagation, true, "mount")?;
        match source {
            "fresh" => mount_tmpfs(&new)?,
            "bind" => rustix::mount::mount_bind(&self.here, &new)?,
            _ => rustix::mount::mount_bind_recursive(&self.here, &new)?,
        }
        rustix::process::chdir(&new)?;
        let pivoted = rustix::process::pivot_root(".", ".");
        if pivoted.is_ok() {
            rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        }
        rustix::process::chdir("/")?;
        pivoted
    }

    /// Goes into another worker's namespace.
    fn enter(&self, worker: &str) -> Result<(), Errno> {
        let pid = self.pids.get(number::<usize>(worker)?).ok_or(Errno::SRCH)?;
        let name = format!("{pid}/ns/mnt");
        let namespace = rustix::fs::openat(&self.proc, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), None)
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, Errno> {
    word.parse().map_err(|_| Errno::INVAL)
}

/// A tmpfs with the workload's directories in it.
pub(crate) fn mount_tmpfs(at: &Path) -> Result<(), Errno> {
    rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), None)?;
    make_directories(at);
    Ok(())
}

/// The workload's directories. One that can not be made, on a read-only mount say, fails the operations that need it.
fn make_directories(below: &Path) {
    let make = |path: PathBuf| {
        let _ = rustix::fs::mkdir(path, 0o755.into());
    };
    make(below.join(LEAF));
    for name in NAMES {
        make(below.join(name));
        for inner in NAMES.into_iter().chain([LEAF]) {
            make(below.join(name).join(inner));
        }
    }
}

fn move_mount(from: &Path, to: &Path, flags: MoveMountFlags) -> Result<(), Errno> {
    rustix::mount::move_mount(CWD, from, CWD, to, flags)
}

fn clone_tree(from: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let recursive = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | recursive;
    rustix::mount::open_tree(CWD, from, flags)
}

fn new_tmpfs(attributes: u32) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::from_bits_retain(attributes);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn attach(mount: &OwnedFd, to: &Path, flags: MoveMountFlags) -> Result<(), Errno> {
    let flags = flags | MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", CWD, to, flags)
}

/// A move as it may always be made, from a parent that shares with nobody: a tree of two mounts.
fn carry(from: &Path, to: &Path, propagation: &str) -> Result<(), Errno> {
    mount_tmpfs(from)?;
    change(from, "private", false, "mount")?;
    let carried = from.join(NAMES[0]);
    mount_tmpfs(&carried)?;
    mount_tmpfs(&carried.join(NAMES[1]))?;
    change(&carried, propagation, false, "mount")?;
    rustix::mount::mount_move(&carried, to)
}

fn change(at: &Path, kind: &str, recursive: bool, door: &str) -> Result<(), Errno> {
    let (_, bit) = KINDS.iter().find(|(name, _)| *name == kind).ok_or(Errno::NOSYS)?;
    let attr = MountAttr { propagation: u64::from(*bit), ..MountAttr::default() };
    match door {
        "mount" => {
            let recursive = if recursive { MountPropagationFlags::REC } else { MountPropagationFlags::empty() };
            rustix::mount::mount_change(at, MountPropagationFlags::from_bits_retain(*bit) | recursive)
        }
        "path" => set_by_path(at, recursive, &attr),
        _ => set_through_descriptor(at, recursive, &attr),
    }
}

/// `mount_setattr(2)` of what is mounted at a path.
fn set_by_path(at: &Path, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    raw::mount_setattr(None, &c_path(at)?, if recursive { AT_RECURSIVE } else { 0 }, attr)
}

/// `open_tree_attr(2)` of what is mounted at a path.
fn open_tree_attr(at: &Path, flags: u64, set: u64, recursive: bool) -> Result<OwnedFd, Errno> {
    let attr = MountAttr { set, ..MountAttr::default() };
    raw::open_tree_attr(&c_path(at)?, flags | if recursive { AT_RECURSIVE } else { 0 }, &attr)
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}

/// `mount_setattr(2)` of what a descriptor refers to.
fn set_through_descriptor(at: &Path, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let mount = rustix::mount::open_tree(CWD, at, OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    raw::mount_setattr(Some(mount.as_fd()), c"", flags, attr)
}

fn unmount_flags(word: &str) -> Result<UnmountFlags, Errno> {
    match word {
        "plain" => Ok(UnmountFlags::empty()),
        "detach" => Ok(UnmountFlags::DETACH),
        "force" => Ok(UnmountFlags::FORCE),
        _ => Err(Errno::NOSYS),
    }
}
