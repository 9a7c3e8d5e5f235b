//! PURE: a whole disk, which disks a mount lies on, and why on none. Touches nothing; every other room may use it.

pub mod births;
mod no_disk;
pub mod uevent;

use std::collections::BTreeMap;

pub use no_disk::NoDisk;

use crate::device::Dev;

/// A whole disk, the thing that `io.max` limits: never a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Its number.
    pub dev: Dev,
    /// The kernel's name, `sdb`, `nvme0n1`, `dm-3`.
    pub name: String,
    /// The kernel's count of disks at this one's birth, never used twice in a boot; `None` before Linux 5.15.
    pub diskseq: Option<u64>,
}

/// Disks that the node itself needs, and what each holds: `holds /`.
pub type Protected = BTreeMap<Dev, Vec<String>>;

/// A disk that a mount lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Which.
    pub disk: Disk,
    /// Why the node itself needs it, nothing if it does not; `None` where that could not be told.
    pub protected: Option<Vec<String>>,
}

/// The disks that `io.max` takes for a mount, each once, in the order of their numbers; or why there is none.
pub type Behind = Result<Vec<Used>, NoDisk>;
