//! What the guest measured and the host tells: plain data, as JSON on the way between them.

use serde::{Deserialize, Serialize};

/// Who looks on while the workload works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Watcher {
    Nobody,
    /// The least that wakes a reader.
    Floor,
    /// `mount-tracer trace -o json > /dev/null`
    Trace,
    /// `mount-tracer trace -o json | reader`
    TracePipe,
    /// `mount-tracer agent`, observing.
    Agent,
    Mountsnoop,
}

impl Watcher {
    pub(super) const ALL: [Self; 6] =
        [Self::Nobody, Self::Floor, Self::Trace, Self::TracePipe, Self::Agent, Self::Mountsnoop];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "untraced",
            Self::Floor => "empty probe, epoll reader (the floor)",
            Self::Trace => "trace -o json > /dev/null",
            Self::TracePipe => "trace -o json | reader",
            Self::Agent => "agent, mode observe",
            Self::Mountsnoop => "Debian's mountsnoop",
        }
    }
}

/// A whole run in one guest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// As `uname -r` says it.
    pub(super) release: String,
    /// In the workload's mount namespace.
    pub(super) mounts: usize,
    pub(super) measurements: Vec<Measurement>,
    pub(super) absent: Vec<Absent>,
    pub(super) idle: Idle,
}

/// One watcher in one round. Times in microseconds where the name says nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Measurement {
    pub(super) watcher: Watcher,
    pub(super) round: usize,
    /// Each pair of mount and umount, back to back.
    pub(super) burst: Vec<f64>,
    /// Each pair with a pause after it.
    pub(super) paced: Vec<f64>,
    /// One getppid(2).
    pub(super) getppid_ns: f64,
    /// From the end of each call in the kernel to its record in the consumer's hands; empty where there is no consumer.
    pub(super) seen_burst: Vec<f64>,
    pub(super) seen_paced: Vec<f64>,
}

/// A watcher that did not run, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Absent {
    pub(super) watcher: Watcher,
    pub(super) why: String,
}

/// What `trace` took while nothing was mounted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Idle {
    pub(super) seconds: f64,
    /// User and system time in clock ticks.
    pub(super) ticks: u32,
    pub(super) ticks_per_second: u32,
    /// Voluntary context switches: how often it slept anew.
    pub(super) switches: u32,
    pub(super) memory: Memory,
}

/// Resident memory in KiB, summed over `/proc/PID/smaps`: the sums in `status` come late, and count the rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Heap, stacks and data, as in `RssAnon`.
    pub(super) anon: u32,
    /// The program itself, as in `RssFile`; a guest's root is a tmpfs, so that `status` has it as `RssShmem`.
    pub(super) file: u32,
    /// Mapped eBPF maps; in neither of the above.
    pub(super) rings: u32,
}

impl Memory {
    pub(super) fn without_rings(&self) -> u32 {
        self.anon + self.file
    }
}

/// What the workload printed. Stamps are nanoseconds of `CLOCK_BOOTTIME`, the clock of the tracer's records, which
/// only differs from `CLOCK_MONOTONIC` on a machine that sleeps.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) pid: u32,
    pub(super) burst: Vec<Pair>,
    pub(super) paced: Vec<Pair>,
    pub(super) getppid_ns: f64,
}

/// A mount and its umount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) start: u64,
    pub(super) mounted: u64,
    pub(super) unmounted: u64,
}
