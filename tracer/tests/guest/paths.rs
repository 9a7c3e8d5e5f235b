//! Where a mount is, when that is hard to say: too far down, on a way that changes, on a pile, covered, outside of the caller's
//! root. The path is right, or null with a reason.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::Value;

use super::actor::Actor;
use super::ground::{self, Mounted, by_descriptor, open};
use super::kernel;
use super::operation::{Operation, expect_path};
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

/// As many mounts stand on each other.
const PILE: usize = 40;
/// As often a mount is looked at while the way to it changes.
const REMOUNTS: usize = 4000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("paths::of_sixteen_names_of_255_bytes", of_sixteen_names_of_255_bytes),
        trial("paths::of_2047_names", of_2047_names),
        trial("paths::while_a_directory_above_is_renamed", while_a_directory_above_is_renamed),
        trial("paths::of_a_source_that_is_deleted", of_a_source_that_is_deleted),
        trial("paths::of_forty_mounts_on_each_other", of_forty_mounts_on_each_other),
        trial("paths::of_a_covered_mount", of_a_covered_mount),
        trial("paths::outside_of_the_callers_root", outside_of_the_callers_root),
        trial("paths::of_a_file", of_a_file),
    ]
}

fn of_sixteen_names_of_255_bytes() -> Result<()> {
    right_or_null(&vec!["n".repeat(255); 16])
}

fn of_2047_names() -> Result<()> {
    right_or_null(&vec!["n".to_owned(); 2047])
}

/// A directory where these names lead to, below a trial's own, made one step at a time: no single path could name it.
pub(crate) struct Far {
    above: OwnedFd,
    last: String,
    path: PathBuf,
}

impl Far {
    pub(crate) fn make(names: &[String]) -> Result<Self> {
        let base = ground::directory("far")?;
        let mut above = open(CWD, &base)?;
        let (last, upper) = names.split_last().context("no names")?;
        for name in upper {
            rustix::fs::mkdirat(&above, name.as_str(), 0o755.into()).context("cannot make a directory far down")?;
            above = open(&above, name)?;
        }
        rustix::fs::mkdirat(&above, last.as_str(), 0o755.into()).context("cannot make the last directory")?;
        Ok(Self { above, last: last.clone(), path: base.join(names.join("/")) })
    }

    pub(crate) fn mount(&self) -> Result<()> {
        ground::mount_tmpfs(&by_descriptor(&open(&self.above, &self.last)?))
    }

    /// Opened again, the name leads to what is mounted there.
    pub(crate) fn unmount(&self) -> Result<()> {
        ground::unmount(&by_descriptor(&open(&self.above, &self.last)?), UnmountFlags::DETACH)
    }
}

fn right_or_null(names: &[String]) -> Result<()> {
    let far = Far::make(names)?;
    let path = far.path.clone();
    let mut trace = Lasting::trace()?;
    far.mount()?;
    let operation = trace.drain_one()?;
    operation.expect_success("mount", 1)?;
    let known = expect_path_or_reason(&operation, &[&path], &["too_deep", "too_long"])?;
    expect_later(&operation, known.is_none().then_some(&path))?;
    far.unmount()?;
    let umount = trace.drain_one()?;
    umount.expect("/op", "umount")?;
    ensure!(expect_path_or_reason(&umount, &[&path], &["too_deep", "too_long"])? == known, "{umount:?}");
    // Nobody can be asked about what is gone.
    umount.expect("/effects/0/path_later", Value::Null)?;
    Ok(())
}

/// A directory goes from one place to another and back as fast as it can: a path leads through one or through the other, and never
/// half through each.
fn while_a_directory_above_is_renamed() -> Result<()> {
    let base = ground::directory("renamed")?;
    let whole = Mounted::tmpfs(&base)?;
    let (one, other) = (base.join("one/here"), base.join("other/there"));
    for directory in [&one.join("leaf"), &base.join("other")] {
        ground::make_directory(directory)?;
    }
    ground::mount_tmpfs(&one.join("leaf"))?;
    let place = open(CWD, one.join("leaf"))?;
    let mut trace = Lasting::trace()?;
    let done = AtomicBool::new(false);
    let (renames, made) = thread::scope(|scope| {
        let renaming = scope.spawn(|| rename_until(&done, &one, &other));
        let made: rustix::io::Result<Vec<()>> = (0..REMOUNTS).map(|_| remount(&place)).collect();
        done.store(true, Ordering::Relaxed);
        (renaming.join(), made)
    });
    made.context("a remount by its descriptor")?;
    let renames = renames.map_err(|_| anyhow!("the thread that renames panicked"))??;
    let operations = trace.drain()?;
    drop(place);
    whole.unmount_with(UnmountFlags::DETACH)?;
    trace.drain()?;
    ensure!(operations.len() == REMOUNTS, "{REMOUNTS} were made, {} shown", operations.len());
    let ways = [one.join("leaf"), other.join("leaf")];
    let mut known = [0usize; 3];
    for operation in &operations {
        let way = expect_path_or_reason(operation, &[&ways[0], &ways[1]], &["moved"])?;
        known[way.unwrap_or(2)] += 1;
    }
    eprintln!("{renames} renames: {} by one way, {} by the other, {} null", known[0], known[1], known[2]);
    ensure!(renames > 100 && known[0] > 0 && known[1] > 0, "nothing changed while it was looked at");
    ensure!(known[2] < REMOUNTS / 2, "most paths are not known");
    Ok(())
}

