//! What is lost is counted, said within a second, and never more than said: a reader that stands still, a small ring, and
//! two threads that mount.

use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::CWD;
use rustix::mount::UnmountFlags;
use rustix::process::Signal;
use serde_json::Value;

use super::burst::{MOUNTS_EACH, READ_AFTER, bind_all, targets};
use super::ground::{self, Mounted};
use super::kernel;
use super::operation::Operation;
use super::oracle;
use super::program::{Finished, Program};
use super::raw::{self, MountAttr};
use super::trial::trial;

/// `linux/mount.h` and `linux/fcntl.h`.
const MOUNT_ATTR_NOSUID: u64 = 2;
const AT_RECURSIVE: u64 = 0x8000;
const AT_EMPTY_PATH: u64 = 0x1000;

/// The exit status of `--fail-on-loss`.
const LOST: i32 = 4;
/// How long the reader stands still at least.
const STILL: Duration = Duration::from_secs(1);
/// What was lost is said within a second.
const SAID_WITHIN: Duration = Duration::from_secs(1);
/// A sentinel that was lost itself is made again.
const SENTINEL_AGAIN: Duration = Duration::from_secs(5);

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("loss::a_reader_that_stands_still", a_reader_that_stands_still),
        trial("loss::none_is_no_failure", none_is_no_failure),
    ];
    if kernel::has_mount_setattr() {
        trials.push(trial("loss::a_tree_that_is_too_large", a_tree_that_is_too_large));
    }
    trials
}

fn a_reader_that_stands_still() -> Result<()> {
    let (room, source) = (ground::directory("loss")?, ground::directory("source")?);
    let mounted = Mounted::tmpfs(&room)?;
    let targets = targets(&room, MOUNTS_EACH)?;
    let mut trace = Program::trace(&["--ring-size", "64Ki", "--fail-on-loss"])?;

    signal(&trace, Signal::STOP)?;
    let start = Instant::now();
    let counted = bind_all(&source, &targets)?;
    thread::sleep(STILL.saturating_sub(start.elapsed()));
    // Only now, so that the reader need not share the guest's processors with the writers, and its second is its own.
    signal(&trace, Signal::CONT)?;
    let mut operations = until_said(&mut trace)?;
    let sentinels = drain(&mut trace, &mut operations)?;
    let finished = trace.terminate()?;
    mounted.unmount_with(UnmountFlags::DETACH)?;

    expect_sums(&finished, counted + 2 * sentinels)?;
    expect_gaps(&operations, finished.stat("records_lost")?)?;
    ensure!(finished.status.code() == Some(LOST), "--fail-on-loss ended with {}", finished.status);
    Ok(())
}

/// The twin: nothing is lost, nothing is said, and `--fail-on-loss` ends with 0.
fn none_is_no_failure() -> Result<()> {
    let room = ground::directory("no-loss")?;
    let mut trace = Program::trace(&["--ring-size", "64Ki", "--fail-on-loss"])?;
    for _ in 0..3 {
        Mounted::tmpfs(&room)?.unmount()?;
    }
    let operations = trace.drain()?;
    ensure!(operations.len() == 6, "three mounts and three unmounts were made, shown are {operations:#?}");
    let finished = trace.terminate()?;
    ensure!(finished.status.success(), "--fail-on-loss ended with {} without a loss", finished.status);
    ensure!(finished.stat("dropped")? == 0, "dropped without a loss: {:?}", finished.errors);
    ensure!(!finished.errors.iter().any(|line| says_loss(line)), "a loss was said: {:?}", finished.errors);
    Ok(())
}

/// Of a tree whose attributes are set so many mounts are told and no more.
fn a_tree_that_is_too_large() -> Result<()> {
    const TOLD: usize = 4095;
    let (room, source) = (ground::directory("large")?, ground::directory("source")?);
    let mounted = Mounted::tmpfs(&room)?;
    bind_all(&source, &targets(&room, TOLD / 2)?)?;
    let opened = ground::open(CWD, &room)?;
    let set = || {
        let attr = MountAttr { set: MOUNT_ATTR_NOSUID, ..MountAttr::default() };
        raw::mount_setattr(Some(opened.as_fd()), c"", AT_EMPTY_PATH | AT_RECURSIVE, &attr)
    };
    let mut trace = Program::trace(&[])?;
    set().context("mount_setattr of a tree")?;
    let whole = trace.drain_one()?;
    // The room itself, and two lists of half as many.
    whole.expect("/effects_total", TOLD)?;
    let one_more = room.join("one-more");
    ground::make_directory(&one_more)?;
    ground::bind(&source, &one_more)?;
    set().context("mount_setattr of a tree")?;
    let mut operations = until_said(&mut trace)?;
    drain(&mut trace, &mut operations)?;
    let cut = operations.iter().find(|one| one.op() == "setattr").context("the call is not shown")?;
    cut.expect("/complete", false)?;
    cut.expect("/effects_total", Value::Null)?;
    let gap = operations.iter().find(|one| one.op() == "gap").context("no gap")?;
    gap.expect("/gap/dropped/0/reason", "list_too_long")?;
    gap.expect("/gap/namespaces/0/mntns", oracle::own_namespace()?)?;
    drop(opened);
    expect_gaps(&operations, trace.terminate()?.stat("records_lost")?)?;
    mounted.unmount_with(UnmountFlags::DETACH)
}

