//! PURE: the disks that are there as an answer.

use serde::Serialize;

use super::Id;
use crate::{
    device::Dev,
    host::disk::births::{Birth, DiskId, Disks},
};

/// The disks of the node, and how many came and went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DisksRow {
    /// They, in the order of their numbers.
    pub disks: Vec<DiskRow>,
    /// Disks that came since the agent's start, those that were there then among them.
    pub born: Id,
    /// Disks that went.
    pub gone: Id,
    /// How often they were listed: at the start, and after events were lost.
    pub lists: Id,
}

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiskRow {
    /// Its number.
    pub dev: Dev,
    /// The kernel's name.
    pub name: String,
    /// The kernel's count of disks at its birth; `None` before Linux 5.15.
    pub diskseq: Option<Id>,
    /// The agent's own count, where the kernel has none.
    pub nth: Option<Id>,
}

impl DisksRow {
    /// Those that are known.
    pub fn of(known: &Disks) -> Self {
        let births = known.births();
        let disks = known.there().map(|(id, name)| DiskRow::of(id, name)).collect();
        Self { disks, born: Id(births.born), gone: Id(births.gone), lists: Id(births.lists) }
    }
}

impl DiskRow {
    fn of(id: DiskId, name: &str) -> Self {
        let (diskseq, nth) = match id.birth {
            Birth::Diskseq(diskseq) => (Some(Id(diskseq)), None),
            Birth::Nth(nth) => (None, Some(Id(nth))),
        };
        Self { dev: id.dev, name: name.to_owned(), diskseq, nth }
    }
}
