//! The agent's mirror equals the kernel's mount tables after any sequence of operations: random ones from several processes
//! at once, compared under load by the agent's own audit, and at rest with what the kernel tells.
//!
//! `MIRROR_OPERATIONS`, `MIRROR_NAMESPACES` and `MIRROR_SEED` say how much and which, `MIRROR_REPLAY` names a file with a printed
//! sequence to run instead; `cargo xtask mirror-diff` sets them.

mod classics;
mod compare;
mod fanotify;
mod hangs;
mod kernel_tables;
mod made_up;
mod nobody_in;
mod perform;
mod reduce;
mod released;
mod run;
pub(crate) mod socket;
pub(crate) mod storms;
pub(crate) mod unhooked;
pub(crate) mod worker;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;

use super::kernel;
use super::node::Agent;
use super::program::attach_kind;
use super::trial::trial;
use reduce::Reduction;
use run::{Bounded, Mirror, Order, Outcome, run};
use socket::{End, Socket};
use workload::{Step, Workload};

/// So many operations of each process, and then others in fresh namespaces, so that a difference can be looked for in a short
/// sequence.
const ROUND_EACH: usize = 125;
/// Runs that may be spent on a shorter sequence. An agent's start takes ten seconds under emulation.
const RUNS: usize = 40;
/// Differences that are printed, and losses.
const PRINTED: usize = 20;
/// Of the operations, as many per cent must succeed: else the workload tests little.
const SUCCEED: usize = 40;
/// Tables that may come into doubt however few trees are set.
const SCATTER: u64 = 3;
/// More namespaces than this at once write more than an emulated reader takes out of the default ring.
const WIDE: usize = 8;
const WIDE_RING: &str = "64Mi";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = made_up::trials();
    trials.extend([
        trial("mirror::the_kernels_witnesses_agree", the_kernels_witnesses_agree),
        trial("mirror::equals_the_kernel", equals_the_kernel),
        trial("mirror::fanotify_tells_the_same", fanotify::tells_the_same),
        trial("mirror::a_namespace_that_nobody_is_in", nobody_in::is_read_and_followed),
        trial("mirror::a_reading_that_hangs", hangs::others_are_read),
        trial("mirror::detached_until_released", released::detached_until_released),
        trial("mirror::what_no_hook_tells", classics::what_no_hook_tells),
    ]);
    trials
}

/// What a run is asked to do.
struct Parameters {
    operations: usize,
    namespaces: usize,
    seed: u64,
    /// To be run serially, in the place of all others.
    replay: Option<Workload>,
}

impl Parameters {
    /// What the environment asks for; two rounds in eight namespaces if it says nothing.
    fn given() -> Result<Self> {
        let replay = std::env::var("MIRROR_REPLAY").ok().map(|file| kernel::read(&file)?.parse()).transpose()?;
        Ok(Self {
            operations: given("MIRROR_OPERATIONS", 2000)?,
            namespaces: given("MIRROR_NAMESPACES", 8)?,
            seed: given("MIRROR_SEED", 1)?,
            replay,
        })
    }

    /// One workload for each round, and how to run it.
    fn rounds(&self) -> Vec<(Workload, Order)> {
        if let Some(replay) = &self.replay {
            return vec![(replay.clone(), Order::Serial)];
        }
        let size = ROUND_EACH * self.namespaces;
        let round = |begin: usize| {
            // Rounds of neighbouring seeds must not be the same ones.
            let seed = self.seed.wrapping_mul(1 << 32).wrapping_add(begin as u64);
            Workload::random(seed, self.namespaces, size.min(self.operations - begin))
        };
        (0..self.operations).step_by(size).map(|begin| (round(begin), Order::AtOnce)).collect()
    }
}

fn given<T: FromStr>(name: &str, default: T) -> Result<T> {
    let Ok(text) = std::env::var(name) else { return Ok(default) };
    text.parse().ok().with_context(|| format!("{name}={text} is no number"))
}

/// The agent, and how many namespaces it found.
struct Watched {
    agent: Agent,
    mirror: Mirror,
    found: usize,
    /// Mounts that were in no table when it began.
    detached: BTreeSet<u64>,
}

impl Watched {
    fn start(flags: &[&str], namespaces: usize) -> Result<Self> {
        let found = kernel_tables::namespaces()?.len();
        let ring: &[&str] = if namespaces > WIDE { &["--ring-size", WIDE_RING] } else { &[] };
        let agent = Agent::start_with("observe", &[], &[flags, ring].concat())?;
        let mut socket = Socket::connect()?;
        // A namespace that is made of one whose table is not known yet has to be read too.
        socket.wait_until_read()?;
        let detached = socket.detached()?.into_keys().collect();
        Ok(Self { agent, mirror: Mirror::Agent(socket), found, detached })
    }

    /// Prints in which order the tables changed lately.
    fn print_sections(&mut self) -> Result<usize> {
        let Mirror::Agent(socket) = &mut self.mirror else { bail!("the mirror is the agent's") };
        let sections = socket.sections()?;
        eprintln!("the last {} holds of the namespace semaphore, in their order:", sections.len());
        for section in &sections {
            eprintln!("    {section}");
        }
        Ok(sections.len())
    }

