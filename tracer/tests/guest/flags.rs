//! What ends `trace`, what it leaves out when asked to, and what it says at its end.

use std::process;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::actor::Actor;
use super::ground::{self, Mounted};
use super::operation::Operation;
use super::oracle;
use super::program::{Finished, Program, command};
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
        trial("flags::target_with_an_exclusion_and_pid", target_with_an_exclusion_and_pid),
        trial("flags::pid_of_nobody", pid_of_nobody),
        trial("flags::failed_alone", failed_alone),
        trial("flags::columns_as_asked_for", columns_as_asked_for),
        trial("flags::a_filter_that_can_match_nothing", a_filter_that_can_match_nothing),
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
    // Under emulation the probes take seconds to leave the kernel; a minute, or for ever, would be too long for this.
    let finished = trace.wait()?;
    expect_zero(&finished)?;
    ensure!(started.elapsed() >= Duration::from_secs(1), "--duration 1 ended after {:?}", started.elapsed());
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
    for name in ["dropped", "unresolved", "unnamed"] {
        let value = finished.stat(name)?;
        ensure!(value == 0, "{name}={value} after eight operations on an idle machine");
    }
    // Before 5.12 nobody counts it.
    let missed = finished.missed()?.unwrap_or(0);
    ensure!(missed == 0, "missed={missed} after eight operations on an idle machine");
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

fn target_with_an_exclusion_and_pid() -> Result<()> {
    let (hidden, shown) = (ground::directory("hidden")?, ground::directory("shown")?);
    let target = format!("{}/*,!{}", ground::base()?.display(), hidden.display());
    let mut trace = Program::trace(&["--target", &target, "--pid", &process::id().to_string(), "-t", "tmp*"])?;
    Mounted::tmpfs(&hidden)?.unmount()?;
    Mounted::tmpfs(&shown)?.unmount()?;
    let operations = trace.drain()?;
    ensure!(operations.len() == 2, "of two mounts one is excluded, shown are {operations:#?}");
    ensure!(
        operations.iter().all(|operation| operation.touches(&shown)),
        "not at {}: {operations:#?}",
        shown.display()
    );
    Ok(())
}

/// The twin: the same acts, and another process is asked for. Process 2 is the kernel's and mounts nothing.
fn pid_of_nobody() -> Result<()> {
    let directory = ground::directory("nobody")?;
    let trace = Program::trace(&["--pid", "2"])?;
    Mounted::tmpfs(&directory)?.unmount()?;
    let finished = trace.terminate()?;
    ensure!(finished.lines.is_empty(), "--pid 2 showed {:#?}", finished.lines);
    ensure!(finished.stat("seen")? == 2, "two operations were made: {:#?}", finished.errors);
    Ok(())
}

fn failed_alone() -> Result<()> {
    let directory = ground::directory("failed")?;
    let trace = Program::trace(&["-x"])?;
    Mounted::tmpfs(&directory)?.unmount()?;
    let refused = rustix::mount::unmount(&directory, UnmountFlags::empty());
    ensure!(refused == Err(Errno::INVAL), "umount of what is no mount gave {refused:?}, expected EINVAL");
    let finished = trace.terminate()?;
    ensure!(finished.lines.len() == 1, "of three calls one failed, shown are {:#?}", finished.lines);
    ensure!(finished.lines[0].contains("EINVAL"), "shown is {}", finished.lines[0]);
    Ok(())
}

fn columns_as_asked_for() -> Result<()> {
    let directory = ground::directory("columns")?;
    let mut trace = Program::start(&["trace", "--columns", "op,result,path", "--no-headers"])?;
    trace.wait_ready()?;
    Mounted::tmpfs(&directory)?.unmount()?;
    let finished = trace.terminate()?;
    let path = directory.display();
    let expected = [format!("mount       OK     {path}"), format!("umount      OK     {path}")];
    ensure!(finished.lines == expected, "shown are {:#?}, expected {expected:#?}", finished.lines);
    Ok(())
}

fn a_filter_that_can_match_nothing() -> Result<()> {
    for (flags, meant) in [(["-e", "mounts"], "did you mean `mount`"), (["--columns", "+patj"], "did you mean `PATH`")]
    {
        let output = command(&[&["trace"], flags.as_slice()].concat()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2), "trace {flags:?} ended with {}; it said: {said}", output.status);
        ensure!(said.contains(meant), "trace {flags:?} said: {said}");
    }
    Ok(())
}

fn expect_zero(finished: &Finished) -> Result<()> {
    ensure!(finished.status.success(), "ended with {}; it said: {:#?}", finished.status, finished.errors);
    Ok(())
}
