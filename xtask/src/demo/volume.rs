//! Directories, and mounts of the disk: at the pod's volume, where a kubelet has it, and elsewhere to measure.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, UnmountFlags};

use super::disk::Disk;
use super::plan::Plan;
use super::undo::Undo;

const KUBELET: &str = "/var/lib/kubelet";

/// Where the kubelet mounts the pod's volume.
pub(super) fn path(plan: &Plan) -> PathBuf {
    Path::new(KUBELET)
        .join("pods")
        .join(&plan.pod_uid)
        .join("volumes/kubernetes.io~csi")
        .join(&plan.volume)
        .join("mount")
}

/// A directory with those above it; only what was missing is taken away again.
pub(super) fn make_directory(path: &Path, undo: &mut Undo) -> Result<()> {
    let levels: Vec<&Path> = path.ancestors().collect();
    for level in levels.into_iter().rev() {
        match fs::create_dir(level) {
            Ok(()) => {
                let level = level.to_owned();
                undo.later(format!("the directory {}", level.display()), move || {
                    fs::remove_dir(&level).context("cannot remove it")
                });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make the directory {}", level.display())),
        }
    }
    Ok(())
}

/// mount(2) of the disk.
pub(super) fn mount(disk: &Disk, target: &Path, undo: &mut Undo) -> Result<()> {
    rustix::mount::mount(&disk.path, target, "ext4", MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {} at {} as ext4", disk.path.display(), target.display()))?;
    let target = target.to_owned();
    undo.later(format!("the mount at {}", target.display()), move || {
        rustix::mount::unmount(&target, UnmountFlags::empty()).context("cannot unmount it")
    });
    Ok(())
}