    /// Of what was mounted, and held by descriptors, nothing is left when nobody is.
    fn expect_released(&mut self) -> Result<()> {
        let Mirror::Agent(socket) = &mut self.mirror else { bail!("the mirror is the agent's") };
        released::until_only(socket, &self.detached)
    }

    /// What it says of itself in the end, and what it has lost.
    fn stop(mut self) -> Result<(End, u64)> {
        let Mirror::Agent(socket) = &mut self.mirror else { bail!("the mirror is the agent's") };
        let (_, end) = socket.tables()?;
        let finished = self.agent.program.terminate()?;
        ensure!(finished.status.success(), "the agent ended with {}: {:#?}", finished.status, finished.errors);
        let losses: Vec<String> = finished.errors.iter().filter(|line| is_of_loss(line)).cloned().collect();
        print_some(&losses);
        let lost = finished.stat("dropped")? + finished.stat("records_lost")? + finished.missed()?.unwrap_or(0);
        Ok((end, lost))
    }
}

/// All rounds together.
#[derive(Default)]
struct Sum {
    operations: usize,
    succeeded: usize,
    namespaces: usize,
    compared: u64,
    differences: Vec<String>,
    kinds: BTreeMap<String, (usize, usize)>,
    /// Trees whose attributes were set.
    trees_set: u64,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.operations += outcome.tried;
        self.succeeded += outcome.succeeded.len();
        self.namespaces = self.namespaces.max(outcome.namespaces);
        self.compared += outcome.compared;
        self.differences.extend(outcome.differences.iter().cloned());
        self.trees_set += outcome.succeeded.iter().filter(|step| sets_a_tree(step)).count() as u64;
        for (kind, (succeeded, tried)) in &outcome.kinds {
            let sum = self.kinds.entry(kind.clone()).or_default();
            (sum.0, sum.1) = (sum.0 + succeeded, sum.1 + tried);
        }
    }

    /// Tables that may come into doubt: one in ten of the trees whose attributes are set, because somebody moved mounts in it just then, and
    /// from 7.0 on one for each mount whose attributes are set by a path. Of 100 trees 0 to 6 were seen; the few of a short run scatter.
    fn may_be_doubted(&self) -> Result<u64> {
        let by_path = self.kinds.get(workload::BY_PATH).map_or(0, |(succeeded, _)| *succeeded as u64);
        let untold = if kernel::is_at_least(7, 0)? { by_path } else { 0 };
        Ok(SCATTER + self.trees_set / 10 + untold)
    }

    /// An error if the workload tests little.
    fn expect_success(&self) -> Result<()> {
        let kinds: Vec<String> =
            self.kinds.iter().map(|(kind, (succeeded, tried))| format!("{kind} {succeeded}/{tried}")).collect();
        eprintln!("{} of {} operations succeeded: {}", self.succeeded, self.operations, kinds.join(", "));
        ensure!(self.succeeded * 100 >= self.operations * SUCCEED, "too few operations succeeded");
        Ok(())
    }
}

fn equals_the_kernel() -> Result<()> {
    let parameters = Parameters::given()?;
    let _bounded = Bounded::set()?;
    let mut watched = Watched::start(&[], parameters.namespaces)?;
    let mut sum = Sum::default();
    let mut differing = None;
    for (workload, order) in parameters.rounds() {
        let outcome = run(&mut watched.mirror, &workload, order)?;
        sum.add(&outcome);
        if outcome.differences.iter().chain(&outcome.audited).any(|difference| !is_of_skipped_returns(difference)) {
            differing = Some(workload);
            break;
        }
    }
    if differing.is_some() {
        watched.print_sections()?;
    }
    let released = watched.expect_released();
    let found = watched.found;
    let (end, lost) = watched.stop()?;
    sum.compared += end.audited;
    sum.differences.extend(end.differences.iter().map(|difference| format!("audit: {difference}")));
    // With the standard output's other lines, so that whoever reads those finds it.
    println!("{}", closing_line(&sum, &end, lost)?);
    eprintln!("reads by reason: {:?}, {found} namespaces when it began", end.reads);
    eprintln!("lost: {lost} records and runs, and {} tables in doubt without one", end.doubted);
    print_some(&sum.differences);
    if let (Some(workload), None) = (differing, &parameters.replay) {
        reduce(&parameters, &workload)?;
    }
    let differing = sum.differences.iter().filter(|difference| !is_of_skipped_returns(difference)).count();
    ensure!(differing == 0, "{differing} differences, seed {}", parameters.seed);
    released?;
    expect_reads(&end, found, lost, sum.may_be_doubted()?)?;
    if parameters.replay.is_none() {
        ensure!(end.audited > 0, "the audit compared nothing");
        sum.expect_success()?;
    }
    Ok(())
}

