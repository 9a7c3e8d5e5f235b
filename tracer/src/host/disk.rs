//! PURE: a whole disk, and why there is none. Touches nothing; every other room may use it.

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

/// Why a device number leads to no disk, for rooms that need no more than the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoDisk {
    /// The file system has no block device.
    NoBlockDevice,
    /// The device is not there any more.
    Gone,
    /// The node's description of the device could not be read or understood.
    Unreadable,
}