fn remount(place: &OwnedFd) -> rustix::io::Result<()> {
    rustix::mount::mount_remount(by_descriptor(place), MountFlags::BIND, c"")
}

fn rename_until(done: &AtomicBool, one: &Path, other: &Path) -> Result<usize> {
    let mut renames = 0;
    while !done.load(Ordering::Relaxed) {
        fs::rename(one, other)?;
        fs::rename(other, one)?;
        renames += 2;
    }
    Ok(renames)
}

fn of_a_source_that_is_deleted() -> Result<()> {
    let (source, target) = (ground::directory("deleted")?, ground::directory("target")?);
    let mounted = Mounted::bind(&source, &target)?;
    fs::remove_dir(&source)?;
    let mut trace = Lasting::trace()?;
    let root = oracle::own_mount_at(&target)?.root;
    let root = root.strip_suffix(b"//deleted").context("the kernel does not say that it is deleted")?.to_vec();
    mounted.unmount()?;
    let operation = trace.drain_one()?;
    operation.expect_success("umount", 1)?;
    expect_path(&operation, "/effects/0/path", &target)?;
    operation.expect("/effects/0/root", String::from_utf8(root)?)
}

fn of_forty_mounts_on_each_other() -> Result<()> {
    let target = ground::directory("pile")?;
    let mut trace = Lasting::trace()?;
    let mut pile = Vec::new();
    for _ in 0..PILE {
        pile.push(Mounted::tmpfs(&target)?);
    }
    while let Some(mounted) = pile.pop() {
        mounted.unmount()?;
    }
    let operations = trace.drain()?;
    ensure!(operations.len() == 2 * PILE, "{} were made, {} shown", 2 * PILE, operations.len());
    for operation in &operations {
        ensure!(operation.effects().len() == 1, "one mount each: {operation:?}");
        expect_path(operation, "/effects/0/path", &target)?;
    }
    Ok(())
}

fn of_a_covered_mount() -> Result<()> {
    let above = ground::directory("covered")?;
    let covered = above.join("below");
    ground::make_directory(&covered)?;
    let mounted = Mounted::tmpfs(&covered)?;
    let inside = open(CWD, &covered)?;
    let cover = Mounted::tmpfs(&above)?;
    let mut trace = Lasting::trace()?;
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    rustix::mount::mount_remount(by_descriptor(&inside), flags, c"").context("cannot remount what is covered")?;
    let operation = trace.drain_one()?;
    operation.expect_success("remount", 1)?;
    expect_path(&operation, "/effects/0/path", &covered)?;
    drop(inside);
    cover.unmount()?;
    mounted.unmount()
}

/// A path is seen from the root of its namespace, whatever the caller's root is.
fn outside_of_the_callers_root() -> Result<()> {
    let root = ground::directory("root")?;
    ground::make_directory(&root.join("inside"))?;
    let mut child = Actor::start()?;
    let mut trace = Lasting::trace()?;
    child.must(&["chroot", root.to_str().context("the trials' own paths are UTF-8")?])?;
    child.must(&["tmpfs", "/inside"])?;
    let operation = trace.drain_one()?;
    operation.expect_success("mount", 1)?;
    operation.expect("/claimed/target", "/inside")?;
    expect_path(&operation, "/effects/0/path", &root.join("inside"))?;
    ground::unmount(&root.join("inside"), UnmountFlags::empty())
}

fn of_a_file() -> Result<()> {
    let directory = ground::directory("files")?;
    let (source, target) = (directory.join("source"), directory.join("target"));
    for file in [&source, &target] {
        ground::write_file(file, "")?;
    }
    let mut trace = Lasting::trace()?;
    let mounted = Mounted::bind(&source, &target)?;
    let operation = trace.drain_one()?;
    operation.expect_success("bind", 1)?;
    expect_path(&operation, "/effects/0/path", &target)?;
    let root = oracle::own_mount_at(&target)?.root;
    operation.expect("/effects/0/root", String::from_utf8(root)?)?;
    mounted.unmount()
}

/// Where a path was not walked to its end the kernel is asked, from 6.11 on; where it was, it is not.
fn expect_later(operation: &Operation, unknown: Option<&PathBuf>) -> Result<()> {
    match unknown {
        Some(path) if kernel::is_at_least(6, 11)? => expect_path(operation, "/effects/0/path_later", path),
        _ => operation.expect("/effects/0/path_later", Value::Null),
    }
}

/// Which of these paths the one effect has, or none for one of these reasons.
fn expect_path_or_reason(operation: &Operation, paths: &[&PathBuf], reasons: &[&str]) -> Result<Option<usize>> {
    ensure!(operation.effects().len() == 1, "one mount: {operation:?}");
    if *operation.at("/effects/0/path") == Value::Null {
        let reason = operation.at("/effects/0/path_reason").as_str().unwrap_or_default();
        ensure!(reasons.contains(&reason), "null because of {reason:?}, expected one of {reasons:?}: {operation:?}");
        return Ok(None);
    }
    let which = paths.iter().position(|path| expect_path(operation, "/effects/0/path", path).is_ok());
    which.with_context(|| format!("it is at none of {paths:?}: {operation:?}")).map(Some)
}
