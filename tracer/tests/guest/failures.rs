//! Operations that fail: shown once, without effects, with the errno and what the kernel had resolved; and their twins.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::actor::{Actor, NOBODY};
use super::ground::{self, Mounted};
use super::operation::{Operation, expect_path};
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("failures::umount_of_a_busy_mount", umount_of_a_busy_mount),
        trial("failures::mount_by_an_unprivileged_user", mount_by_an_unprivileged_user),
        trial("failures::umount_by_an_unprivileged_user", umount_by_an_unprivileged_user),
    ]
}

fn umount_of_a_busy_mount() -> Result<()> {
    let target = ground::directory("busy")?;
    let mounted = Mounted::tmpfs(&target)?;
    let open = File::create_new(target.join("open"))?;
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::unmount(&target, UnmountFlags::empty());
    ensure!(refused == Err(Errno::BUSY), "umount of a mount with an open file gave {refused:?}, expected EBUSY");
    let operation = trace.drain_one()?;
    operation.expect_failure("umount", 16, "EBUSY")?;
    expect_target(&operation, &target)?;
    operation.expect("/target/fstype", "tmpfs")?;
    // The twin: the same call, when nothing is open.
    drop(open);
    mounted.unmount()?;
    trace.drain_one()?.expect_success("umount", 1)
}

fn mount_by_an_unprivileged_user() -> Result<()> {
    let target = ground::directory("eperm-mount")?;
    let mut nobody = Actor::unprivileged()?;
    let mut trace = Lasting::trace()?;
    expect_eperm(&mut nobody, &["tmpfs", utf8(&target)?])?;
    let operation = trace.drain_one()?;
    operation.expect_failure("mount", 1, "EPERM")?;
    expect_target(&operation, &target)?;
    expect_nobody(&operation, &nobody)?;
    // The twin: the same call by root.
    let mounted = Mounted::tmpfs(&target)?;
    trace.drain_one()?.expect_success("mount", 1)?;
    mounted.unmount()
}

fn umount_by_an_unprivileged_user() -> Result<()> {
    let target = ground::directory("eperm-umount")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut nobody = Actor::unprivileged()?;
    let mut trace = Lasting::trace()?;
    expect_eperm(&mut nobody, &["umount", utf8(&target)?])?;
    let operation = trace.drain_one()?;
    operation.expect_failure("umount", 1, "EPERM")?;
    expect_target(&operation, &target)?;
    expect_nobody(&operation, &nobody)?;
    mounted.unmount()?;
    trace.drain_one()?.expect_success("umount", 1)
}

/// What the kernel had resolved when it refused: it does not change by the refusal, so it can be read afterwards.
fn expect_target(operation: &Operation, target: &Path) -> Result<()> {
    expect_path(operation, "/target/path", target)?;
    operation.expect("/target/dev", oracle::dev_of(target)?)?;
    operation.expect("/target/mntns", oracle::own_namespace()?)
}

fn expect_nobody(operation: &Operation, nobody: &Actor) -> Result<()> {
    operation.expect("/actor/pid", nobody.pid())?;
    operation.expect("/actor/uid", NOBODY)
}

fn expect_eperm(nobody: &mut Actor, words: &[&str]) -> Result<()> {
    let errno = nobody.act(words)?;
    ensure!(errno == Errno::PERM.raw_os_error(), "user {NOBODY} got errno {errno} for {words:?}, expected EPERM");
    Ok(())
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
