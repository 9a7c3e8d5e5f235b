//! PURE: what the limiter wants done, and what it is answered.

use super::{
    Limits,
    decide::{Decision, Reason},
};
use crate::{
    correlate::Sighting,
    device::Dev,
    host::{Disk, NoDisk, Protected},
    pods::PodCgroup,
};

/// Names one attempt at one volume.
pub type Ticket = u64;

/// What the node says about a cgroup and a device.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The whole disk, or why there is none, and what to tell the user of it.
    pub disk: Result<Disk, (NoDisk, String)>,
    /// Disks that are never limited, and why.
    pub protected: Result<Protected, String>,
    /// The cgroup, or why it cannot be limited; `None` when the disk is refused anyway.
    pub cgroup: Option<Result<Found, (Reason, String)>>,
}

/// What was found in a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The cgroup's id.
    pub cgroup_id: u64,
    /// What `io.max` says for the disk.
    pub current: Option<Limits>,
}

/// How a write ended.
#[derive(Clone, Debug)]
pub struct Written {
    /// What was read back, or why it failed.
    pub in_force: Result<Limits, (Reason, String)>,
    /// When it was read back, `CLOCK_BOOTTIME` in nanoseconds.
    pub read_back_ns: u64,
}

/// What the limiter wants done.
#[derive(Clone, Debug)]
pub enum Order {
    /// Ask the node for the [`Facts`](crate::host::Facts) of a volume, which a rule depends on.
    LookUp {
        /// The question.
        ticket: Ticket,
        /// The volume.
        sighting: Box<Sighting>,
    },
    /// Look at a pod's cgroup and at a volume's disk.
    Inspect {
        /// The attempt.
        ticket: Ticket,
        /// The cgroup.
        cgroup: PodCgroup,
        /// The volume's device.
        dev: Dev,
    },
    /// Write limits where the attempt looked.
    Write {
        /// The attempt.
        ticket: Ticket,
        /// What to write.
        limits: Limits,
    },
    /// The attempt is over: let go of what it holds.
    Close(Ticket),
    /// Tell the user.
    Decide(Box<Decision>),
}