/// Whether it sets attributes of a mount and of all that stand on it.
fn sets_a_tree(step: &Step) -> bool {
    let sets = step
        .words
        .first()
        .is_some_and(|kind| ["attributes", workload::BY_PATH, "open_tree_attr"].contains(&kind.as_str()));
    sets && step.words.iter().any(|word| word == "rec")
}

/// A remount is told when its functions return. With kretprobes the kernel skips returns, and counts that nowhere: then nothing tells
/// the attributes until that thread's next call.
fn is_of_skipped_returns(difference: &str) -> bool {
    returns_are_skipped() && [" attributes: ", " flags: "].iter().any(|field| difference.contains(field))
}

/// Whether the agent says that it lost something, or that a table is in doubt.
fn is_of_loss(line: &str) -> bool {
    ["loss: ", "doubt: "].iter().any(|start| line.starts_with(start))
}

/// Whether the kernel skips returns that it does not count.
fn returns_are_skipped() -> bool {
    attach_kind().as_deref() == Some("kprobe")
}

fn closing_line(sum: &Sum, end: &End, lost: u64) -> Result<String> {
    let release = kernel::read("/proc/sys/kernel/osrelease")?;
    let (operations, namespaces, compared) = (sum.operations, sum.namespaces, sum.compared);
    Ok(format!(
        "mirror-diff: kernel={} operations={operations} namespaces={namespaces} compared={compared} differences={} \
         lost={} reads={}",
        release.trim(),
        sum.differences.len(),
        lost + end.doubted,
        end.reads_unasked(),
    ))
}

/// The first ones of many.
fn print_some(lines: &[String]) {
    for line in lines.iter().take(PRINTED) {
        eprintln!("{line}");
    }
    if lines.len() > PRINTED {
        eprintln!("and {} more", lines.len() - PRINTED);
    }
}

/// Each namespace that was there is read once, and nothing is read again but after a loss: for the tables that it made doubtful, the
/// births that were not told, the counts that differ since. Where nothing was lost, a table that came into doubt costs one reading, and one
/// more where a namespace is born of it.
fn expect_reads(end: &End, found: usize, lost: u64, may_be_doubted: u64) -> Result<()> {
    let read = |reason: &str| end.reads.get(reason).copied().unwrap_or(0);
    // Skipped returns leave births and remounts untold.
    let for_losses = if lost > 0 || returns_are_skipped() {
        ["lost", "met", "count", "attributes"].map(read).iter().sum()
    } else {
        let doubted = end.doubted;
        ensure!(doubted <= may_be_doubted, "{doubted} tables were in doubt, but {may_be_doubted} may be");
        doubted + read("met").min(doubted)
    };
    let most = found as u64 + for_losses;
    ensure!(end.reads_unasked() <= most, "tables were read {:?}, but at most {most} are accounted for", end.reads);
    Ok(())
}

/// Prints the shortest sequence found that shows a difference when it is run serially.
fn reduce(parameters: &Parameters, workload: &Workload) -> Result<()> {
    let seed = parameters.seed;
    let mut watched: Option<Watched> = None;
    let mut serially = |steps: &[Step]| -> Result<Outcome> {
        let mut with = watched.take().map_or_else(|| Watched::start(&[], parameters.namespaces), Ok)?;
        let outcome = run(&mut with.mirror, &workload.with_steps(steps.to_vec()), Order::Serial)?;
        eprintln!("{} of {} operations: {} differences", outcome.tried, steps.len(), outcome.differences.len());
        // A mirror that was wrong once stays so: the next run gets a new one.
        watched = outcome.differences.is_empty().then_some(with);
        Ok(outcome)
    };
    let whole = serially(&workload.steps)?;
    if whole.differences.is_empty() {
        eprintln!("seed {seed}: run serially, the round does not show it");
        return Ok(());
    }
    let failing = workload.steps[..whole.tried].to_vec();
    let mut reduction = Reduction::new(failing, RUNS, |steps| Ok(!serially(steps)?.differences.is_empty()));
    reduction.keep(|step| whole.succeeded.contains(step))?;
    for worker in 0..workload.workers {
        reduction.keep(|step| step.worker != worker)?;
    }
    reduction.halve()?;
    let steps = reduction.into_shortest();
    eprintln!("seed {seed}: the shortest sequence found, run serially, has {} operations:", steps.len());
    for step in workload.setup.iter().chain(&steps) {
        eprintln!("    {step}");
    }
    Ok(())
}

/// Of the oracle itself: after the same workload, `statmount(2)` and mountinfo tell the same.
fn the_kernels_witnesses_agree() -> Result<()> {
    if !kernel::is_at_least(6, 12)? {
        return Ok(());
    }
    let _bounded = Bounded::set()?;
    let mut sum = Sum::default();
    sum.add(&run(&mut Mirror::Statmount, &Workload::random(3, 6, 400), Order::AtOnce)?);
    print_some(&sum.differences);
    ensure!(sum.differences.is_empty(), "the kernel's two witnesses differ {} times", sum.differences.len());
    ensure!(sum.compared > 0, "nothing was compared");
    sum.expect_success()
}
