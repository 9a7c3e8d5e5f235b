//! Many mounts at once: none is lost, none is shown twice, and the count at the end says so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::ground::{self, Mounted};
use super::operation::Operation;
use super::program::{Finished, Program};
use super::trial::trial;

const THREADS: usize = 2;
/// Far fewer than the kernel allows a namespace.
pub(crate) const MOUNTS_EACH: usize = 10_000;
const DOUBLINGS: usize = 16;
/// How long reading all of them may take under emulation.
pub(crate) const READ_AFTER: Duration = Duration::from_mins(3);
/// Ten times what the reader needs for a whole ring under emulation.
const DRAINED_AFTER: Duration = Duration::from_secs(5);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("burst::twenty_thousand_mounts_by_two_threads", twenty_thousand_mounts_by_two_threads),
        trial("burst::a_section_larger_than_the_ring_leaves_nobody_deaf", larger_than_the_ring),
    ]
}

fn twenty_thousand_mounts_by_two_threads() -> Result<()> {
    // All of them are on one tmpfs, so that one lazy unmount takes them away. The source is on another: for each bind the
    // kernel goes through all that is mounted on the source's mount.
    let (room, source) = (ground::directory("burst")?, ground::directory("source")?);
    let mounted = Mounted::tmpfs(&room)?;
    let targets = targets(&room, MOUNTS_EACH)?;

    // Two writers have both of the guest's processors, and the reader what is left: it comes late.
    let mut trace = Program::trace(&[])?;
    let start = Instant::now();
    let counted = bind_all(&source, &targets)?;
    let made_after = start.elapsed();
    // A sentinel in a full ring would be waited for in vain.
    ensure!(!trace.errors().iter().any(|line| line.contains("were dropped")), "{:?}", trace.errors());
    ground::touch_sentinel()?;
    let operations = trace.drain_to_sentinel_within(READ_AFTER)?;
    eprintln!("{counted} mounts were made in {made_after:?}, and shown after {:?}", start.elapsed());
    let skipped = skipped(&trace)?;
    let finished = trace.terminate()?;
    mounted.unmount_with(UnmountFlags::DETACH)?;

    let made: BTreeSet<&Path> = targets.iter().flatten().map(PathBuf::as_path).collect();
    ensure!(counted == made.len() as u64, "the threads counted {counted} mounts of {}", made.len());
    ensure!(operations.len() == made.len(), "{} mounts were made, {} shown", made.len(), operations.len());
    let shown = operations.iter().map(bound_at).collect::<Result<BTreeSet<&Path>>>()?;
    ensure!(shown == made, "shown and made differ, first in {:?}", shown.symmetric_difference(&made).next());
    expect_none_missed(&operations, &finished, skipped)?;
    // The sentinel adds a mount and an unmount.
    let (seen, dropped) = (finished.stat("seen")?, finished.stat("dropped")?);
    ensure!(seen == made.len() as u64 + 2 && dropped == 0, "seen={seen} dropped={dropped} of {}", made.len() + 2);
    Ok(())
}

/// Nothing is missed, also where the kernel stopped a program for another thread and skipped it for that one's calls.
fn expect_none_missed(operations: &[Operation], finished: &Finished, skipped: u64) -> Result<()> {
    let unknown = operations.iter().filter(|operation| operation.at("/result/errno").is_null()).count() as u64;
    // 5.10 does not count.
    let missed = finished.missed()?.unwrap_or(0);
    eprintln!("missed={missed}, {unknown} without errno; the kernel skipped {skipped} runs of programs");
    ensure!(missed == 0 && unknown == 0, "missed={missed}, {unknown} operations without errno");
    Ok(())
}

/// Runs that the kernel skipped, of all programs that the tracer holds: its own count, in their fdinfo (5.12 and newer).
fn skipped(trace: &Program) -> Result<u64> {
    let directory = format!("/proc/{}/fdinfo", trace.pid().as_raw_nonzero());
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?;
    let count =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse::<u64>().ok());
    // A descriptor may be closed meanwhile; a program is not.
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    Ok(texts.filter_map(|text| count(&text)).sum::<u64>())
}

/// A bind of a shared tree's root below itself propagates to every copy of it and doubles them. The last of these is one
/// section of more bytes than the ring holds; that its end finds no room must not leave the reader asleep.
fn larger_than_the_ring() -> Result<()> {
    let room = ground::directory("doubling")?;
    // Each fact carries the source; 32,768 of them are 13 MiB.
    let source = "s".repeat(240);
    rustix::mount::mount(source.as_str(), &room, "tmpfs", MountFlags::empty(), None)?;
    let mounted = Mounted::adopt(&room);
    ground::change(&room, MountPropagationFlags::PRIVATE)?;
    ground::change(&room, MountPropagationFlags::SHARED)?;
    let mut trace = Program::trace(&[])?;
    for number in 0..DOUBLINGS {
        if number + 1 == DOUBLINGS {
            // A reader that still drains would not need to be woken.
            thread::sleep(DRAINED_AFTER);
        }
        let target = room.join(number.to_string());
        ground::make_directory(&target)?;
        ground::bind(&room, &target)?;
    }
    // The sentinel is a later mount, when the ring has been drained: it is seen by a reader that is awake.
    thread::sleep(DRAINED_AFTER);
    trace.drain()?;
    let finished = trace.terminate()?;
    let lost = finished.stat("records_lost")?;
    let said = finished.errors.iter().any(|line| line.starts_with("loss:"));
    ensure!(said == (lost > 0), "records_lost={lost}, and on the standard error: {:?}", finished.errors);
    mounted.unmount_with(UnmountFlags::DETACH)
}

/// Directories to mount at, `each` for every thread.
pub(crate) fn targets(room: &Path, each: usize) -> Result<Vec<Vec<PathBuf>>> {
    let one = |thread: usize, number: usize| {
        let path = room.join(format!("t{thread}-{number}"));
        ground::make_directory(&path).map(|()| path)
    };
    (0..THREADS).map(|thread| (0..each).map(|number| one(thread, number)).collect()).collect()
}

/// Binds to all of them, a thread for each list, and counts.
pub(crate) fn bind_all(source: &Path, targets: &[Vec<PathBuf>]) -> Result<u64> {
    thread::scope(|scope| {
        let bind_each = |targets: &[PathBuf]| -> Result<u64> {
            targets.iter().try_fold(0, |counted, target| ground::bind(source, target).map(|()| counted + 1))
        };
        let threads: Vec<_> = targets.iter().map(|part| scope.spawn(move || bind_each(part))).collect();
        threads.into_iter().map(|one| one.join().map_err(|_| anyhow!("a mounting thread panicked"))?).sum()
    })
}

fn bound_at(operation: &Operation) -> Result<&Path> {
    if !operation.at("/result/errno").is_null() {
        operation.expect_success("bind", 1)?;
    }
    ensure!(operation.at("/op") == "bind", "no bind: {operation:?}");
    let path = operation.at("/effects/0/path").as_str();
    path.map(Path::new).with_context(|| format!("no path in {operation:?}"))
}
