//! PURE: who is in which peer group, and whose slave: an index of the tables, to follow what no hook tells.

use std::collections::{HashMap, HashSet};

use super::Entry;
use crate::operation::Namespace;

/// Which mount: where it is, and its identity.
pub(super) type Where = (Namespace, u64);

/// The index.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    /// How many mounts are in a group.
    members: HashMap<u32, usize>,
    /// The slaves of a group.
    slaves: HashMap<u32, HashSet<Where>>,
}

impl Groups {
    /// A mount is there.
    pub(super) fn add(&mut self, place: Namespace, identity: u64, entry: &Entry) {
        if let Some(group) = entry.shared {
            *self.members.entry(group).or_default() += 1;
        }
        self.slave(place, identity, entry);
    }

    /// It has its master.
    pub(super) fn slave(&mut self, place: Namespace, identity: u64, entry: &Entry) {
        if let Some(master) = entry.master {
            self.slaves.entry(master).or_default().insert((place, identity));
        }
    }

    /// A mount that was there as `entry` says is not.
    pub(super) fn take(&mut self, place: Namespace, identity: u64, entry: &Entry) {
        if let Some(group) = entry.shared
            && let Some(members) = self.members.get_mut(&group)
        {
            *members -= 1;
            if *members == 0 {
                self.members.remove(&group);
            }
        }
        if let Some(master) = entry.master
            && let Some(slaves) = self.slaves.get_mut(&master)
        {
            slaves.remove(&(place, identity));
            if slaves.is_empty() {
                self.slaves.remove(&master);
            }
        }
    }

    /// Whether nobody is known to be in a group.
    pub(super) fn is_empty(&self, group: u32) -> bool {
        !self.members.contains_key(&group)
    }

    /// Takes the slaves of a group out.
    pub(super) fn take_slaves(&mut self, group: u32) -> HashSet<Where> {
        self.slaves.remove(&group).unwrap_or_default()
    }

    /// Where slaves of a group are in which nobody is known to be.
    pub(super) fn orphans(&self, group: u32) -> HashSet<Namespace> {
        let slaves = self.slaves.get(&group).filter(|_| self.is_empty(group));
        slaves.into_iter().flatten().map(|(place, _)| *place).collect()
    }
}
