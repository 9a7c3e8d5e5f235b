//! Several mounts by one call: each of them is one effect.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use libtest_mimic::Trial;
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use super::actor::Actor;
use super::expect::{Wanted, all_own, expect_effects};
use super::ground::{self, Mounted};
use super::operation::expect_path;
use super::operations::expect_own_actor;
use super::program::Lasting;
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("trees::recursive_bind", recursive_bind),
        trial("trees::bind_of_the_top_alone", bind_of_the_top_alone),
        trial("trees::recursive_bind_without_what_cannot_be_bound", without_what_cannot_be_bound),
        trial("trees::recursive_bind_where_another_namespace_shares", where_another_namespace_shares),
        trial("trees::lazy_umount_of_a_tree", lazy_umount_of_a_tree),
    ]
}

/// A mount with one below it, and one below that. Gone with the top.
pub(crate) struct Tree {
    top: Mounted,
    root: PathBuf,
}

/// The mount points of a tree that stands at `root`.
pub(crate) fn points(root: &Path) -> [PathBuf; 3] {
    [root.to_owned(), root.join("inner"), root.join("inner/most")]
}

impl Tree {
    /// Mounts it.
    pub(crate) fn grow(name: &str) -> Result<Self> {
        let root = ground::directory(name)?;
        let top = Mounted::tmpfs(&root)?;
        for point in &points(&root)[1..] {
            ground::make_directory(point)?;
            ground::mount_tmpfs(point)?;
        }
        Ok(Self { top, root })
    }

    /// Where its top is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Takes all of it away.
    pub(crate) fn fell(self) -> Result<()> {
        self.top.unmount_with(UnmountFlags::DETACH)
    }
}

fn rbind(source: &Path, target: &Path) -> Result<Mounted> {
    rustix::mount::mount_bind_recursive(source, target)
        .with_context(|| format!("cannot bind {} with all below it to {}", source.display(), target.display()))?;
    Ok(Mounted::adopt(target))
}

/// Their paths, borrowed.
pub(crate) fn refs(points: &[PathBuf]) -> Vec<&Path> {
    points.iter().map(PathBuf::as_path).collect()
}

fn recursive_bind() -> Result<()> {
    let (tree, target) = (Tree::grow("tree")?, ground::directory("rbind")?);
    let mut trace = Lasting::trace()?;
    let bound = rbind(tree.root(), &target)?;
    let operation = trace.drain_one()?;
    expect_effects(&operation, "bind", "mount", &all_own("attach", &refs(&points(&target)))?)?;
    // The direct effects first, and among them the one that was asked for.
    expect_path(&operation, "/effects/0/path", &target)?;
    expect_own_actor(&operation)?;
    bound.unmount_with(UnmountFlags::DETACH)?;
    tree.fell()
}

/// The twin: what was not asked for is not shown.
fn bind_of_the_top_alone() -> Result<()> {
    let (tree, target) = (Tree::grow("tree")?, ground::directory("bind")?);
    let mut trace = Lasting::trace()?;
    let bound = Mounted::bind(tree.root(), &target)?;
    let operation = trace.drain_one()?;
    expect_effects(&operation, "bind", "mount", &[Wanted::own("attach", &target)?])?;
    bound.unmount()?;
    tree.fell()
}

fn without_what_cannot_be_bound() -> Result<()> {
    let (tree, target) = (Tree::grow("tree")?, ground::directory("rbind")?);
    let [_, _, innermost] = points(tree.root());
    ground::change(&innermost, MountPropagationFlags::UNBINDABLE)?;
    let mut trace = Lasting::trace()?;
    let bound = rbind(tree.root(), &target)?;
    let operation = trace.drain_one()?;
    expect_effects(&operation, "bind", "mount", &all_own("attach", &refs(&points(&target)[..2]))?)?;
    bound.unmount_with(UnmountFlags::DETACH)?;
    tree.fell()
}

fn where_another_namespace_shares() -> Result<()> {
    let (tree, shared) = (Tree::grow("tree")?, ground::directory("shared")?);
    let room = Mounted::tmpfs(&shared)?;
    ground::change(&shared, MountPropagationFlags::SHARED)?;
    let target = shared.join("target");
    ground::make_directory(&target)?;
    let peer = Actor::unshared()?;
    let mut trace = Lasting::trace()?;
    let bound = rbind(tree.root(), &target)?;
    let operation = trace.drain_one()?;
    let places = points(&target);
    let mut wanted = all_own("attach", &refs(&places))?;
    for place in &places {
        wanted.push(Wanted::copy("attach", peer.pid(), place)?);
    }
    expect_effects(&operation, "bind", "mount", &wanted)?;
    bound.unmount_with(UnmountFlags::DETACH)?;
    room.unmount()?;
    tree.fell()
}

fn lazy_umount_of_a_tree() -> Result<()> {
    let tree = Tree::grow("tree")?;
    let root = tree.root().to_owned();
    let [top, inner, innermost] = points(&root);
    let mut wanted = vec![Wanted::own("detach", &top)?];
    for point in [inner, innermost] {
        wanted.push(Wanted::own("detach", &point)?.of_any_origin());
    }
    let mut trace = Lasting::trace()?;
    tree.fell()?;
    let operation = trace.drain_one()?;
    expect_effects(&operation, "umount", "umount2", &wanted)?;
    expect_path(&operation, "/effects/0/path", &root)
}
