//! A namespace that no process is in, because only a descriptor keeps it: its table is read all the same, and followed (Linux 6.12 and
//! newer).

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::MountPropagationFlags;

use super::super::actor::Actor;
use super::super::detached;
use super::super::ground::{self, Mounted};
use super::super::kernel;
use super::super::node::Agent;
use super::compare::Comparison;
use super::kernel_tables::{self, KernelTable};
use super::socket::{HeldTable, Socket};

/// How long the agent may take to see a change.
const SEEN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

/// A namespace that an actor made, filled and left, and its table as the kernel had it then.
struct Left {
    _kept: File,
    table: KernelTable,
}

impl Left {
    fn made(room: &str) -> Result<Self> {
        let mut actor = Actor::unshared()?;
        actor.must(&["private", "/"])?;
        for _ in 0..2 {
            // One covers the other.
            actor.must(&["tmpfs", room])?;
        }
        Self::of(&actor)
    }

    fn of(actor: &Actor) -> Result<Self> {
        let path = format!("/proc/{}/ns/mnt", actor.pid());
        let kept = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self { _kept: kept, table: kernel_tables::read(actor.pid())? })
    }

    fn held(&self, socket: &mut Socket) -> Result<Option<HeldTable>> {
        Ok(socket.tables()?.0.remove(&self.table.mntns))
    }

    /// That the agent has it, or else what it has and said.
    fn had_by(&self, agent: &Agent, socket: &mut Socket) -> Result<HeldTable> {
        let (mut tables, end) = socket.tables()?;
        tables.remove(&self.table.mntns).with_context(|| {
            let (had, said) = (tables.keys().collect::<Vec<_>>(), agent.program.errors());
            format!(
                "mount namespace {}, which nobody is in, is none of {had:?} before {end:?}; the agent said {said:#?}",
                self.table.mntns
            )
        })
    }

    fn expect_equal(&self, held: &HeldTable) -> Result<()> {
        let mut comparison = Comparison::default();
        comparison.add(held, &self.table);
        ensure!(comparison.mounts > 0 && comparison.differences.is_empty(), "{:#?}", comparison.differences);
        Ok(())
    }
}

pub(super) fn is_read_and_followed() -> Result<()> {
    if !kernel::is_at_least(6, 12)? {
        return Ok(());
    }
    let (room, shared) = (ground::directory("nobody")?, ground::directory("shared")?);
    let room = room.to_str().context("the trials' own paths are UTF-8")?;
    let left = Left::made(room)?;
    // Another one goes on receiving what is mounted below a shared mount.
    let peers = Mounted::tmpfs(&shared)?;
    ground::change(&shared, MountPropagationFlags::SHARED)?;
    let below = shared.join("below");
    ground::make_directory(&below)?;
    let receiver = Left::of(&Actor::unshared()?)?;

    let agent = Agent::start("observe", &[])?;
    let mut socket = Socket::connect()?;
    socket.wait_until_read()?;
    left.expect_equal(&left.had_by(&agent, &mut socket)?)?;
    let before = receiver.had_by(&agent, &mut socket)?;
    receiver.expect_equal(&before)?;

    let mounted = Mounted::tmpfs(&below)?;
    until(&mut socket, |socket| {
        Ok(receiver.held(socket)?.is_some_and(|held| held.mounts.len() == before.mounts.len() + 1))
    })
    .context("a copy that propagated to it")?;
    mounted.unmount()?;
    until(&mut socket, |socket| {
        Ok(receiver.held(socket)?.is_some_and(|held| held.mounts.len() == before.mounts.len()))
    })
    .context("the end of that copy")?;
    receiver.expect_equal(&receiver.had_by(&agent, &mut socket)?)?;
    // The twin: when the descriptor is closed the namespace ends, and its table with it.
    let mntns = left.table.mntns;
    drop(left);
    until(&mut socket, |socket| Ok(!socket.tables()?.0.contains_key(&mntns))).context("the end of a namespace")?;
    if kernel::is_at_least(7, 0)? {
        made_for_a_descriptor_is_read(&mut socket, &shared)?;
    }
    agent.program.terminate()?;
    drop(receiver);
    peers.unmount()
}

/// One that nobody has ever been in. Who looks by the kernel's files goes into it when the agent has read it.
fn made_for_a_descriptor_is_read(socket: &mut Socket, source: &Path) -> Result<()> {
    let namespace = detached::namespace_of_tree(source)?;
    let mntns = rustix::fs::fstat(&namespace)?.st_ino;
    let is_exact = |socket: &mut Socket| Ok(socket.tables()?.0.get(&mntns).is_some_and(|table| table.state == "exact"));
    until(socket, is_exact).context("a namespace that was made for a descriptor")?;
    let held = socket.tables()?.0.remove(&mntns).context("it is there")?;
    let mut actor = Actor::start()?;
    actor.must(&["enter", &format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())])?;
    Left::of(&actor)?.expect_equal(&held)
}

fn until(socket: &mut Socket, is_so: impl Fn(&mut Socket) -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + SEEN;
    while !is_so(socket)? {
        ensure!(Instant::now() < deadline, "not seen within {SEEN:?}");
        thread::sleep(PAUSE);
    }
    Ok(())
}
