//! A mount goes elsewhere: it keeps its id, is shown once as a move, and where propagation takes copies of it, those are
//! shown as attached.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use super::actor::Actor;
use super::expect::{Wanted, expect_effects};
use super::ground::{self, Mounted};
use super::operation::expect_path;
use super::operations::expect_own_actor;
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

/// `MOVE_MOUNT_BENEATH`, not in rustix; from `linux/mount.h`.
const BENEATH: u32 = 0x200;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("moves::by_mount", by_mount),
        trial("moves::by_move_mount", by_move_mount),
        trial("moves::by_a_descriptor", by_a_descriptor),
        trial("moves::under_a_shared_mount", under_a_shared_mount),
        trial("moves::from_a_shared_mount_is_refused", from_a_shared_mount_is_refused),
        trial("moves::beneath_another_mount", beneath_another_mount),
    ]
}

/// mount(2) with `MS_MOVE`.
fn by_mount() -> Result<()> {
    moved("mount", |from, to| Ok(rustix::mount::mount_move(from, to)?))
}

/// `move_mount(2)` from path to path.
fn by_move_mount() -> Result<()> {
    moved("move_mount", |from, to| Ok(rustix::mount::move_mount(CWD, from, CWD, to, MoveMountFlags::empty())?))
}

/// `move_mount(2)` of what `open_tree(2)` without a clone has opened; that itself is no operation.
fn by_a_descriptor() -> Result<()> {
    moved("move_mount", |from, to| {
        let tree = rustix::mount::open_tree(CWD, from, OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        Ok(rustix::mount::move_mount(tree, "", CWD, to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    })
}

fn moved(syscall: &str, act: fn(&Path, &Path) -> Result<()>) -> Result<()> {
    let (from, to) = (ground::directory("from")?, ground::directory("to")?);
    let mounted = Mounted::tmpfs(&from)?;
    let before = oracle::own_mount_at(&from)?;
    let mut trace = Lasting::trace()?;
    act(&from, &to).context("the move itself")?;
    let mounted = mounted.moved_to(&to);
    let operation = trace.drain_one()?;
    let wanted = Wanted::own("move", &to)?;
    ensure!(oracle::own_mount_at(&to)?.id == before.id, "the kernel gave the mount another id by a move");
    expect_effects(&operation, "move", syscall, &[wanted])?;
    expect_path(&operation, "/claimed/target", &to)?;
    expect_own_actor(&operation)?;
    mounted.unmount()?;
    trace.drain_one()?.expect_success("umount", 1)
}

/// What moves becomes shared, and whoever shares the new place gets a copy.
fn under_a_shared_mount() -> Result<()> {
    let (from, shared) = (ground::directory("from")?, ground::directory("shared")?);
    let mounted = Mounted::tmpfs(&from)?;
    let room = Mounted::tmpfs(&shared)?;
    ground::change(&shared, MountPropagationFlags::SHARED)?;
    let to = shared.join("to");
    ground::make_directory(&to)?;
    let peer = Actor::unshared()?;
    let mut trace = Lasting::trace()?;
    rustix::mount::mount_move(&from, &to).context("cannot move a mount under a shared one")?;
    let mounted = mounted.moved_to(&to);
    let operation = trace.drain_one()?;
    let wanted = [Wanted::own("move", &to)?, Wanted::copy("attach", peer.pid(), &to)?];
    ensure!(oracle::own_mount_at(&to)?.shared, "a mount that moved under a shared one did not become shared");
    expect_effects(&operation, "move", "mount", &wanted)?;
    mounted.unmount()?;
    room.unmount()
}

/// The kernel moves nothing out of a shared mount, because its peers would have to follow.
fn from_a_shared_mount_is_refused() -> Result<()> {
    let (shared, to) = (ground::directory("shared")?, ground::directory("to")?);
    let room = Mounted::tmpfs(&shared)?;
    ground::change(&shared, MountPropagationFlags::SHARED)?;
    let from = shared.join("from");
    ground::make_directory(&from)?;
    let mounted = Mounted::tmpfs(&from)?;
    let mut trace = Lasting::trace()?;
    let calls: [(&str, Result<(), Errno>); 2] = [
        ("mount", rustix::mount::mount_move(&from, &to)),
        ("move_mount", rustix::mount::move_mount(CWD, &from, CWD, &to, MoveMountFlags::empty())),
    ];
    let operations = trace.drain()?;
    ensure!(operations.len() == calls.len(), "two calls failed, shown are {operations:#?}");
    for ((syscall, answer), operation) in calls.iter().zip(&operations) {
        ensure!(*answer == Err(Errno::INVAL), "{syscall} gave {answer:?}, expected EINVAL");
        operation.expect_failure("move", 22, "EINVAL")?;
        operation.expect("/syscall", *syscall)?;
        expect_path(operation, "/claimed/source", &from)?;
        expect_path(operation, "/claimed/target", &to)?;
    }
    // What the kernel had found at the path.
    for operation in &operations {
        expect_path(operation, "/target/path", &to)?;
        operation.expect("/target/dev", oracle::dev_of(&to)?)?;
        operation.expect("/target/mntns", oracle::own_namespace()?)?;
    }
    mounted.unmount()?;
    room.unmount()
}

/// `MOVE_MOUNT_BENEATH` (6.5 and newer): the mount that was on top stands on the one that came, and moves along with it.
fn beneath_another_mount() -> Result<()> {
    let (from, to) = (ground::directory("from")?, ground::directory("to")?);
    let (mounted, top) = (Mounted::tmpfs(&from)?, Mounted::tmpfs(&to)?);
    let before = (oracle::own_mount_at(&from)?.id, oracle::own_mount_at(&to)?.id);
    let mut trace = Lasting::trace()?;
    let answer = rustix::mount::move_mount(CWD, &from, CWD, &to, MoveMountFlags::from_bits_retain(BENEATH));
    let operation = trace.drain_one()?;
    if answer == Err(Errno::INVAL) {
        // An older kernel does not know the flag, and refuses before it looks at a path.
        operation.expect_failure("move", 22, "EINVAL")?;
        mounted.unmount()?;
        return top.unmount();
    }
    answer.context("a move beneath another mount")?;
    let mounted = mounted.moved_to(&to);
    operation.expect("/op", "move")?;
    operation.expect("/result/errno", 0)?;
    operation.expect("/claimed/flags", vec!["MOVE_MOUNT_BENEATH"])?;
    let moved: BTreeSet<u64> = operation.effects().iter().filter_map(|effect| effect["mount_id"].as_u64()).collect();
    ensure!(moved.contains(&before.0), "the mount that moved is not among the effects: {operation:?}");
    ensure!(operation.effects().iter().all(|effect| effect["kind"] == "move"), "only moves: {operation:?}");
    ensure!(oracle::own_mount_at(&to)?.id == before.1, "the mount on top is not on top any more");
    top.unmount()?;
    trace.drain()?;
    ensure!(oracle::own_mount_at(&to)?.id == before.0, "below it is not what moved");
    mounted.unmount()
}
