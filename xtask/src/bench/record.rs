//! What the guest measured and the host tells: plain data, as lines of JSON on the way between them. The guest says each
//! thing when it knows it, because all of it at the end is more than it gets out before it goes down.

use anyhow::{Context as _, Result};
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

/// One line of the guest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    Ground(Place),
    Measured(Measurement),
    Absent(Absent),
    Idle(Idle),
}

/// Where the run took place.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Place {
    /// As `uname -r` says it.
    pub(super) release: String,
    /// In the workload's mount namespace.
    pub(super) mounts: usize,
}

/// A whole run in one guest.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) place: Place,
    pub(super) measurements: Vec<Measurement>,
    pub(super) absent: Vec<Absent>,
    pub(super) idle: Idle,
}

impl Run {
    /// From the guest's lines. A watcher that gave up in a later round has no figures of earlier ones either.
    pub(super) fn read(text: &str) -> Result<Self> {
        let (mut place, mut idle, mut measurements, mut absent) = (None, None, Vec::new(), Vec::<Absent>::new());
        for line in text.lines() {
            match serde_json::from_str(line).context("a line of the guest is not what it should be")? {
                Said::Ground(it) => place = Some(it),
                Said::Measured(it) => measurements.push(it),
                Said::Absent(it) => absent.push(it),
                Said::Idle(it) => idle = Some(it),
            }
        }
        measurements.retain(|one: &Measurement| absent.iter().all(|absent| absent.watcher != one.watcher));
        let (place, idle) = place.zip(idle).context("the guest ended before it had said all")?;
        Ok(Self { place, measurements, absent, idle })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(watcher: Watcher, round: usize) -> Said {
        let (burst, paced, seen_burst, seen_paced) = Default::default();
        Said::Measured(Measurement { watcher, round, burst, paced, getppid_ns: 1.0, seen_burst, seen_paced })
    }

    fn said(all: &[Said]) -> String {
        all.iter().map(|said| serde_json::to_string(said).unwrap() + "\n").collect()
    }

    #[test]
    fn who_gave_up_has_no_figures() {
        let memory = Memory { anon: 1, file: 2, rings: 3 };
        let text = said(&[
            Said::Ground(Place { release: "6.1".to_owned(), mounts: 42 }),
            measured(Watcher::Mountsnoop, 0),
            measured(Watcher::Nobody, 0),
            Said::Absent(Absent { watcher: Watcher::Mountsnoop, why: "gone".to_owned() }),
            measured(Watcher::Nobody, 1),
            Said::Idle(Idle { seconds: 30.0, ticks: 0, ticks_per_second: 100, switches: 0, memory }),
        ]);
        let run = Run::read(&text).unwrap();
        assert_eq!(run.measurements.iter().map(|one| one.watcher).collect::<Vec<_>>(), [Watcher::Nobody; 2]);
        assert_eq!((run.place.mounts, run.absent.len(), run.idle.memory), (42, 1, memory));
    }

    #[test]
    fn half_a_run_is_none() {
        assert!(Run::read(&said(&[measured(Watcher::Nobody, 0)])).is_err());
        assert!(Run::read("{\"Measured\":{\"watch").is_err());
    }
}
