//! What ends `trace`, what it leaves out when asked to, and what it says at its end.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::actor::Actor;
use super::ground::{self, Mounted};
use super::operation::Operation;
use super::oracle;
use super::program::{Finished, Program};
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("flags::count_ends_it", count_ends_it),
        trial("flags::duration_ends_it", duration_ends_it),
        trial("flags::sigterm_ends_it_and_seen_is_what_was_made", sigterm_ends_it_and_seen_is_what_was_made),
        trial("flags::mntns_of_another_namespace", mntns_of_another_namespace),
        trial("flags::mntns_of_this_namespace", mntns_of_this_namespace),
        trial("flags::event_umount", event_umount),
        trial("flags::event_mount_and_bind", event_mount_and_bind),
    ]
}

fn count_ends_it() -> Result<()> {
    let (one, two) = (ground::directory("count")?, ground::directory("count")?);
    let trace = Program::trace(&["--count", "2"])?;
    let mounts = [Mounted::tmpfs(&one)?, Mounted::tmpfs(&two)?];
    let finished = trace.wait()?;
    expect_zero(&finished)?;
    ensure!(finished.lines.len() == 2, "--count 2 printed {:#?}", finished.lines);
    mounts.into_iter().try_for_each(Mounted::unmount)
}

fn duration_ends_it() -> Result<()> {
    let started = Instant::now();
    let trace = Program::trace(&["--duration", "1"])?;
    let ready = Instant::now();
    let finished = trace.wait()?;
    expect_zero(&finished)?;
    ensure!(started.elapsed() >= Duration::from_secs(1), "--duration 1 ended after {:?}", started.elapsed());
    ensure!(ready.elapsed() < Duration::from_secs(5), "--duration 1 ended {:?} after ready", ready.elapsed());
    finished.stat("seen").map(drop)
}

fn sigterm_ends_it_and_seen_is_what_was_made() -> Result<()> {
    let directory = ground::directory("seen")?;
    let mut trace = Program::trace(&[])?;
    for _ in 0..3 {
        Mounted::tmpfs(&directory)?.unmount()?;
    }
    let operations = trace.drain()?;
    ensure!(operations.len() == 6, "three mounts and three unmounts were made, shown are {operations:#?}");
    let finished = trace.terminate()?;
    expect_zero(&finished)?;
    // Six, and the sentinel's two.
    let seen = finished.stat("seen")?;
    ensure!(seen == 8, "8 operations were made, seen={seen}");
    for name in ["dropped", "missed", "unresolved"] {
        let value = finished.stat(name)?;
        ensure!(value == 0, "{name}={value} after eight operations on an idle machine");
    }
    Ok(())
}

fn mntns_of_another_namespace() -> Result<()> {
    let mut other = Actor::private()?;
    let operations = both_act(&mut other, true)?;
    expect_only_in(&operations, other.namespace()?)
}

/// The twin: the same acts, seen from here.
fn mntns_of_this_namespace() -> Result<()> {
    let mut other = Actor::private()?;
    let operations = both_act(&mut other, false)?;
    expect_only_in(&operations, oracle::own_namespace()?)
}

/// One mount and unmount here, one there; traced in one of the two namespaces.
fn both_act(other: &mut Actor, traced_there: bool) -> Result<Vec<Operation>> {
    let here = ground::directory("here")?;
    // Made after the other namespace: the directory is on a file system that both see.
    let there = here.to_string_lossy().into_owned();
    let namespace = if traced_there { other.namespace()? } else { oracle::own_namespace()? };
    let mut trace = Program::trace(&["--mntns", &namespace.to_string()])?;
    Mounted::tmpfs(&here)?.unmount()?;
    other.must(&["tmpfs", &there])?;
    other.must(&["umount", &there])?;
    if traced_there {
        other.touch_sentinel()?;
    } else {
        ground::touch_sentinel()?;
    }
    trace.drain_to_sentinel()
}

fn expect_only_in(operations: &[Operation], namespace: u64) -> Result<()> {
    ensure!(operations.len() == 2, "a mount and an unmount were made there, shown are {operations:#?}");
    operations.iter().try_for_each(|operation| operation.expect("/effects/0/mntns", namespace))
}

fn event_umount() -> Result<()> {
    expect_events("umount", &["umount", "umount"])
}

/// The twin: with the other kinds asked for, they are there.
fn event_mount_and_bind() -> Result<()> {
    expect_events("mount,bind,umount", &["mount", "bind", "umount", "umount"])
}

fn expect_events(asked: &str, wanted: &[&str]) -> Result<()> {
    let (directory, copy) = (ground::directory("event")?, ground::directory("event")?);
    let mut trace = Program::trace(&["--event", asked])?;
    let mounted = Mounted::tmpfs(&directory)?;
    let bound = Mounted::bind(&directory, &copy)?;
    bound.unmount()?;
    mounted.unmount()?;
    let operations = trace.drain()?;
    let shown: Vec<&str> = operations.iter().map(Operation::op).collect();
    ensure!(shown == wanted, "--event {asked} showed {shown:?}, expected {wanted:?}");
    Ok(())
}

fn expect_zero(finished: &Finished) -> Result<()> {
    ensure!(finished.status.success(), "ended with {}; it said: {:#?}", finished.status, finished.errors);
    Ok(())
}
