//! The order in which tables change, which is not the order in which calls end.
//!
//! One thread unmounts a mount, another tries to unmount its parent until it can: the kernel refuses as long as there is
//! something below. So the tables changed in one order only, and the effects' section numbers have to say it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::burst::READ_AFTER;
use super::ground;
use super::operation::Operation;
use super::program::Program;
use super::trial::trial;

const ROUNDS: usize = 300;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("order::a_child_is_unmounted_before_its_parent", a_child_is_unmounted_before_its_parent)]
}

/// A mount and one below it.
struct Pair {
    parent: PathBuf,
    child: PathBuf,
}

/// An unmount as it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    /// Its place among the lines.
    seq: u64,
    /// When its call ended.
    ended: u64,
    /// When its table changed.
    section: u64,
    thread: u64,
}

fn a_child_is_unmounted_before_its_parent() -> Result<()> {
    let pairs = pairs()?;
    let mut trace = Program::trace(&["--event", "umount"])?;
    unmount_all(&pairs)?;
    ground::touch_sentinel()?;
    let operations = trace.drain_to_sentinel_within(READ_AFTER)?;
    trace.terminate()?;

    let shown = shown(&operations)?;
    let rounds = pairs.iter().map(|pair| Ok((find(&shown, &pair.child)?, find(&shown, &pair.parent)?)));
    let rounds: Vec<(Shown, Shown)> = rounds.collect::<Result<_>>()?;
    let inverted = |key: fn(&Shown) -> u64| rounds.iter().filter(|(child, parent)| key(parent) < key(child)).count();
    eprintln!(
        "of {ROUNDS} rounds, the parent's unmount ended first in {}, and was printed first in {}",
        inverted(|one| one.ended),
        inverted(|one| one.seq)
    );
    let wrong = inverted(|one| one.section);
    ensure!(wrong == 0, "in {wrong} of {ROUNDS} rounds the parent's section comes first: {:?}", first_wrong(&rounds));
    // The twin: the same check over the same rounds, told the other way round.
    let swapped: Vec<(Shown, Shown)> = rounds.iter().map(|(child, parent)| (*parent, *child)).collect();
    ensure!(first_wrong(&swapped).is_some(), "the check would pass in any order");
    expect_rising(&rounds)
}

fn first_wrong(rounds: &[(Shown, Shown)]) -> Option<&(Shown, Shown)> {
    rounds.iter().find(|(child, parent)| parent.section <= child.section)
}

/// Each unmount is a section of its own, and a thread's calls follow each other.
fn expect_rising(rounds: &[(Shown, Shown)]) -> Result<()> {
    let mut threads: BTreeMap<u64, Vec<Shown>> = BTreeMap::new();
    let mut sections = BTreeMap::new();
    for one in rounds.iter().flat_map(|(child, parent)| [*child, *parent]) {
        threads.entry(one.thread).or_default().push(one);
        let before = sections.insert(one.section, one);
        ensure!(before.is_none(), "one section for two unmounts: {before:?} and {one:?}");
    }
    ensure!(threads.len() == 2, "two threads unmounted, shown are {:?}", threads.keys());
    for (thread, mut calls) in threads {
        calls.sort_by_key(|one| one.ended);
        let wrong = calls.windows(2).find(|pair| pair[0].section >= pair[1].section);
        ensure!(wrong.is_none(), "the sections of thread {thread} do not rise with its calls: {wrong:?}");
    }
    Ok(())
}

fn pairs() -> Result<Vec<Pair>> {
    let one = |_| {
        let parent = ground::directory("order")?;
        ground::mount_tmpfs(&parent)?;
        let child = parent.join("child");
        ground::make_directory(&child)?;
        ground::mount_tmpfs(&child)?;
        Ok(Pair { parent, child })
    };
    (0..ROUNDS).map(one).collect()
}

/// Both threads go through all rounds, and begin each together.
fn unmount_all(pairs: &[Pair]) -> Result<()> {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let children =
            scope.spawn(|| each(pairs, &barrier, |pair| ground::unmount(&pair.child, UnmountFlags::empty())));
        let parents = scope.spawn(|| each(pairs, &barrier, |pair| unmount_when_free(&pair.parent)));
        let join = |thread: thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().map_err(|_| anyhow!("an unmounting thread panicked"))?
        };
        join(children).and(join(parents))
    })
}

/// Goes on to the end after a failure: the other thread would wait for ever.
fn each(pairs: &[Pair], barrier: &Barrier, act: impl Fn(&Pair) -> Result<()>) -> Result<()> {
    let mut answer = Ok(());
    for pair in pairs {
        barrier.wait();
        answer = answer.and(act(pair));
    }
    answer
}

fn unmount_when_free(path: &Path) -> Result<()> {
    loop {
        match rustix::mount::unmount(path, UnmountFlags::empty()) {
            Err(Errno::BUSY) => {}
            other => return other.with_context(|| format!("cannot unmount {}", path.display())),
        }
    }
}

/// Every unmount that succeeded, by path.
fn shown(operations: &[Operation]) -> Result<BTreeMap<String, Shown>> {
    let mut shown = BTreeMap::new();
    for operation in operations.iter().filter(|operation| !operation.effects().is_empty()) {
        let path = operation.at("/effects/0/path").as_str().with_context(|| format!("no path in {operation:?}"))?;
        let before = shown.insert(path.to_owned(), one(operation)?);
        ensure!(before.is_none(), "{path} was unmounted twice, the second time by {operation:?}");
    }
    Ok(shown)
}

fn one(operation: &Operation) -> Result<Shown> {
    let number = |pointer: &str| {
        let value = operation.at(pointer);
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.with_context(|| format!("{pointer} is no number in {operation:?}"))
    };
    Ok(Shown {
        seq: number("/seq")?,
        ended: number("/boot_ns")?,
        section: number("/effects/0/section")?,
        thread: number("/actor/tid")?,
    })
}

fn find(shown: &BTreeMap<String, Shown>, path: &Path) -> Result<Shown> {
    let found = path.to_str().and_then(|path| shown.get(path));
    found.copied().with_context(|| format!("the unmount of {} was not shown", path.display()))
}
