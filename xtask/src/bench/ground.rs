//! What the benches stand on in the guest: a private tmpfs, as many mounts as a small node has, a processor for the
//! workload and another for all that watches it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::{CpuSet, sched_setaffinity};

const BASE: &str = "/tmp/bench";
/// The small node of the goals; what many mounts add is another bench.
const MOUNTS: usize = 42;

/// Producer and consumers on processors of their own, so that a wake-up is one, every time.
pub(super) const WORKLOAD_CPU: usize = 0;
pub(super) const WATCHER_CPU: usize = 1;

/// Where the workload may work, and how many mounts its namespace has.
pub(super) struct Ground {
    pub(super) target: PathBuf,
    pub(super) mounts: usize,
}

/// Only for a guest: nothing here is taken away again.
pub(super) fn prepare() -> Result<Ground> {
    let base = Path::new(BASE);
    private(base)?;
    let present = count()?;
    for number in present..MOUNTS {
        tmpfs(&base.join(number.to_string()))?;
    }
    let target = base.join("target");
    fs::create_dir(&target).with_context(|| format!("cannot make the directory {}", target.display()))?;
    Ok(Ground { target, mounts: count()? })
}

/// Keeps this process, and those that it starts, on one processor.
pub(super) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot move to processor {cpu}; this bench needs two"))
}

/// A tmpfs of which nothing propagates.
pub(super) fn private(at: &Path) -> Result<()> {
    tmpfs(at)?;
    rustix::mount::mount_change(at, MountPropagationFlags::PRIVATE)
        .with_context(|| format!("cannot make {} private", at.display()))
}

pub(super) fn tmpfs(at: &Path) -> Result<()> {
    fs::create_dir_all(at).with_context(|| format!("cannot make the directory {}", at.display()))?;
    rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), None)
        .with_context(|| format!("cannot mount a tmpfs at {}; this needs root", at.display()))
}

/// Mounts in this process's table.
pub(super) fn count() -> Result<usize> {
    let table = "/proc/self/mountinfo";
    Ok(fs::read_to_string(table).with_context(|| format!("cannot read {table}"))?.lines().count())
}
