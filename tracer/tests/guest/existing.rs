//! `trace --existing`: what is mounted already, in every namespace, and then what changes, without a hole between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use rustix::mount::UnmountFlags;
use serde_json::Value;

use super::actor::Actor;
use super::expect::Wanted;
use super::ground::{self, Mounted};
use super::operation::Operation;
use super::oracle;
use super::program::{Program, command};
use super::trial::trial;

/// The mounts that mountinfo hides: an initial root, and below it, on new kernels, another. More would be a surprise.
const MOST_HIDDEN: usize = 16;
/// Mount points of each churning thread.
const POINTS: usize = 100;
const THREADS: usize = 2;
/// How long it goes on after the tracer is ready.
const CHURN: Duration = Duration::from_secs(2);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("existing::every_mount_of_every_namespace", every_mount_of_every_namespace),
        trial("existing::without_a_hole_while_mounts_come_and_go", without_a_hole),
        trial("existing::asked_for_without_the_flag", asked_for_without_the_flag),
    ]
}

fn every_mount_of_every_namespace() -> Result<()> {
    let (here, there) = (ground::directory("here")?, ground::directory("there")?);
    let mounted = Mounted::tmpfs(&here)?;
    let mut other = Actor::private()?;
    other.must(&["tmpfs", there.to_str().context("the trials' own paths are UTF-8")?])?;
    let mut trace = Program::trace(&["--existing"])?;
    let operations = existing(&mut trace)?;
    for pid in [std::process::id(), other.pid()] {
        expect_table(&operations, pid)?;
    }
    let finished = trace.terminate()?;
    // The sentinel alone has happened.
    ensure!(
        finished.stat("seen")? == 2 && finished.missed()?.is_none_or(|missed| missed == 0),
        "{:?}",
        finished.errors
    );
    drop(other);
    mounted.unmount()
}

/// What was shown up to the sentinel, without the sentinel: of what existed.
fn existing(trace: &mut Program) -> Result<Vec<Operation>> {
    // Every table is read by the time that a later mount is shown, if not at once.
    thread::sleep(CHURN);
    let operations = trace.drain()?;
    ensure!(operations.iter().all(|operation| operation.op() == "existing"), "something happened: {operations:#?}");
    Ok(operations)
}

/// Of each mount that the kernel shows in the namespace of `pid` one operation, with what it says; and of few others.
fn expect_table(operations: &[Operation], pid: u32) -> Result<()> {
    let namespace = oracle::namespace(pid)?;
    let shown: Vec<&Operation> = operations.iter().filter(|one| *one.at("/effects/0/mntns") == namespace).collect();
    let mounts = oracle::mounts(pid)?;
    for mount in &mounts {
        let of = shown.iter().filter(|one| *one.at("/effects/0/mount_id") == mount.id);
        let [operation] = &of.collect::<Vec<_>>()[..] else { anyhow::bail!("{mount:?} is not shown once") };
        operation.expect("/complete", true)?;
        operation.expect("/result/errno", Value::Null)?;
        operation.expect("/actor", Value::Null)?;
        Wanted::seen("present", namespace, mount.clone()).expect_in(operation)?;
    }
    let hidden = shown.len() - mounts.len();
    ensure!(hidden <= MOST_HIDDEN, "{hidden} mounts are shown that mountinfo has not: {shown:#?}");
    Ok(())
}

/// Who begins with what existed and goes on with each operation has the kernel's table, whenever it began.
fn without_a_hole() -> Result<()> {
    let room = ground::directory("churn")?;
    let mounted = Mounted::tmpfs(&room)?;
    let points: Vec<Vec<PathBuf>> = (0..THREADS).map(|thread| points(&room, thread)).collect::<Result<_>>()?;
    let stop = AtomicBool::new(false);
    let (mut trace, rounds) = thread::scope(|scope| -> Result<_> {
        let work: Vec<_> = points.iter().map(|points| scope.spawn(|| churn(points, &stop))).collect();
        let trace = Program::trace(&["--existing"]);
        thread::sleep(CHURN);
        stop.store(true, Ordering::Relaxed);
        let mut rounds = 0;
        for one in work {
            rounds += one.join().map_err(|_| anyhow!("a mounting thread panicked"))??;
        }
        Ok((trace?, rounds))
    })?;
    ground::touch_sentinel()?;
    let operations = trace.drain_to_sentinel_within(Duration::from_mins(2))?;
    let (before, after): (Vec<&Operation>, Vec<&Operation>) =
        operations.iter().partition(|operation| operation.op() == "existing");
    eprintln!("{rounds} changes in all, {} mounts existed, {} operations followed", before.len(), after.len());
    ensure!(before.len() > POINTS / 10 && after.len() > POINTS, "too little existed, or happened meanwhile");
    let kernel: BTreeSet<u64> =
        oracle::mounts(std::process::id())?.iter().filter(|mount| is_below(&mount.path, &room)).map(|m| m.id).collect();
    let table = followed(&operations, &room)?;
    ensure!(!kernel.is_empty() && table == kernel, "the kernel has {kernel:?}, and who followed {table:?}");
    ensure!(before.iter().all(|operation| *operation.at("/complete") == true), "not all of it is whole");
    trace.terminate()?;
    mounted.unmount_with(UnmountFlags::DETACH)
}

fn points(room: &Path, thread: usize) -> Result<Vec<PathBuf>> {
    let point = |number: usize| {
        let path = room.join(format!("t{thread}-{number}"));
        ground::make_directory(&path).map(|()| path)
    };
    (0..POINTS).map(point).collect()
}

/// Mounts and unmounts until it is told to stop; every third point stays mounted. How many changes it made.
fn churn(points: &[PathBuf], stop: &AtomicBool) -> Result<usize> {
    let mut changes = 0;
    while !stop.load(Ordering::Relaxed) {
        for point in points {
            ground::mount_tmpfs(point)?;
        }
        for (number, point) in points.iter().enumerate() {
            if number % 3 != 0 || !stop.load(Ordering::Relaxed) {
                ground::unmount(point, UnmountFlags::empty())?;
                changes += 1;
            }
        }
        changes += points.len();
    }
    Ok(changes)
}

fn is_below(path: &[u8], room: &Path) -> bool {
    let room = room.as_os_str().as_encoded_bytes();
    path.strip_prefix(room).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// The ids of the mounts below `room`, by what was shown alone, the last word on each counting.
fn followed(operations: &[Operation], room: &Path) -> Result<BTreeSet<u64>> {
    let mut there: BTreeMap<u64, bool> = BTreeMap::new();
    for effect in operations.iter().flat_map(Operation::effects) {
        let path = effect["path"].as_str().with_context(|| format!("no path in {effect}"))?;
        if is_below(path.as_bytes(), room) {
            let id = effect["mount_id"].as_u64().with_context(|| format!("no id in {effect}"))?;
            there.insert(id, effect["kind"] != "detach");
        }
    }
    Ok(there.into_iter().filter(|(_, there)| *there).map(|(id, _)| id).collect())
}

fn asked_for_without_the_flag() -> Result<()> {
    let output = command(&["trace", "--event", "existing"]).output().context("cannot run trace")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2) && errors.contains("--existing"), "{:?} {errors}", output.status);
    // The twin: without the flag nothing of the kind is shown.
    let mut trace = Program::trace(&[])?;
    let shown = existing(&mut trace)?;
    ensure!(shown.is_empty(), "nobody asked for what exists: {shown:#?}");
    trace.terminate()?;
    Ok(())
}
