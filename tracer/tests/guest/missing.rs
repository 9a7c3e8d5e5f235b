//! Calls that end before there is a mount to look at: a target that does not exist, an address that leads nowhere. What
//! the caller typed is all there is to show.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, UnmountFlags};
use serde_json::Value;

use super::ground::{self, Mounted};
use super::operation::{Operation, expect_path};
use super::operations::expect_own_actor;
use super::program::Lasting;
use super::raw::{self, NOWHERE};
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("missing::mount_at_nothing", mount_at_nothing),
        trial("missing::bind_of_nothing", bind_of_nothing),
        trial("missing::umount_of_nothing", umount_of_nothing),
        trial("missing::umount_of_a_plain_directory", umount_of_a_plain_directory),
        trial("missing::move_mount_to_nothing", move_mount_to_nothing),
        trial("missing::mount_with_addresses_that_lead_nowhere", mount_with_addresses_that_lead_nowhere),
        trial("missing::umount_with_an_address_that_leads_nowhere", umount_with_an_address_that_leads_nowhere),
    ]
}

fn nothing() -> Result<PathBuf> {
    Ok(ground::directory("missing")?.join("not-there"))
}

/// A failure of which only what was typed is known.
pub(crate) fn expect_claimed_only(operation: &Operation, op: &str, errno: i32, name: &str) -> Result<()> {
    operation.expect_failure(op, errno, name)?;
    operation.expect("/target", Value::Null)?;
    operation.expect("/effects", Value::Array(Vec::new()))?;
    expect_own_actor(operation)
}

fn mount_at_nothing() -> Result<()> {
    let target = nothing()?;
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::mount("the-source", &target, "tmpfs", MountFlags::empty(), None);
    ensure!(refused == Err(Errno::NOENT), "mount at nothing gave {refused:?}");
    let operation = trace.drain_one()?;
    expect_claimed_only(&operation, "mount", 2, "ENOENT")?;
    operation.expect("/syscall", "mount")?;
    operation.expect("/claimed/source", "the-source")?;
    operation.expect("/claimed/fstype", "tmpfs")?;
    expect_path(&operation, "/claimed/target", &target)?;
    // The twin: the same call, when the target is there.
    ground::make_directory(&target)?;
    let mounted = Mounted::tmpfs(&target)?;
    trace.drain_one()?.expect_success("mount", 1)?;
    mounted.unmount()
}

/// Here the kernel has found the target, and the source is what is missing.
fn bind_of_nothing() -> Result<()> {
    let (source, target) = (nothing()?, ground::directory("target")?);
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::mount_bind(&source, &target);
    ensure!(refused == Err(Errno::NOENT), "a bind of nothing gave {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_failure("bind", 2, "ENOENT")?;
    expect_path(&operation, "/target/path", &target)?;
    expect_path(&operation, "/claimed/source", &source)
}

fn umount_of_nothing() -> Result<()> {
    let target = nothing()?;
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::unmount(&target, UnmountFlags::DETACH);
    ensure!(refused == Err(Errno::NOENT), "umount of nothing gave {refused:?}");
    let operation = trace.drain_one()?;
    expect_claimed_only(&operation, "umount", 2, "ENOENT")?;
    operation.expect("/syscall", "umount2")?;
    operation.expect("/claimed/flags", vec!["MNT_DETACH"])?;
    expect_path(&operation, "/claimed/target", &target)
}

/// The twin: the path is there, and only no mount point.
fn umount_of_a_plain_directory() -> Result<()> {
    let target = ground::directory("plain")?;
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::unmount(&target, UnmountFlags::empty());
    ensure!(refused == Err(Errno::INVAL), "umount of a plain directory gave {refused:?}");
    let operation = trace.drain_one()?;
    operation.expect_failure("umount", 22, "EINVAL")?;
    expect_path(&operation, "/target/path", &target)
}

fn move_mount_to_nothing() -> Result<()> {
    let (from, to) = (ground::directory("from")?, nothing()?);
    let mounted = Mounted::tmpfs(&from)?;
    let mut trace = Lasting::trace()?;
    let refused = rustix::mount::move_mount(CWD, &from, CWD, &to, MoveMountFlags::empty());
    ensure!(refused == Err(Errno::NOENT), "move_mount to nothing gave {refused:?}");
    let operation = trace.drain_one()?;
    expect_claimed_only(&operation, "move", 2, "ENOENT")?;
    operation.expect("/syscall", "move_mount")?;
    expect_path(&operation, "/claimed/source", &from)?;
    expect_path(&operation, "/claimed/target", &to)?;
    // The twin: the same call, when the target is there.
    ground::make_directory(&to)?;
    rustix::mount::move_mount(CWD, &from, CWD, &to, MoveMountFlags::empty()).context("move_mount")?;
    let mounted = mounted.moved_to(&to);
    trace.drain_one()?.expect_success("move", 1)?;
    mounted.unmount()
}

fn mount_with_addresses_that_lead_nowhere() -> Result<()> {
    let target = ground::directory("target")?;
    let path = CString::new(target.as_os_str().as_encoded_bytes()).context("our own paths have no NUL")?;
    let [source, at, fstype] = [c"the-source", &path, c"tmpfs"].map(|text| text.as_ptr() as u64);
    let mut trace = Lasting::trace()?;
    for (source, at, fstype) in [(NOWHERE, at, fstype), (source, NOWHERE, fstype), (source, at, NOWHERE)] {
        let refused = raw::mount(source, at, fstype, 0, 0);
        ensure!(refused == Err(Errno::FAULT), "an address that leads nowhere gave {refused:?}");
        let operation = trace.drain_one()?;
        expect_claimed_only(&operation, "mount", 14, "EFAULT")?;
        let typed = [("/claimed/source", source), ("/claimed/target", at), ("/claimed/fstype", fstype)];
        for (pointer, _) in typed.iter().filter(|(_, address)| *address == NOWHERE) {
            operation.expect(pointer, Value::Null)?;
        }
    }
    // The twin: the same call with the three good ones.
    raw::mount(source, at, fstype, 0, 0).context("mount by addresses")?;
    let mounted = Mounted::adopt(&target);
    trace.drain_one()?.expect_success("mount", 1)?;
    mounted.unmount()
}

fn umount_with_an_address_that_leads_nowhere() -> Result<()> {
    let target = ground::directory("target")?;
    let mounted = Mounted::tmpfs(&target)?;
    let mut trace = Lasting::trace()?;
    let refused = raw::umount2(NOWHERE, 0);
    ensure!(refused == Err(Errno::FAULT), "umount2 of an address that leads nowhere gave {refused:?}");
    let operation = trace.drain_one()?;
    expect_claimed_only(&operation, "umount", 14, "EFAULT")?;
    operation.expect("/claimed/target", Value::Null)?;
    mounted.unmount()?;
    expect_umount(&trace.drain_one()?, &target)
}

fn expect_umount(operation: &Operation, target: &Path) -> Result<()> {
    operation.expect_success("umount", 1)?;
    expect_path(operation, "/effects/0/path", target)
}
