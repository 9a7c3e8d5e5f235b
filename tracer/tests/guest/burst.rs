//! Many mounts at once: none is lost, none is shown twice, and the count at the end says so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use rustix::mount::UnmountFlags;

use super::ground::{self, Mounted};
use super::operation::Operation;
use super::program::Program;
use super::trial::trial;

const THREADS: usize = 2;
const MOUNTS_EACH: usize = 1000;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("burst::two_thousand_mounts_by_two_threads", two_thousand_mounts_by_two_threads)]
}

fn two_thousand_mounts_by_two_threads() -> Result<()> {
    // All of them are on one tmpfs, so that one lazy unmount takes them away.
    let room = ground::directory("burst")?;
    let mounted = Mounted::tmpfs(&room)?;
    let source = room.join("source");
    ground::make_directory(&source)?;
    let targets = targets(&room)?;

    let mut trace = Program::trace(&[])?;
    bind_all(&source, &targets)?;
    let operations = trace.drain()?;
    let finished = trace.terminate()?;
    mounted.unmount_with(UnmountFlags::DETACH)?;

    let made: BTreeSet<&Path> = targets.iter().flatten().map(PathBuf::as_path).collect();
    ensure!(operations.len() == made.len(), "{} mounts were made, {} shown", made.len(), operations.len());
    let shown = operations.iter().map(bound_at).collect::<Result<BTreeSet<&Path>>>()?;
    ensure!(shown == made, "shown and made differ, first in {:?}", shown.symmetric_difference(&made).next());
    // The sentinel adds a mount and an unmount.
    let (seen, dropped) = (finished.stat("seen")?, finished.stat("dropped")?);
    ensure!(seen == made.len() as u64 + 2 && dropped == 0, "seen={seen} dropped={dropped} of {}", made.len() + 2);
    Ok(())
}

fn targets(room: &Path) -> Result<Vec<Vec<PathBuf>>> {
    let one = |thread: usize, number: usize| {
        let path = room.join(format!("t{thread}-{number}"));
        ground::make_directory(&path).map(|()| path)
    };
    (0..THREADS).map(|thread| (0..MOUNTS_EACH).map(|number| one(thread, number)).collect()).collect()
}

fn bind_all(source: &Path, targets: &[Vec<PathBuf>]) -> Result<()> {
    thread::scope(|scope| {
        let bind_each = |targets: &[PathBuf]| targets.iter().try_for_each(|target| ground::bind(source, target));
        let threads: Vec<_> = targets.iter().map(|part| scope.spawn(move || bind_each(part))).collect();
        threads.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a mounting thread panicked"))?)
    })
}

fn bound_at(operation: &Operation) -> Result<&Path> {
    operation.expect_success("bind", 1)?;
    let path = operation.at("/effects/0/path").as_str();
    path.map(Path::new).with_context(|| format!("no path in {operation:?}"))
}
