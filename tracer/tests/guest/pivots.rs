//! `pivot_root(2)`: the new root stands at `/`, and the old one where it was put.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;

use super::actor::Actor;
use super::expect::{Wanted, expect_effects};
use super::ground;
use super::operation::expect_path;
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("pivots::the_roots_change_places", the_roots_change_places), trial("pivots::refused", refused)]
}

/// A process in a namespace of its own whose root can be left, with a mount at `/new` that has a directory `old`.
fn ready() -> Result<Actor> {
    let room = ground::directory("root")?;
    let room = room.to_str().context("the trials' own paths are UTF-8")?;
    let mut actor = Actor::private()?;
    actor.must(&["tmpfs", room])?;
    actor.must(&["switch", room])?;
    actor.must(&["mkdir", "/new"])?;
    actor.must(&["tmpfs", "/new"])?;
    actor.must(&["mkdir", "/new/old"])?;
    Ok(actor)
}

fn the_roots_change_places() -> Result<()> {
    let mut actor = ready()?;
    let pid = actor.pid();
    let id_at =
        |path: &str| -> Result<Option<u64>> { Ok(oracle::mount_at(pid, Path::new(path))?.map(|mount| mount.id)) };
    let (old, new) = (id_at("/")?, id_at("/new")?);
    let mut trace = Lasting::trace()?;
    actor.must(&["pivot", "/new", "/new/old"])?;
    let operation = trace.drain_one()?;
    let wanted = ["/old", "/"].map(|path| Wanted::of("move", pid, Path::new(path)));
    let wanted: Vec<Wanted> = wanted.into_iter().collect::<Result<_>>()?;
    let after = (id_at("/old")?, id_at("/")?);
    ensure!(after == (old, new) && old != new, "the roots did not change places: {after:?}");
    expect_effects(&operation, "pivot_root", "pivot_root", &wanted)?;
    expect_path(&operation, "/claimed/source", Path::new("/new"))?;
    expect_path(&operation, "/claimed/target", Path::new("/new/old"))?;
    operation.expect("/actor/pid", pid)
}

/// A directory on which nothing is mounted cannot become the root.
fn refused() -> Result<()> {
    let mut actor = ready()?;
    let mut trace = Lasting::trace()?;
    let errno = actor.act(&["pivot", "/new/old", "/new/old"])?;
    ensure!(errno == Errno::INVAL.raw_os_error(), "pivot_root to a plain directory gave errno {errno}");
    let operation = trace.drain_one()?;
    operation.expect_failure("pivot_root", 22, "EINVAL")?;
    // What the kernel had found at the path.
    expect_path(&operation, "/target/path", Path::new("/new/old"))?;
    operation.expect("/target/mntns", actor.namespace()?)
}
