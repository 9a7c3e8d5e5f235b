//! One run of a workload: fresh processes, namespaces and directories, the operations, and at rest the comparison.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use super::super::ground::{self, Mounted};
use super::super::oracle;
use super::compare::Comparison;
use super::kernel_tables;
use super::perform;
use super::socket::{End, HeldTable, Socket};
use super::worker::{Crew, Done};
use super::workload::{Step, Workload};

/// As many mounts a namespace may have, so that recursive binds in peers do not grow without end.
const MOST_MOUNTS: u32 = 200;
const MOUNT_MAX: &str = "/proc/sys/fs/mount-max";
/// How long the agent may take to read what happened before the rest. Far above what is seen.
const DIGESTED: Duration = Duration::from_mins(1);
/// How long it may then take until no table is in doubt. After losses tables are read one by one, and wait longer each time.
const EXACT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
/// As often the agent audits itself while a workload is carried out.
const AUDITS: usize = 3;
/// A serial run is compared after so many operations: a comparison takes longer than they do.
const COMPARED_EACH: usize = 25;

/// How the operations of a workload follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those of different processes at once.
    AtOnce,
    /// One after the other, with comparisons in between, up to the first that finds a difference.
    Serial,
}

/// Whose word is compared with mountinfo.
pub(crate) enum Mirror {
    /// The agent's.
    Agent(Socket),
    /// `statmount(2)`'s: a trial of the kernel's two witnesses, which need no agent.
    Statmount,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Operations that were carried out, and those of them that succeeded.
    pub(crate) tried: usize,
    pub(crate) succeeded: Vec<Step>,
    /// Namespaces at rest, each of a worker.
    pub(crate) namespaces: usize,
    /// Mounts.
    pub(crate) compared: u64,
    pub(crate) differences: Vec<String>,
    /// What the agent's own audits have found since it began.
    pub(crate) audited: Vec<String>,
    /// For each kind of operation: how many succeeded, and how many were tried.
    pub(crate) kinds: BTreeMap<String, (usize, usize)>,
}

impl Outcome {
    fn add(&mut self, comparison: Comparison) {
        self.compared += comparison.mounts;
        self.differences.extend(comparison.differences);
    }
}

/// `fs.mount-max`, as long as this lives.
pub(crate) struct Bounded(String);

impl Bounded {
    pub(crate) fn set() -> Result<Self> {
        Self::to(MOST_MOUNTS)
    }

    pub(crate) fn to(most: u32) -> Result<Self> {
        let before = fs::read_to_string(MOUNT_MAX).with_context(|| format!("cannot read {MOUNT_MAX}"))?;
        fs::write(MOUNT_MAX, most.to_string()).with_context(|| format!("cannot write {MOUNT_MAX}"))?;
        Ok(Self(before))
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = fs::write(MOUNT_MAX, &self.0);
    }
}

/// A tree of directories on a shared tmpfs, gone with all that is mounted in it.
pub(crate) struct Tree(pub(crate) PathBuf);

impl Tree {
    pub(crate) fn new() -> Result<Self> {
        let tree = Self(ground::directory("mirror")?);
        perform::mount_tmpfs(&tree.0).with_context(|| format!("cannot mount {}", tree.0.display()))?;
        ground::change(&tree.0, MountPropagationFlags::SHARED)?;
        Ok(tree)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        while rustix::mount::unmount(&self.0, UnmountFlags::DETACH).is_ok() {}
    }
}

/// Runs it, and compares at rest.
pub(crate) fn run(mirror: &mut Mirror, workload: &Workload, order: Order) -> Result<Outcome> {
    let tree = Tree::new()?;
    let mut crew = Crew::start(workload.workers, &tree.0)?;
    crew.must(&workload.setup)?;
    let mut outcome = match order {
        Order::AtOnce => at_once(mirror, &mut crew, workload)?,
        Order::Serial => serially(mirror, &mut crew, workload)?,
    };
    if outcome.differences.is_empty() {
        crew.must(&workload.closing)?;
        outcome.add(compare_at_rest(mirror, &crew)?);
    }
    outcome.namespaces = namespaces_of(&crew)?.len();
    Ok(outcome)
}

/// Carries all out, while the agent audits itself.
fn at_once(mirror: &mut Mirror, crew: &mut Crew, workload: &Workload) -> Result<Outcome> {
    let mut audited = Vec::new();
    let done = crew.at_once(&workload.steps, || {
        if let Mirror::Agent(socket) = mirror {
            for _ in 0..AUDITS {
                audited = socket.audit()?.differences;
            }
        }
        Ok(())
    })?;
    Ok(Outcome { audited, ..counted(&done) })
}

