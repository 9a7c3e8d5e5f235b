//! More at once than a reader can take: what the ring holds is not lost, what is lost is said within a second, and the tables are right
//! again soon after.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::process::Signal;

use super::super::burst::{MOUNTS_EACH, bind_all, targets};
use super::super::ground::{self, Mounted};
use super::super::kernel;
use super::super::node::Agent;
use super::super::trial::trial;
use super::kernel_tables;
use super::run::compare_with_agent;
use super::socket::Socket;

/// How long the reader stands still.
const STILL: Duration = Duration::from_secs(1);
/// A tree of so many mounts is bound below so many peers.
const TREE: usize = 1000;
const PEERS: usize = 200;
/// As many mounts one lazy unmount takes along.
const UNMOUNTED: usize = 100_000;
/// As many mounts a namespace may have meanwhile.
const MOUNT_MAX: &str = "/proc/sys/fs/mount-max";
const MOST_MOUNTS: &str = "500000";
/// A loss is said within a second, and the tables are right again within two.
const SAID_WITHIN: Duration = Duration::from_secs(1);
const RIGHT_WITHIN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("storms::two_writers_while_the_reader_stands_still", two_writers_while_the_reader_stands_still),
        trial("storms::a_tree_bound_into_many_peers", a_tree_bound_into_many_peers),
        trial("storms::many_unmounted_at_once", many_unmounted_at_once),
        trial("storms::more_than_a_tiny_ring_holds", more_than_a_tiny_ring_holds),
    ]
}

fn two_writers_while_the_reader_stands_still() -> Result<()> {
    let (room, source) = (ground::directory("storm")?, ground::directory("source")?);
    let mounted = Mounted::tmpfs(&room)?;
    let targets = targets(&room, MOUNTS_EACH)?;
    let watched = Watched::start(&[])?;
    watched.stand_still(|| bind_all(&source, &targets).map(drop))?;
    watched.expect_nothing_lost(|| mounted.unmount_with(UnmountFlags::DETACH))
}

fn a_tree_bound_into_many_peers() -> Result<()> {
    let _many = ManyMounts::allowed()?;
    let (source, room) = (ground::directory("tree")?, ground::directory("peers")?);
    let tree = Mounted::tmpfs(&source)?;
    ground::change(&source, MountPropagationFlags::PRIVATE)?;
    for number in 1..TREE {
        mount_at(&source.join(number.to_string()))?;
    }
    let peers = Mounted::tmpfs(&room)?;
    ground::change(&room, MountPropagationFlags::PRIVATE)?;
    let first = room.join("0");
    mount_at(&first)?;
    ground::change(&first, MountPropagationFlags::SHARED)?;
    ground::make_directory(&first.join("below"))?;
    for number in 1..PEERS {
        let peer = room.join(number.to_string());
        ground::make_directory(&peer)?;
        ground::bind(&first, &peer)?;
    }
    let watched = Watched::start(&[])?;
    let begin = Instant::now();
    rustix::mount::mount_bind_recursive(&source, first.join("below"))
        .with_context(|| format!("cannot bind {TREE} mounts into {PEERS} peers"))?;
    eprintln!("{TREE} mounts into {PEERS} peers: {:?}", begin.elapsed());
    watched.expect_nothing_lost(|| {
        peers.unmount_with(UnmountFlags::DETACH)?;
        tree.unmount_with(UnmountFlags::DETACH)
    })
}

fn many_unmounted_at_once() -> Result<()> {
    let _many = ManyMounts::allowed()?;
    let room = ground::directory("many")?;
    let mounted = Mounted::tmpfs(&room)?;
    ground::change(&room, MountPropagationFlags::PRIVATE)?;
    // Trees of a thousand: each is one call.
    let source = room.join("0");
    mount_at(&source)?;
    for number in 1..TREE {
        mount_at(&source.join(number.to_string()))?;
    }
    for number in 1..UNMOUNTED / TREE {
        let target = room.join(number.to_string());
        ground::make_directory(&target)?;
        rustix::mount::mount_bind_recursive(&source, &target).context("cannot bind a tree")?;
    }
    let watched = Watched::start(&[])?;
    let begin = Instant::now();
    mounted.unmount_with(UnmountFlags::DETACH)?;
    eprintln!("{UNMOUNTED} unmounted: {:?}", begin.elapsed());
    watched.expect_nothing_lost(|| Ok(()))
}

