//! The pod's own work: direct writes, from a process in the container's cgroup, counted and timed by itself.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::fs::OFlags;

use super::cgroup::{self, Pod, demo_child};

/// Small against what the limit lets through in a second.
const BLOCK: usize = 64 * 1024;
/// Enough that a write always waits: the limit of a disk that idles between two writes is not reached.
const THREADS: usize = 4;
/// Direct I/O wants memory aligned to the disk's blocks; a page is enough for every disk.
const ALIGNMENT: usize = 4096;
/// The file is written round and round.
const FILE_SIZE: u64 = 32 << 20;

/// What the writer did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
}

impl Written {
    /// Bytes per second.
    #[expect(clippy::cast_precision_loss, reason = "some megabytes are exact in 53 bits")]
    pub(super) fn rate(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64()
    }
}

/// Runs the writer in the pod's container until `duration` has passed.
pub(super) fn write(pod: &Pod, file: &Path, duration: Duration) -> Result<Written> {
    let mut command = demo_child(&["--in-cgroup"], &pod.container)?;
    command.arg("--write-to").arg(file).args(["--seconds", &duration.as_secs().to_string()]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start the pod's writer")?;
    if !output.status.success() {
        bail!("the pod's writer to {} ended with {}; what it said is above", file.display(), output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(bytes)), Some(Ok(nanos))) if nanos > 0 => Ok(Written { bytes, elapsed: Duration::from_nanos(nanos) }),
        _ => bail!("the pod's writer printed {text:?} instead of bytes and nanoseconds"),
    }
}

/// The writer's side: joins before it opens, so that every byte is the pod's.
pub(super) fn serve(path: &Path, cgroup: &Path, duration: Duration) -> Result<ExitCode> {
    cgroup::join(cgroup)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).custom_flags(OFlags::DIRECT.bits().cast_signed());
    let file = options.open(path).with_context(|| format!("cannot open {} for direct writes", path.display()))?;
    let written = write_for(&file, duration).with_context(|| format!("cannot write to {}", path.display()))?;
    println!("{} {}", written.bytes, written.elapsed.as_nanos());
    Ok(ExitCode::SUCCESS)
}

fn write_for(file: &File, duration: Duration) -> Result<Written> {
    let next = AtomicU64::new(0);
    let start = Instant::now();
    let counts: Vec<Result<u64>> = thread::scope(|scope| {
        let write = || write_blocks(file, &next, start + duration);
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(write)).collect();
        threads.into_iter().map(|one| one.join().map_err(|_| anyhow!("a writing thread panicked"))?).collect()
    });
    let elapsed = start.elapsed();
    Ok(Written { bytes: counts.into_iter().sum::<Result<u64>>()?, elapsed })
}

/// One thread's share: the next block of the file, until time is up.
fn write_blocks(file: &File, next: &AtomicU64, end: Instant) -> Result<u64> {
    let memory = vec![0x6d; BLOCK + ALIGNMENT];
    let aligned = memory.as_ptr().align_offset(ALIGNMENT);
    let block = &memory[aligned..aligned + BLOCK];
    let mut bytes = 0;
    while Instant::now() < end {
        let at = next.fetch_add(BLOCK as u64, Ordering::Relaxed);
        file.write_all_at(block, at % FILE_SIZE)?;
        bytes += BLOCK as u64;
    }
    Ok(bytes)
}
