//! Operations that succeed: each is shown once, with what the kernel's own files say about it.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::disk::Disk;
use super::expect::{Wanted, expect_all_of, expect_effects};
use super::ground::{self, Mounted};
use super::kernel::Debugfs;
use super::operation::{Operation, expect_path};
use super::oracle::{self, Mount};
use super::program::Lasting;
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("operations::new_mount_of_a_disk", new_mount_of_a_disk),
        trial("operations::new_mount_of_a_tmpfs", new_mount_of_a_tmpfs),
        trial("operations::with_the_old_magic_number", with_the_old_magic_number),
        trial("operations::bind", bind),
        trial("operations::umount", umount),
        trial("operations::lazy_umount_of_a_busy_mount", lazy_umount_of_a_busy_mount),
        trial("operations::forced_and_expired_umount", forced_and_expired_umount),
        trial("operations::automount", automount),
        trial("operations::nothing_made_nothing_shown", nothing_made_nothing_shown),
    ]
}

fn new_mount_of_a_disk() -> Result<()> {
    let (disk, target) = (Disk::get()?, ground::directory("disk")?);
    let mut trace = Lasting::trace()?;
    let mounted = disk.mount(&target)?;
    let operation = trace.drain_one()?;
    expect_one_effect(&operation, "mount", "attach", &target, &oracle::own_mount_at(&target)?)?;
    operation.expect("/syscall", "mount")?;
    operation.expect("/effects/0/dev", disk.number()?)?;
    operation.expect("/effects/0/fstype", disk.fstype)?;
    expect_source(&operation, &disk)?;
    expect_own_actor(&operation)?;
    mounted.unmount()
}

fn new_mount_of_a_tmpfs() -> Result<()> {
    let target = ground::directory("tmpfs")?;
    let mut trace = Lasting::trace()?;
    let mounted = Mounted::tmpfs(&target)?;
    let operation = trace.drain_one()?;
    expect_one_effect(&operation, "mount", "attach", &target, &oracle::own_mount_at(&target)?)?;
    operation.expect("/effects/0/fstype", "tmpfs")?;
    expect_own_actor(&operation)?;
    mounted.unmount()
}

/// `MS_MGC_VAL` of `uapi/linux/mount.h`, which old callers still put into the flags, has the bits of `MS_PRIVATE` and
/// `MS_SLAVE` in it.
fn with_the_old_magic_number() -> Result<()> {
    let target = ground::directory("magic")?;
    let mut trace = Lasting::trace()?;
    let flags = MountFlags::from_bits_retain(0xc0ed_0000) | MountFlags::NOSUID;
    rustix::mount::mount("tmpfs", &target, "tmpfs", flags, None).context("a mount with the magic number")?;
    let mounted = Mounted::adopt(&target);
    let operation = trace.drain_one()?;
    expect_one_effect(&operation, "mount", "attach", &target, &oracle::own_mount_at(&target)?)?;
    operation.expect("/claimed/flags", serde_json::json!(["MS_NOSUID"]))?;
    mounted.unmount()
}

fn bind() -> Result<()> {
    let (source, target) = (ground::directory("source")?, ground::directory("bind")?);
    let mut trace = Lasting::trace()?;
    let mounted = Mounted::bind(&source, &target)?;
    let operation = trace.drain_one()?;
    expect_one_effect(&operation, "bind", "attach", &target, &oracle::own_mount_at(&target)?)?;
    operation.expect("/effects/0/dev", oracle::dev_of(&source)?)?;
    expect_own_actor(&operation)?;
    mounted.unmount()
}

fn umount() -> Result<()> {
    let (disk, target) = (Disk::get()?, ground::directory("umount")?);
    let mounted = disk.mount(&target)?;
    let was = oracle::own_mount_at(&target)?;
    let mut trace = Lasting::trace()?;
    mounted.unmount()?;
    let operation = trace.drain_one()?;
    expect_one_effect(&operation, "umount", "detach", &target, &was)?;
    operation.expect("/effects/0/dev", disk.number()?)?;
    expect_own_actor(&operation)
}