/// The twin: what does not fit is lost, and healed.
fn more_than_a_tiny_ring_holds() -> Result<()> {
    let (room, source) = (ground::directory("storm")?, ground::directory("source")?);
    let mounted = Mounted::tmpfs(&room)?;
    let targets = targets(&room, TREE)?;
    let mut watched = Watched::start(&["--ring-size", "64Ki"])?;
    let begin = watched.stand_still(|| bind_all(&source, &targets).map(drop))?;
    let said = watched.until(begin, |watched| Ok(watched.agent.program.errors().iter().any(|line| says_loss(line))))?;
    let right = watched.until(begin, |watched| {
        let (_, end) = watched.socket.tables()?;
        let read = |reason: &str| end.reads.get(reason).copied().unwrap_or(0);
        Ok(read("lost") + read("count") > 0 && watched.socket.tables()?.0.values().all(|table| table.state == "exact"))
    })?;
    eprintln!("the loss was said {said:?} after the reader went on, the tables were right after {right:?}");
    let compared = watched.compare()?;
    let finished = watched.agent.program.terminate()?;
    mounted.unmount_with(UnmountFlags::DETACH)?;
    ensure!(finished.stat("records_lost")? > 0, "nothing was lost: this ring holds all of it");
    ensure!(said <= SAID_WITHIN, "the loss was said only after {said:?}");
    ensure!(right <= RIGHT_WITHIN, "the tables were right only after {right:?}");
    ensure!(compared.is_empty(), "healed, the tables differ: {compared:#?}");
    Ok(())
}

/// An agent that keeps a mirror, and its socket.
struct Watched {
    agent: Agent,
    socket: Socket,
}

impl Watched {
    fn start(flags: &[&str]) -> Result<Self> {
        let agent = Agent::start_with("observe", &[], flags)?;
        let mut socket = Socket::connect()?;
        socket.wait_until_read()?;
        Ok(Self { agent, socket })
    }

    /// Stops the agent, for a second at least, while this happens; when it went on.
    fn stand_still(&self, meanwhile: impl FnOnce() -> Result<()>) -> Result<Instant> {
        let signal = |signal| rustix::process::kill_process(self.agent.program.pid(), signal).context("cannot signal");
        signal(Signal::STOP)?;
        let begin = Instant::now();
        meanwhile()?;
        thread::sleep(STILL.saturating_sub(begin.elapsed()));
        signal(Signal::CONT)?;
        Ok(Instant::now())
    }

    /// How long after `begin` something was so.
    fn until(&mut self, begin: Instant, is_so: impl Fn(&mut Self) -> Result<bool>) -> Result<Duration> {
        while begin.elapsed() < 10 * RIGHT_WITHIN {
            if is_so(self)? {
                return Ok(begin.elapsed());
            }
            thread::sleep(PAUSE);
        }
        bail!("not within {:?}; it said: {:#?}", begin.elapsed(), self.agent.program.errors())
    }

    fn compare(&mut self) -> Result<Vec<String>> {
        Ok(compare_with_agent(&mut self.socket, &kernel_tables::namespaces()?)?.differences)
    }

    /// The mirror equals the kernel, and no record of a table was lost; then what was mounted is put away.
    fn expect_nothing_lost(mut self, put_away: impl FnOnce() -> Result<()>) -> Result<()> {
        let differences = self.compare()?;
        let finished = self.agent.program.terminate()?;
        put_away()?;
        ensure!(differences.is_empty(), "{} differences, first {:?}", differences.len(), differences.first());
        let (lost, missed) = (finished.stat("records_lost")?, finished.missed()?.unwrap_or(0));
        ensure!(lost == 0 && missed == 0, "records_lost={lost} missed={missed}: {:?}", finished.errors);
        Ok(())
    }
}

fn says_loss(line: &str) -> bool {
    line.starts_with("loss:")
}

fn mount_at(path: &Path) -> Result<()> {
    ground::make_directory(path)?;
    ground::mount_tmpfs(path)
}

/// `fs.mount-max`, raised as long as this lives.
struct ManyMounts(String);

impl ManyMounts {
    fn allowed() -> Result<Self> {
        let before = kernel::read(MOUNT_MAX)?;
        ground::write_file(&PathBuf::from(MOUNT_MAX), MOST_MOUNTS)?;
        Ok(Self(before))
    }
}

impl Drop for ManyMounts {
    fn drop(&mut self) {
        let _ = ground::write_file(&PathBuf::from(MOUNT_MAX), &self.0);
    }
}
