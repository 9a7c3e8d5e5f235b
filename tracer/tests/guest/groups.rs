//! `move_mount(2)` with `MOVE_MOUNT_SET_GROUP`: a private mount joins the peer group of another (5.15 and newer).

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags};
use std::path::Path;

use super::expect::{Wanted, expect_effects};
use super::ground::{self, Mounted};
use super::operation::expect_path;
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

/// Not in rustix; from `linux/mount.h`.
const SET_GROUP: u32 = 0x100;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("groups::a_private_mount_joins", a_private_mount_joins)]
}

fn set_group(from: &Path, to: &Path) -> Result<(), Errno> {
    rustix::mount::move_mount(CWD, from, CWD, to, MoveMountFlags::from_bits_retain(SET_GROUP))
}

fn a_private_mount_joins() -> Result<()> {
    let (from, to) = (ground::directory("from")?, ground::directory("to")?);
    let shared = Mounted::tmpfs(&from)?;
    ground::change(&from, MountPropagationFlags::SHARED)?;
    let private = Mounted::bind(&from, &to)?;
    ground::change(&to, MountPropagationFlags::PRIVATE)?;
    let mut trace = Lasting::trace()?;
    match set_group(&from, &to) {
        Ok(()) => {
            let operation = trace.drain_one()?;
            let group = oracle::own_mount_at(&from)?.group;
            ensure!(group.is_some() && oracle::own_mount_at(&to)?.group == group, "it did not join");
            expect_effects(&operation, "set_group", "move_mount", &[Wanted::own("change", &to)?])?;
            // The twin: who is in a group already joins none.
            ensure!(set_group(&from, &to) == Err(Errno::INVAL), "a shared mount joined a group");
        }
        // Before 5.15 the flag is unknown.
        Err(errno) => ensure!(errno == Errno::INVAL, "set_group gave {errno}"),
    }
    let operation = trace.drain_one()?;
    operation.expect_failure("set_group", 22, "EINVAL").context("of what is refused")?;
    expect_path(&operation, "/claimed/target", &to)?;
    private.unmount()?;
    shared.unmount()
}