fn says_loss(line: &str) -> bool {
    line.starts_with("loss:")
}

fn signal(trace: &Program, signal: Signal) -> Result<()> {
    rustix::process::kill_process(trace.pid(), signal).with_context(|| format!("cannot send {signal:?}"))
}

/// Reads until the loss is on both outputs; an error unless that is soon.
fn until_said(trace: &mut Program) -> Result<Vec<Operation>> {
    let start = Instant::now();
    let deadline = start + READ_AFTER;
    let mut operations: Vec<Operation> = Vec::new();
    let (mut gap, mut line) = (None, None);
    while gap.is_none() || line.is_none() {
        let next = trace.next_json(deadline).context("waiting until a loss is said")?;
        operations.push(Operation(next.context("trace ended before it said the loss")?));
        let now = start.elapsed();
        gap = gap.or_else(|| operations.last().filter(|last| last.op() == "gap").map(|_| now));
        line = line.or_else(|| trace.errors().iter().any(|line| says_loss(line)).then_some(now));
    }
    for (what, after) in [("an operation", gap), ("a line on the standard error", line)] {
        let after = after.context("it was said")?;
        eprintln!("the loss was said as {what} {after:?} after the reader went on");
        ensure!(after <= SAID_WITHIN, "the loss was said as {what} only {after:?} after the reader went on");
    }
    Ok(operations)
}

/// Reads to a sentinel; how many it took.
fn drain(trace: &mut Program, operations: &mut Vec<Operation>) -> Result<u64> {
    let sentinel = ground::sentinel()?;
    let end = Instant::now() + READ_AFTER;
    let mut made = 0;
    while Instant::now() < end {
        ground::touch_sentinel()?;
        made += 1;
        let again = Instant::now() + SENTINEL_AGAIN;
        while let Ok(next) = trace.next_json(again) {
            let operation = Operation(next.context("trace ended before it showed a sentinel")?);
            if operation.op() == "umount" && operation.touches(&sentinel) {
                return Ok(made);
            }
            operations.push(operation);
        }
    }
    anyhow::bail!("no sentinel was shown, of {made}")
}

/// What was made was seen or dropped; a program that the kernel skipped is neither, and it counts those.
fn expect_sums(finished: &Finished, made: u64) -> Result<()> {
    let (seen, dropped) = (finished.stat("seen")?, finished.stat("dropped")?);
    // Where the kernel does not count what it skipped, it may have skipped nothing here.
    let missed = finished.missed()?.unwrap_or(0);
    let stats = finished.errors.iter().find(|line| line.starts_with("stats:"));
    eprintln!("made={made} {}", stats.map_or("", String::as_str));
    ensure!(dropped > 0, "nothing was dropped: this ring holds all that was made");
    ensure!(seen <= made, "{made} were made, but seen={seen}");
    let sum = seen + dropped;
    let closes = (made.saturating_sub(missed)..=made).contains(&sum);
    ensure!(closes, "made={made}, it said: {:#?}", finished.errors);
    Ok(())
}

/// The gaps add up to the records that were lost, and name what they know.
fn expect_gaps(operations: &[Operation], lost: u64) -> Result<()> {
    let gaps: Vec<&Operation> = operations.iter().filter(|operation| operation.op() == "gap").collect();
    let mut sum = 0;
    for gap in gaps {
        gap.expect("/syscall", Value::Null)?;
        let parts = gap.at("/gap/dropped").as_array().with_context(|| format!("a gap without parts: {gap:?}"))?;
        for part in parts {
            ensure!(part["hook"].is_string() && part["reason"].is_string(), "a gap that says not what: {gap:?}");
            sum += part["records"].as_u64().with_context(|| format!("a gap that says not how many: {gap:?}"))?;
        }
        if let Some(namespaces) = gap.at("/gap/namespaces").as_array() {
            let own = oracle::own_namespace()?;
            let only_own = namespaces.iter().all(|namespace| namespace["mntns"] == own);
            ensure!(only_own, "all was mounted in namespace {own}, but a gap says {gap:?}");
        }
    }
    ensure!(sum == lost, "the gaps add up to {sum}, records_lost={lost}");
    Ok(())
}
