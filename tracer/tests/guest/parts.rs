//! A part of a file system: the kernel mounts the whole one for itself, walks to the part, and unmounts the whole again (btrfs, NFS 4). Only
//! what becomes of the part is shown.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags};

use super::detached::attach;
use super::ground::{self, Mounted};
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

/// A btrfs that the run put there.
const IMAGE: &str = "/btrfs.img";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("parts::of_a_btrfs", of_a_btrfs)]
}

/// The image as a disk, as long as this lives.
struct Loop(PathBuf);

impl Loop {
    fn attached() -> Result<Self> {
        let device = Path::new("/dev/loop0");
        let status = Command::new("losetup").arg(device).arg(IMAGE).status().context("cannot start losetup")?;
        ensure!(status.success(), "losetup of {IMAGE} ended with {status}");
        Ok(Self(device.to_owned()))
    }

    fn mount(&self, target: &Path, data: Option<&std::ffi::CStr>) -> Result<(), Errno> {
        rustix::mount::mount(&self.0, target, "btrfs", MountFlags::empty(), data)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.0).status();
    }
}

fn of_a_btrfs() -> Result<()> {
    let (disk, target) = (Loop::attached()?, ground::directory("part")?);
    let mut trace = Lasting::trace()?;

    disk.mount(&target, None).context("mount of a btrfs")?;
    let mounted = Mounted::adopt(&target);
    let id = oracle::own_mount_at(&target)?.id;
    let operation = trace.drain_one()?;
    operation.expect_success("mount", 1)?;
    operation.expect("/effects/0/mount_id", id)?;
    operation.expect("/effects/0/kind", "attach")?;
    mounted.unmount()?;
    trace.drain_one()?.expect_success("umount", 1)?;

    let refused = disk.mount(&target, Some(c"subvol=not-there"));
    ensure!(refused == Err(Errno::NOENT), "a part that is not there: {refused:?}");
    trace.drain_one()?.expect_failure("mount", Errno::NOENT.raw_os_error(), "ENOENT")?;

    // By the newer calls the part is walked to without a call that is traced.
    let context = rustix::mount::fsopen("btrfs", FsOpenFlags::FSOPEN_CLOEXEC).context("fsopen of btrfs")?;
    rustix::mount::fsconfig_set_string(&context, "source", &source(&disk)?).context("fsconfig of the source")?;
    rustix::mount::fsconfig_create(&context).context("fsconfig that makes the superblock")?;
    let none = trace.drain()?;
    ensure!(none.is_empty(), "nothing was mounted or unmounted yet: {none:#?}");
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    trace.drain_one()?.expect("/op", "fsmount")?;
    let mounted = attach(&mount, &target)?;
    trace.drain_one()?.expect_success("mount", 1)?;
    drop(mount);
    mounted.unmount()
}

fn source(disk: &Loop) -> Result<String> {
    disk.0.to_str().map(str::to_owned).context("the device's path is UTF-8")
}
