//! Who reads mount tables, counted by the kernel's own tracing and not by ours: as many tables as the agent says that it read, each once at
//! its start, and none while nothing happens or much.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, UnmountFlags};

use super::actor::Actor;
use super::ground::{self, Mounted};
use super::kernel;
use super::mirror::socket::Socket;
use super::node::Agent;
use super::trial::trial;

/// How long nothing happens, and then much.
const QUIET: Duration = Duration::from_mins(1);
const CHURN: Duration = Duration::from_mins(1);
/// A table is opened for reading.
const OPENED: &str = "mounts_open";
/// One mount of it is told.
const TOLD: &str = "show_vfsmnt";
/// The other ways to a table, which the agent does not go.
const OTHERS: [&str; 5] =
    ["mountinfo_open", "mountstats_open", "show_mountinfo", "__x64_sys_listmount", "__x64_sys_statmount"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("counting::no_table_is_read_after_the_start", no_table_is_read_after_the_start)]
}

fn no_table_is_read_after_the_start() -> Result<()> {
    let (room, below) = (ground::directory("churn")?, ground::directory("below")?);
    let counter = Counter::begin()?;
    let agent = Agent::start("observe", &[])?;
    Socket::connect()?.wait_until_read()?;
    let at_start = counter.expect_equal(&agent)?;
    ensure!(at_start.opened > 0 && at_start.told > at_start.opened, "nothing is counted: {at_start:?}");
    thread::sleep(QUIET);
    let quiet = counter.expect_equal(&agent)?;
    ensure!(quiet == at_start, "with nothing to see it read tables: {at_start:?}, then {quiet:?}");
    let begin = Instant::now();
    let mut changes = 0;
    while begin.elapsed() < CHURN {
        let mounted = Mounted::tmpfs(&room)?;
        let bound = Mounted::bind(&below, &below)?;
        drop(Actor::unshared()?);
        bound.unmount()?;
        mounted.unmount_with(UnmountFlags::DETACH)?;
        changes += 6;
    }
    let churn = counter.expect_equal(&agent)?;
    eprintln!("{changes} changes; {at_start:?}");
    ensure!(churn == at_start, "with {changes} changes it read tables: {at_start:?}, then {churn:?}");
    agent.stop()?;
    counter.end()
}

/// What the agent's threads did, by the kernel's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    opened: usize,
    told: usize,
}

/// The kernel's own probes at all that reads a table.
struct Counter {
    tracing: PathBuf,
    mounted: Mounted,
}

impl Counter {
    fn begin() -> Result<Self> {
        let tracing = ground::directory("tracing")?;
        rustix::mount::mount("tracefs", &tracing, "tracefs", MountFlags::empty(), None)
            .context("cannot mount tracefs")?;
        let counter = Self { mounted: Mounted::adopt(&tracing), tracing };
        let symbols = kernel::read("/proc/kallsyms")?;
        let is_there = |name: &&str| symbols.lines().any(|line| line.split_whitespace().nth(2) == Some(name));
        ensure!([OPENED, TOLD].iter().all(is_there), "this kernel reads tables in another way");
        let there = [OPENED, TOLD].into_iter().chain(OTHERS.into_iter().filter(is_there));
        let probes: Vec<String> = there.map(|name| format!("p:count/{name} {name}")).collect();
        ground::write_file(&counter.tracing.join("kprobe_events"), probes.join("\n"))?;
        ground::write_file(&counter.tracing.join("events/count/enable"), "1")?;
        Ok(counter)
    }

    /// What this agent's threads have done since; an error unless it says the same.
    fn expect_equal(&self, agent: &Agent) -> Result<Read> {
        // Each time another client: who is silent for a minute is hung up on.
        let (_, end) = Socket::connect()?.tables()?;
        let text = kernel::read(&self.tracing.join("trace").to_string_lossy())?;
        let threads = threads(agent)?;
        // `comm-TID [CPU] flags time: name: (address)`; a name may have a hyphen in it.
        let is_theirs = |line: &&str| {
            let thread = line.split(" [").next().and_then(|begin| begin.trim_end().rsplit('-').next());
            thread.is_some_and(|thread| threads.contains(thread))
        };
        let theirs: Vec<&str> = text.lines().filter(is_theirs).collect();
        let count = |name: &str| theirs.iter().filter(|line| line.contains(&format!(": {name}: "))).count();
        for other in OTHERS {
            ensure!(count(other) == 0, "it called {other} {} times", count(other));
        }
        let read = Read { opened: count(OPENED), told: count(TOLD) };
        let says: u64 = end.reads.values().sum();
        ensure!(read.opened as u64 == says, "the kernel counts {read:?}, the agent {:?}", end.reads);
        Ok(read)
    }

    fn end(self) -> Result<()> {
        ground::write_file(&self.tracing.join("events/count/enable"), "0")?;
        ground::write_file(&self.tracing.join("kprobe_events"), "")?;
        self.mounted.unmount()
    }
}

fn threads(agent: &Agent) -> Result<BTreeSet<String>> {
    let directory = format!("/proc/{}/task", agent.program.pid().as_raw_nonzero());
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