/// Carries out one part after the other, until after one there is a difference.
fn serially(mirror: &mut Mirror, crew: &mut Crew, workload: &Workload) -> Result<Outcome> {
    let mut done = Vec::new();
    for steps in workload.steps.chunks(COMPARED_EACH) {
        done.extend(crew.serially(steps)?);
        let comparison = compare_at_rest(mirror, crew)?;
        if !comparison.differences.is_empty() {
            let mut outcome = counted(&done);
            outcome.add(comparison);
            return Ok(outcome);
        }
    }
    Ok(counted(&done))
}

fn counted(done: &[Done<'_>]) -> Outcome {
    let mut outcome = Outcome { tried: done.len(), ..Outcome::default() };
    for (step, errno) in done {
        let kind = outcome.kinds.entry(step.words[0].clone()).or_default();
        kind.1 += 1;
        if *errno == 0 {
            kind.0 += 1;
            outcome.succeeded.push((*step).clone());
        }
    }
    outcome
}

/// The workers' namespaces: the inode, and a process in it whose root is the namespace's.
fn namespaces_of(crew: &Crew) -> Result<BTreeMap<u64, u32>> {
    crew.pids().into_iter().map(|pid| Ok((oracle::namespace(pid)?, pid))).collect()
}

/// All namespaces of the machine, the workers' by the workers themselves.
fn namespaces(crew: &Crew) -> Result<BTreeMap<u64, u32>> {
    let mut all = kernel_tables::namespaces()?;
    all.extend(namespaces_of(crew)?);
    Ok(all)
}

/// Compares every namespace's table with the kernel's, while nobody acts.
fn compare_at_rest(mirror: &mut Mirror, crew: &Crew) -> Result<Comparison> {
    match mirror {
        Mirror::Agent(socket) => compare_with_agent(socket, &namespaces(crew)?),
        Mirror::Statmount => compare_with_statmount(crew),
    }
}

/// As the agent has them, the tables of these namespaces, which are all there are.
pub(crate) fn compare_with_agent(socket: &mut Socket, namespaces: &BTreeMap<u64, u32>) -> Result<Comparison> {
    let sentinel = ground::sentinel()?;
    let mounted = Mounted::tmpfs(&sentinel)?;
    let mark = oracle::own_mount_at(&sentinel)?.id;
    let own = oracle::own_namespace()?;
    let mut held =
        digested(socket, |held| held.get(&own).is_some_and(|table| table.mounts.iter().any(|mount| mount.id == mark)))?;
    let deadline = Instant::now() + EXACT;
    while !is_settled(&held, namespaces) && Instant::now() < deadline {
        thread::sleep(PAUSE);
        held = socket.tables()?.0;
    }
    let comparison = compare(&held, namespaces)?;
    mounted.unmount()?;
    Ok(comparison)
}

/// The agent's tables as soon as it has seen the sentinel and nothing more comes.
fn digested(
    socket: &mut Socket,
    has_sentinel: impl Fn(&BTreeMap<u64, HeldTable>) -> bool,
) -> Result<BTreeMap<u64, HeldTable>> {
    let deadline = Instant::now() + DIGESTED;
    let mut before: Option<End> = None;
    loop {
        let (held, end) = socket.tables()?;
        let still = before.is_some_and(|before| before.sections == end.sections);
        if still && (has_sentinel(&held) || Instant::now() > deadline) {
            return Ok(held);
        }
        ensure!(Instant::now() < deadline + DIGESTED, "the agent does not come to rest: {end:?}");
        before = Some(end);
        thread::sleep(PAUSE);
    }
}

/// Whether exactly the namespaces that live are there, and none is in doubt.
fn is_settled(held: &BTreeMap<u64, HeldTable>, namespaces: &BTreeMap<u64, u32>) -> bool {
    held.keys().eq(namespaces.keys()) && held.values().all(|table| table.state == "exact")
}

fn compare(held: &BTreeMap<u64, HeldTable>, namespaces: &BTreeMap<u64, u32>) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    for (inode, pid) in namespaces {
        let kernel = kernel_tables::read(*pid)?;
        ensure!(kernel.mntns == *inode, "process {pid} left its namespace");
        match held.get(inode) {
            Some(held) => comparison.add(held, &kernel),
            None => comparison.differences.push(format!("mntns {inode}: only the kernel has it")),
        }
    }
    let dead = held.keys().filter(|inode| !namespaces.contains_key(inode));
    comparison.differences.extend(dead.map(|inode| format!("mntns {inode}: only the mirror has it")));
    Ok(comparison)
}

/// The same with the kernel's other witness in the place of the agent.
fn compare_with_statmount(crew: &Crew) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    for pid in namespaces(crew)?.into_values() {
        let mut kernel = kernel_tables::by_mountinfo(pid)?;
        // Of where a mount is mounted statmount tells a path alone.
        kernel.mounts.values_mut().for_each(|mount| mount.point = None);
        let held = HeldTable::of_statmount(kernel.mntns, kernel_tables::by_statmount(pid)?);
        comparison.add(&held, &kernel);
    }
    Ok(comparison)
}