fn lazy_umount_of_a_busy_mount() -> Result<()> {
    let target = ground::directory("lazy")?;
    let mounted = Mounted::tmpfs(&target)?;
    let was = oracle::own_mount_at(&target)?;
    let open = File::create_new(target.join("open"))?;
    let mut trace = Lasting::trace()?;
    mounted.unmount_with(UnmountFlags::DETACH)?;
    let operation = trace.drain_one()?;
    expect_one_effect(&operation, "umount", "detach", &target, &was)?;
    expect_own_actor(&operation)?;
    drop(open);
    let after = trace.drain()?;
    ensure!(after.is_empty(), "the last close of a detached mount changed no table, but was shown: {after:#?}");
    Ok(())
}

/// The twin of every "exactly one": without an action there is none.
/// `MNT_EXPIRE` only marks a mount that is in use by nobody; the second one takes it away.
fn forced_and_expired_umount() -> Result<()> {
    let target = ground::directory("umount")?;
    let mut trace = Lasting::trace()?;
    let mounted = Mounted::tmpfs(&target)?;
    trace.drain()?;
    let wanted = Wanted::own("detach", &target)?;
    rustix::mount::unmount(&target, UnmountFlags::FORCE).context("a forced unmount")?;
    let forced = trace.drain_one()?;
    expect_effects(&forced, "umount", "umount2", &[wanted])?;
    forced.expect("/claimed/flags", vec!["MNT_FORCE"])?;
    mounted.forget();
    let mounted = Mounted::tmpfs(&target)?;
    trace.drain()?;
    let wanted = Wanted::own("detach", &target)?;
    let marked = rustix::mount::unmount(&target, UnmountFlags::EXPIRE);
    ensure!(marked == Err(Errno::AGAIN), "the first unmount with MNT_EXPIRE gave {marked:?}");
    trace.drain_one()?.expect_failure("umount", 11, "EAGAIN")?;
    rustix::mount::unmount(&target, UnmountFlags::EXPIRE).context("the second unmount with MNT_EXPIRE")?;
    expect_effects(&trace.drain_one()?, "umount", "umount2", &[wanted])?;
    mounted.forget();
    Ok(())
}

/// The kernel mounts tracefs below debugfs when somebody looks there; an unmount takes it along.
fn automount() -> Result<()> {
    let debug = Debugfs::mount()?;
    let point = debug.path.join("tracing");
    let mut trace = Lasting::trace()?;
    std::fs::read_dir(&point).with_context(|| format!("cannot list {}", point.display()))?;
    let operation = trace.drain_one()?;
    expect_all_of(&operation, "automount", &[Wanted::own("attach", &point)?])?;
    operation.expect("/syscall", serde_json::Value::Null)?;
    operation.expect("/cause", serde_json::Value::Null)?;
    operation.expect("/effects/0/fstype", "tracefs")?;
    expect_own_actor(&operation)?;
    // The twin: who looks again mounts nothing.
    std::fs::read_dir(&point)?;
    let shown = trace.drain()?;
    ensure!(shown.is_empty(), "a second look mounted something: {shown:#?}");
    debug.unmount()
}

fn nothing_made_nothing_shown() -> Result<()> {
    let mut trace = Lasting::trace()?;
    let operations = trace.drain()?;
    ensure!(operations.is_empty(), "nothing was mounted, but this was shown: {operations:#?}");
    Ok(())
}

fn expect_one_effect(operation: &Operation, op: &str, kind: &str, target: &Path, mount: &Mount) -> Result<()> {
    operation.expect_success(op, 1)?;
    operation.expect("/effects/0/kind", kind)?;
    expect_path(operation, "/effects/0/path", target)?;
    operation.expect("/effects/0/mntns", oracle::own_namespace()?)?;
    operation.expect("/effects/0/mount_id", mount.id)?;
    operation.expect("/effects/0/dev", mount.dev.as_str())?;
    operation.expect("/effects/0/fstype", mount.fstype.as_str())?;
    operation.expect("/effects/0/propagated", false)
}

fn expect_source(operation: &Operation, disk: &Disk) -> Result<()> {
    let source = operation.at("/effects/0/source");
    let right = source.is_null() || source.as_str() == disk.whole.to_str();
    ensure!(right, "the source is {source}, expected {} or null, in {operation:?}", disk.whole.display());
    Ok(())
}

/// The trial itself did it.
pub(crate) fn expect_own_actor(operation: &Operation) -> Result<()> {
    operation.expect("/actor/pid", std::process::id())?;
    operation.expect("/actor/comm", oracle::own_comm()?)?;
    operation.expect("/actor/uid", 0)?;
    operation.expect("/actor/mntns", oracle::own_namespace()?)
}
