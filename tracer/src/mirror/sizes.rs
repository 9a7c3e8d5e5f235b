//! PURE: how much the mirror holds, and how far it is known.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;

use super::{Mirror, State};

/// Counts for people and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Namespaces, by how far their tables are known.
    pub states: States,
    /// Mounts in all of them.
    pub mounts: u64,
    /// Mounts in the largest.
    pub largest: u64,
    /// Mounts that are in no table, and that somebody still refers to.
    pub detached: u64,
}

/// Namespaces by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct States {
    /// Their tables equal the kernel's.
    pub exact: u64,
    /// Their tables may be wrong, and will be read again.
    pub dirty: u64,
    /// Their tables have not been read yet.
    pub unread: u64,
}

impl Mirror {
    /// How much it holds.
    pub fn sizes(&self) -> Sizes {
        let mut sizes = Sizes::default();
        for (_, table) in self.tables() {
            *match table.state {
                State::Exact => &mut sizes.states.exact,
                State::Dirty => &mut sizes.states.dirty,
                State::Unread => &mut sizes.states.unread,
            } += 1;
            let mounts = table.mounts.len() as u64;
            sizes.mounts += mounts;
            sizes.largest = sizes.largest.max(mounts);
        }
        sizes.states.unread += self.unmet().len() as u64;
        sizes.detached = self.detached_count() as u64;
        sizes
    }

    /// Namespaces that were there when the mirror began and of which nothing was told yet, by inode number: their tables are unread.
    pub fn unmet(&self) -> BTreeSet<u32> {
        let known: HashSet<u32> = self.tables.keys().map(|namespace| namespace.inum).collect();
        self.reads.starting().filter(|inum| !known.contains(inum)).collect()
    }
}
