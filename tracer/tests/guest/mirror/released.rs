//! Mounts that are in no table are known as long as somebody refers to them, and no longer: what the kernel tells of the descriptor that
//! refers to one is the oracle.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::CWD;
use rustix::mount::{FsMountFlags, MountAttrFlags, OpenTreeFlags, UnmountFlags, fsmount, open_tree};

use super::super::actor::Actor;
use super::super::node::Agent;
use super::super::{detached, ground, kernel};
use super::socket::Socket;

/// How long the agent may take to hear of it: it looks each second, and what lets a mount go may be deferred.
const HEARD: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn detached_until_released() -> Result<()> {
    let room = ground::directory("released")?;
    let agent = Agent::start("observe", &[])?;
    let mut socket = Socket::connect()?;
    socket.wait_until_read()?;
    let before: BTreeSet<u64> = socket.detached()?.into_keys().collect();

    // The twin: what nobody holds is released at once.
    let mounted = ground::Mounted::tmpfs(&room)?;
    let id = mount_id(&File::open(&room)?)?;
    mounted.unmount()?;
    until(&mut socket, id, false).context("unmounted")?;

    for (what, held) in [
        ("unmounted lazily", unmounted_lazily(&room)?),
        ("left by a namespace", left_by_a_namespace(&room)?),
        ("cloned", open_tree(CWD, &room, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?),
        (
            "made",
            fsmount(detached::context(true)?, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
                .context("cannot make a mount")?,
        ),
    ] {
        is_known_while_held(&mut socket, held).context(what)?;
    }
    until_only(&mut socket, &before)?;
    agent.stop()
}

/// Waits until no other mounts than these are in no table.
pub(super) fn until_only(socket: &mut Socket, these: &BTreeSet<u64>) -> Result<()> {
    let deadline = Instant::now() + HEARD;
    loop {
        let mut others = socket.detached()?;
        others.retain(|id, _| !these.contains(id));
        if others.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nobody refers to these mounts, and they are detached: {others:?}");
        thread::sleep(PAUSE);
    }
}

fn unmounted_lazily(room: &Path) -> Result<OwnedFd> {
    let mounted = ground::Mounted::tmpfs(room)?;
    let held = File::open(room)?;
    mounted.unmount_with(UnmountFlags::DETACH)?;
    Ok(held.into())
}

fn left_by_a_namespace(room: &Path) -> Result<OwnedFd> {
    let mut actor = Actor::private()?;
    actor.must(&["tmpfs", room.to_str().context("the trials' own paths are UTF-8")?])?;
    let seen_from_here = format!("/proc/{}/root{}", actor.pid(), room.display());
    Ok(File::open(&seen_from_here).with_context(|| format!("cannot open {seen_from_here}"))?.into())
}

/// It is there, with the device that the kernel tells, until the descriptor is closed.
fn is_known_while_held(socket: &mut Socket, held: OwnedFd) -> Result<()> {
    let id = mount_id(&held)?;
    until(socket, id, true)?;
    let dev = rustix::fs::fstat(&held)?.st_dev;
    let dev = format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev));
    let known = socket.detached()?.remove(&id).context("it went while it was held")?;
    ensure!(known.dev == dev, "mount {id} of {dev} is known with {}", known.dev);
    ensure!(known.group.is_none() && known.master.is_none(), "mount {id} has peers: {known:?}");
    drop(held);
    until(socket, id, false)
}

/// `mnt_id` of what a descriptor refers to.
fn mount_id(held: impl AsFd) -> Result<u64> {
    let info = kernel::read(&format!("/proc/self/fdinfo/{}", held.as_fd().as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).context("no mnt_id")?;
    id.trim().parse().with_context(|| format!("mnt_id is {id:?}"))
}

fn until(socket: &mut Socket, id: u64, known: bool) -> Result<()> {
    let deadline = Instant::now() + HEARD;
    while socket.detached()?.contains_key(&id) != known {
        ensure!(Instant::now() < deadline, "mount {id} is detached and known after {HEARD:?}: {}", !known);
        thread::sleep(PAUSE);
    }
    Ok(())
}
