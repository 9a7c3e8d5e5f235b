//! The ground that the trials stand on: a private tmpfs of their own, a fresh directory per trial, mounts that go away.

use std::fs;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, anyhow};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

const BASE: &str = "/tmp/mount-tracer-guest";

/// Where the trials work: a tmpfs that shares its mounts with no other namespace. Made at the first use.
pub(crate) fn base() -> Result<&'static Path> {
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    let made = MADE.get_or_init(|| make_base().map_err(|error| format!("{error:#}")));
    made.as_ref().map(|()| Path::new(BASE)).map_err(|error| anyhow!("{error}"))
}

fn make_base() -> Result<()> {
    make_directory(Path::new(BASE))?;
    mount_tmpfs(Path::new(BASE)).context("these tests need root, in a guest that may be broken")?;
    change(Path::new(BASE), MountPropagationFlags::PRIVATE)?;
    make_directory(&Path::new(BASE).join("sentinel"))
}

/// Takes the base away with all that is mounted below it. Nothing to do if no trial asked for it.
pub(crate) fn clear() {
    if Path::new(BASE).join("sentinel").exists() {
        let _ = rustix::mount::unmount(BASE, UnmountFlags::DETACH);
        let _ = fs::remove_dir(BASE);
    }
}

/// A fresh directory for one trial.
pub(crate) fn directory(name: &str) -> Result<PathBuf> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let path = base()?.join(format!("{name}-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
    make_directory(&path)?;
    Ok(path)
}

/// A directory and its parents.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the directory {}", path.display()))
}

/// Writes a whole file.
pub(crate) fn write_file(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// The directory of the mount that marks the end of what a trial did.
pub(crate) fn sentinel() -> Result<PathBuf> {
    Ok(base()?.join("sentinel"))
}

/// Mounts the sentinel and unmounts it again.
pub(crate) fn touch_sentinel() -> Result<()> {
    let path = sentinel()?;
    mount_tmpfs(&path)?;
    unmount(&path, UnmountFlags::empty())
}

/// mount(2) of a new tmpfs.
pub(crate) fn mount_tmpfs(target: &Path) -> Result<()> {
    rustix::mount::mount("tmpfs", target, "tmpfs", MountFlags::empty(), None)
        .with_context(|| format!("cannot mount a tmpfs at {}", target.display()))
}

/// mount(2) with `MS_BIND`.
pub(crate) fn bind(source: &Path, target: &Path) -> Result<()> {
    rustix::mount::mount_bind(source, target)
        .with_context(|| format!("cannot bind {} to {}", source.display(), target.display()))
}

/// mount(2) that changes the propagation.
pub(crate) fn change(target: &Path, propagation: MountPropagationFlags) -> Result<()> {
    rustix::mount::mount_change(target, propagation)
        .with_context(|| format!("cannot make {} {propagation:?}", target.display()))
}

/// umount2(2).
pub(crate) fn unmount(target: &Path, flags: UnmountFlags) -> Result<()> {
    rustix::mount::unmount(target, flags).with_context(|| format!("cannot unmount {}", target.display()))
}

/// A descriptor of what a path leads to, nothing else.
pub(crate) fn open(above: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd> {
    let (flags, path) = (OFlags::PATH | OFlags::CLOEXEC, path.as_ref());
    rustix::fs::openat(above, path, flags, Mode::empty()).with_context(|| format!("cannot open {}", path.display()))
}

/// A path to what a descriptor refers to, wherever that is.
pub(crate) fn by_descriptor(place: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", place.as_raw_fd()))
}

/// A mount that is gone when the trial ends, however it ends.
#[derive(Debug)]
pub(crate) struct Mounted {
    path: PathBuf,
    there: bool,
}

impl Mounted {
    /// A new tmpfs at `path`.
    pub(crate) fn tmpfs(path: &Path) -> Result<Self> {
        mount_tmpfs(path)?;
        Ok(Self::adopt(path))
    }

    /// A bind of `source` at `path`.
    pub(crate) fn bind(source: &Path, path: &Path) -> Result<Self> {
        bind(source, path)?;
        Ok(Self::adopt(path))
    }

    /// Takes charge of a mount that was made elsewhere.
    pub(crate) fn adopt(path: &Path) -> Self {
        Self { path: path.to_owned(), there: true }
    }

    /// It stands elsewhere now.
    pub(crate) fn moved_to(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// It was unmounted elsewhere.
    pub(crate) fn forget(mut self) {
        self.there = false;
    }

    /// Unmounts it now.
    pub(crate) fn unmount(self) -> Result<()> {
        self.unmount_with(UnmountFlags::empty())
    }

    /// Unmounts it now, with flags.
    pub(crate) fn unmount_with(mut self, flags: UnmountFlags) -> Result<()> {
        unmount(&self.path, flags)?;
        self.there = false;
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.there {
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
        }
    }
}
