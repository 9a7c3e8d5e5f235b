//! PURE: the table of one namespace.

use std::collections::HashMap;

use super::{Entry, telling::Telling};
use crate::operation::{ClonedMount, Mount};

/// How long a table that is wrong again waits to be read, at first and at most.
const FIRST_PATIENCE_NS: u64 = 50_000_000;
const MOST_PATIENCE_NS: u64 = 5_000_000_000;
/// After this time a table that was right has its first patience again.
const CALM_NS: u64 = 30_000_000_000;

/// Whether a table can be relied upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has not been read yet.
    #[default]
    Unread,
    /// It equals the kernel's.
    Exact,
    /// Something was lost: it will be read again.
    Dirty,
}

impl State {
    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Exact => "exact",
            Self::Dirty => "dirty",
        }
    }
}

/// A namespace's mounts, hidden ones among them, by identity.
#[derive(Debug, Default)]
pub struct Table {
    /// Whether it can be relied upon.
    pub state: State,
    /// They.
    pub mounts: HashMap<u64, Entry>,
    /// When it is dirty: only its attributes are in doubt, and not what is mounted where.
    pub(super) attributes_alone: bool,
    /// How many there are by the kernel's count, as the last record of a reading said and what changed since.
    pub(super) count: usize,
    /// When a reading told of it last, `CLOCK_BOOTTIME` in nanoseconds.
    pub(super) told_ns: u64,
    /// How often nobody was seen in it since.
    pub(super) unseen: u32,
    /// Trees of it whose attributes were told of late.
    pub(super) telling: Telling,
    /// How often it was wrong lately, and when last.
    soiled: u32,
    soiled_ns: u64,
}

impl Table {
    /// It may be wrong; `attributes_alone` if nothing but these.
    pub(super) fn doubt(&mut self, attributes_alone: bool) {
        match self.state {
            State::Exact => (self.state, self.attributes_alone) = (State::Dirty, attributes_alone),
            State::Dirty => self.attributes_alone &= attributes_alone,
            State::Unread => {}
        }
    }

    /// Whether a mount is not in it.
    pub(super) fn is_without(&self, mount: &Mount) -> bool {
        !self.mounts.contains_key(&mount.objects.mount)
    }

    /// Whether it is known what is mounted where.
    pub(super) fn is_known(&self) -> bool {
        self.state == State::Exact || self.state == State::Dirty && self.attributes_alone
    }

    /// The mounts upon which one stands, directly or not, the nearest first; none for one that is not in it.
    pub(super) fn below(&self, mount: u64) -> impl Iterator<Item = u64> {
        let parent = |mount: &u64| {
            let parent = self.mounts.get(mount)?.parent;
            (parent != *mount).then_some(parent)
        };
        // No chain is longer, but one that a lost fact has closed to a ring.
        std::iter::successors(parent(&mount), parent).take(self.mounts.len())
    }

    /// How long to wait before it is read once more: longer each time, so that a table that cannot be had right costs little.
    pub(super) fn patience_ns(&mut self, now_ns: u64) -> u64 {
        if now_ns.saturating_sub(self.soiled_ns) > CALM_NS {
            self.soiled = 0;
        }
        self.soiled_ns = now_ns;
        let waited = self.soiled;
        self.soiled += 1;
        match waited {
            0 => 0,
            times => (FIRST_PATIENCE_NS << times.min(10)).min(MOST_PATIENCE_NS),
        }
    }

    /// Its clones: each stands on its original's parent's clone, or on itself where that was not cloned.
    pub(super) fn cloned(&self, clones: &[&ClonedMount], at_ns: u64) -> Vec<(u64, Entry)> {
        let by_original: HashMap<u64, &ClonedMount> = clones.iter().map(|clone| (clone.original, *clone)).collect();
        let entry = |clone: &&ClonedMount| {
            let original = self.mounts.get(&clone.original)?;
            let parent = by_original.get(&original.parent).copied().unwrap_or(clone);
            Some((clone.identity, original.cloned(clone, (parent.identity, parent.id), at_ns)))
        };
        clones.iter().filter_map(entry).collect()
    }
}
