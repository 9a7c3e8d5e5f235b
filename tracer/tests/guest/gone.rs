//! Mounts that go without an unmount: their mount point is removed, renamed over or unlinked where nothing is mounted on it,
//! and it is gone in every namespace where something was.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::actor::Actor;
use super::expect::{Wanted, expect_uncalled};
use super::ground;
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("gone::mount_point_removed", mount_point_removed),
        trial("gone::mount_point_renamed_over", mount_point_renamed_over),
        trial("gone::file_unlinked", file_unlinked),
        trial("gone::in_two_namespaces_with_what_is_below", in_two_namespaces_with_what_is_below),
    ]
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the trials' own paths are UTF-8")
}

/// Where only `other` has a mount, `act` takes its mount point away.
fn expect_gone(other: &Actor, target: &Path, act: impl FnOnce() -> std::io::Result<()>) -> Result<()> {
    ensure!(oracle::mount_at(std::process::id(), target)?.is_none(), "the mount propagated to the trial");
    let wanted = Wanted::of("detach", other.pid(), target)?;
    let mut trace = Lasting::trace()?;
    act().with_context(|| format!("cannot take {} away", target.display()))?;
    let operation = trace.drain_one()?;
    ensure!(oracle::mount_at(other.pid(), target)?.is_none(), "the mount is still there");
    expect_uncalled(&operation, "umount", "rmdir", &[wanted])?;
    operation.expect("/actor/pid", std::process::id())
}

fn mount_point_removed() -> Result<()> {
    let target = ground::directory("point")?;
    let mut other = Actor::private()?;
    other.must(&["tmpfs", text(&target)?])?;
    expect_gone(&other, &target, || fs::remove_dir(&target))?;
    // The twin: a directory on which nothing is mounted anywhere.
    let plain = ground::directory("plain")?;
    let mut trace = Lasting::trace()?;
    fs::remove_dir(&plain)?;
    let shown = trace.drain()?;
    ensure!(shown.is_empty(), "a plain directory was removed, but this was shown: {shown:#?}");
    Ok(())
}

fn mount_point_renamed_over() -> Result<()> {
    let (from, target) = (ground::directory("from")?, ground::directory("point")?);
    let mut other = Actor::private()?;
    other.must(&["tmpfs", text(&target)?])?;
    expect_gone(&other, &target, || fs::rename(&from, &target))
}

fn file_unlinked() -> Result<()> {
    let room = ground::directory("files")?;
    let (source, target) = (room.join("source"), room.join("point"));
    ground::write_file(&source, "")?;
    ground::write_file(&target, "")?;
    let mut other = Actor::private()?;
    other.must(&["bind", text(&source)?, text(&target)?])?;
    expect_gone(&other, &target, || fs::remove_file(&target))
}

/// What is mounted below it goes along, in each namespace.
fn in_two_namespaces_with_what_is_below() -> Result<()> {
    let target = ground::directory("point")?;
    let below = target.join("below");
    let mut others = [Actor::private()?, Actor::private()?];
    let mut wanted = Vec::new();
    for other in &mut others {
        other.must(&["tmpfs", text(&target)?])?;
        other.must(&["mkdir", text(&below)?])?;
        other.must(&["tmpfs", text(&below)?])?;
        wanted.push(Wanted::of("detach", other.pid(), &target)?);
        wanted.push(Wanted::of("detach", other.pid(), &below)?);
    }
    let mut trace = Lasting::trace()?;
    fs::remove_dir(&target)?;
    expect_uncalled(&trace.drain_one()?, "umount", "rmdir", &wanted)
}
