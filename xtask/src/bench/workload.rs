//! The work that is measured, as a process of its own: calls something that has nothing to do with mounts, mounts a
//! tmpfs and unmounts it again, with pauses and then back to back. Prints its stamps as JSON.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, UnmountFlags};

use super::ground;
use super::record::{Pair, Work};
use super::tap;

/// Pairs before the first that counts: the emulator translates code when it first meets it.
pub(super) const WARM_UP: u16 = 20;
/// After it, so that a consumer which fell behind has caught up.
const SETTLE: Duration = Duration::from_secs(1);
/// Calls that have nothing to do with mounts: the fastest of some batches, because whatever else the machine does only
/// ever adds.
const UNRELATED_BATCHES: u32 = 20;
const UNRELATED_CALLS: u32 = 5_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// An empty directory
    target: PathBuf,
    /// Pairs back to back
    #[arg(long)]
    burst: u32,
    /// Pairs with pauses
    #[arg(long)]
    paced: u32,
    /// The pause after a pair, in milliseconds
    #[arg(long)]
    every: u64,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    ground::pin(ground::WORKLOAD_CPU)?;
    pairs(&options.target, WARM_UP.into(), Duration::ZERO)?;
    std::thread::sleep(SETTLE);
    let getppid_ns = unrelated();
    let paced = pairs(&options.target, options.paced, Duration::from_millis(options.every))?;
    // Last, because a consumer may be busy with it long after its end.
    let burst = pairs(&options.target, options.burst, Duration::ZERO)?;
    let work = Work { pid: std::process::id(), burst, paced, getppid_ns };
    println!("{}", serde_json::to_string(&work).context("writing the stamps as JSON")?);
    Ok(ExitCode::SUCCESS)
}

fn pairs(target: &Path, count: u32, pause: Duration) -> Result<Vec<Pair>> {
    (0..count)
        .map(|_| {
            let pair = pair(target)?;
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
            Ok(pair)
        })
        .collect()
}

fn pair(target: &Path) -> Result<Pair> {
    let start = tap::now();
    rustix::mount::mount("tmpfs", target, "tmpfs", MountFlags::empty(), None)
        .with_context(|| format!("cannot mount a tmpfs at {}; this needs root", target.display()))?;
    let mounted = tap::now();
    rustix::mount::unmount(target, UnmountFlags::empty())
        .with_context(|| format!("cannot unmount {}", target.display()))?;
    Ok(Pair { start, mounted, unmounted: tap::now() })
}

/// What a system call costs that no mount tracer has a reason to touch, in nanoseconds.
fn unrelated() -> f64 {
    (0..UNRELATED_BATCHES).map(|_| unrelated_batch()).fold(f64::INFINITY, f64::min)
}

fn unrelated_batch() -> f64 {
    let start = Instant::now();
    for _ in 0..UNRELATED_CALLS {
        std::hint::black_box(rustix::process::getppid());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(UNRELATED_CALLS)
}
