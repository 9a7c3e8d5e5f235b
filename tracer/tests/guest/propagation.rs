//! One operation, many namespaces: every copy is shown with the namespace and the path that received it, and no other.
//!
//! The namespaces see one shared tmpfs. The third peer has it at another path, so that a path can only be right if it is
//! that namespace's own.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::mount::MountPropagationFlags;
use serde_json::Value;

use super::actor::Actor;
use super::ground::{self, Mounted};
use super::operation::{Expected, Operation};
use super::oracle;
use super::program::Lasting;
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("propagation::three_peers_and_a_private_namespace", three_peers_and_a_private_namespace),
        trial("propagation::four_peers", four_peers),
    ]
}

fn three_peers_and_a_private_namespace() -> Result<()> {
    mount_and_unmount_among(&Stage::set(Actor::private)?, 4)
}

/// The twin: what was silent because it is private receives its copy when it is not.
fn four_peers() -> Result<()> {
    mount_and_unmount_among(&Stage::set(Actor::unshared)?, 5)
}

/// The shared mount, and who sees it from where.
struct Stage {
    target: PathBuf,
    peers: Vec<(Actor, PathBuf)>,
    last: Actor,
    // Gone last: the peers' copies go with their namespaces.
    _shared: Mounted,
}

impl Stage {
    fn set(last: fn() -> Result<Actor>) -> Result<Self> {
        let (shared, elsewhere) = (ground::directory("shared")?, ground::directory("elsewhere")?);
        let mounted = Mounted::tmpfs(&shared)?;
        ground::change(&shared, MountPropagationFlags::SHARED)?;
        let below = shared.join("below");
        ground::make_directory(&below)?;
        ensure!(oracle::own_mount_at(&shared)?.shared, "{} did not become shared", shared.display());
        let peers = vec![
            (Actor::unshared()?, below.clone()),
            (Actor::unshared()?, below.clone()),
            (moved_peer(&shared, &elsewhere)?, elsewhere.join("below")),
        ];
        Ok(Self { target: below, peers, last: last()?, _shared: mounted })
    }

    /// What each namespace says is mounted there.
    fn copies(&self) -> Result<Vec<Expected>> {
        let own = std::process::id();
        let seats = self.peers.iter().map(|(peer, path)| (peer.pid(), path.as_path()));
        let all = [(own, self.target.as_path()), (self.last.pid(), self.target.as_path())];
        let mut copies = Vec::new();
        for (pid, path) in seats.chain(all) {
            copies.extend(copy_at(pid, path)?);
        }
        copies.sort();
        Ok(copies)
    }
}

/// A peer that has the shared mount at another path, and not at the usual one.
fn moved_peer(shared: &Path, elsewhere: &Path) -> Result<Actor> {
    let mut actor = Actor::unshared()?;
    let name = |path: &Path| path.to_str().map(str::to_owned).context("the trials' own paths are UTF-8");
    actor.must(&["bind", &name(shared)?, &name(elsewhere)?])?;
    actor.must(&["umount", &name(shared)?])?;
    Ok(actor)
}

fn copy_at(pid: u32, path: &Path) -> Result<Option<Expected>> {
    let Some(mount) = oracle::mount_at(pid, path)? else { return Ok(None) };
    let path = path.to_str().context("the trials' own paths are UTF-8")?.to_owned();
    Ok(Some(Expected { mntns: oracle::namespace(pid)?, path, mount_id: mount.id }))
}

fn mount_and_unmount_among(stage: &Stage, receivers: usize) -> Result<()> {
    ensure!(stage.copies()?.is_empty(), "something is mounted before the trial begins");
    let mut trace = Lasting::trace()?;

    let mounted = Mounted::tmpfs(&stage.target)?;
    let copies = stage.copies()?;
    ensure!(copies.len() == receivers, "the kernel made {copies:#?}, the trial expected {receivers}");
    expect_copies(&trace.drain_one()?, "mount", "attach", &copies)?;

    mounted.unmount()?;
    ensure!(stage.copies()?.is_empty(), "the unmount did not propagate");
    expect_copies(&trace.drain_one()?, "umount", "detach", &copies)
}

fn expect_copies(operation: &Operation, op: &str, kind: &str, copies: &[Expected]) -> Result<()> {
    operation.expect_success(op, copies.len())?;
    let places = operation.places()?;
    ensure!(places == copies, "shown: {places:#?}\nmountinfo: {copies:#?}\nin {operation:?}");
    let own = oracle::own_namespace()?;
    for effect in operation.effects() {
        ensure!(effect.get("kind").and_then(Value::as_str) == Some(kind), "expected kind {kind} in {effect}");
        let direct = effect.get("mntns").and_then(Value::as_u64) == Some(own);
        let propagated = effect.get("propagated").and_then(Value::as_bool);
        ensure!(propagated == Some(!direct), "propagated is wrong in {effect}; the call was made in namespace {own}");
    }
    Ok(())
}
