//! What this kernel has, asked of the kernel itself: a trial of what it lacks checks that it lacks it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::ground::{self, Mounted};
use super::raw::{self, MountAttr};

/// Whether it knows `mount_setattr(2)` (5.12 and newer).
pub(crate) fn has_mount_setattr() -> bool {
    // A path that does not exist: nothing can change.
    raw::mount_setattr(None, c"/proc/no such file", 0, &MountAttr { set: 1, ..MountAttr::default() })
        != Err(Errno::NOSYS)
}

/// Whether it knows `open_tree_attr(2)` (6.15 and newer).
pub(crate) fn has_open_tree_attr() -> bool {
    raw::open_tree_attr(c"/proc/no such file", 0, &MountAttr::default()).err() != Some(Errno::NOSYS)
}

/// Whether it calls itself this version or a later one.
pub(crate) fn is_at_least(major: u32, minor: u32) -> Result<bool> {
    let release = read("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(is_major)), Some(Ok(is_minor))) => Ok((is_major, is_minor) >= (major, minor)),
        _ => anyhow::bail!("no version in {release:?}"),
    }
}

/// A file of the kernel's, as text.
pub(crate) fn read(path: &str) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// debugfs, while this lives.
pub(crate) struct Debugfs {
    pub(crate) path: PathBuf,
    mounted: Mounted,
}

impl Debugfs {
    pub(crate) fn mount() -> Result<Self> {
        let path = ground::directory("debugfs")?;
        rustix::mount::mount("debugfs", &path, "debugfs", MountFlags::empty(), None).context("cannot mount debugfs")?;
        Ok(Self { mounted: Mounted::adopt(&path), path })
    }

    pub(crate) fn unmount(self) -> Result<()> {
        self.mounted.unmount()
    }
}
