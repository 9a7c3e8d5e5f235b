//! PURE: which peer groups end with the mounts that go in a section, and who is master of their slaves then.
//!
//! The kernel tells nothing of the slaves (`bulk_make_private` of `fs/pnode.c` from 6.18 on, `change_mnt_propagation` before). What it tells
//! of each mount that goes is the next one in its peer group: a group ends when all its members that go are followed by
//! members that go.

use std::collections::{HashMap, HashSet};

use super::{Entry, groups::Groups};
use crate::operation::GoneMount;

/// The mounts that go in a section.
#[derive(Debug, Default)]
pub(super) struct Gone {
    mounts: HashSet<u64>,
    /// By group: the master's group, and the next peers of the members that go.
    groups: HashMap<u32, (Option<u32>, Vec<u64>)>,
    /// Groups and their masters' groups, of mounts that went without a word: with their namespace.
    unheard: HashMap<u32, Option<u32>>,
}

impl Gone {
    /// A mount goes.
    pub(super) fn mount(&mut self, mount: &GoneMount) {
        self.mounts.insert(mount.identity);
        if let Some(group) = mount.shared {
            self.groups.entry(group).or_insert((mount.master, Vec::new())).1.push(mount.next_peer);
        }
    }

    /// A mount goes with its namespace, and the kernel does not say it of each.
    pub(super) fn unheard(&mut self, entry: &Entry) {
        if let Some(group) = entry.shared {
            self.unheard.insert(group, entry.master);
        }
    }

    /// Whether members of a group were told one by one: what is said of its end does not rest on the tables.
    pub(super) fn is_heard(&self, group: u32) -> bool {
        self.groups.contains_key(&group)
    }

    /// The groups that end, and who inherits their slaves. `left` is who is known to be left.
    pub(super) fn ended(&self, left: &Groups) -> Vec<(u32, Option<u32>)> {
        let all_go = |(group, (master, next)): (&u32, &(Option<u32>, Vec<u64>))| {
            next.iter().all(|peer| self.mounts.contains(peer)).then_some((*group, *master))
        };
        let nobody_left = |(group, master): (&u32, &Option<u32>)| left.is_empty(*group).then_some((*group, *master));
        let heard = self.groups.iter().filter_map(all_go);
        let masters: HashMap<u32, Option<u32>> = heard.chain(self.unheard.iter().filter_map(nobody_left)).collect();
        masters.keys().map(|group| (*group, heir(&masters, *group))).collect()
    }
}

/// The first of a group's masters that does not end too.
fn heir(ended: &HashMap<u32, Option<u32>>, group: u32) -> Option<u32> {
    let mut master = Some(group);
    // No chain of masters is longer than there are groups.
    for _ in 0..=ended.len() {
        match master.and_then(|group| ended.get(&group)) {
            Some(next) => master = *next,
            None => return master,
        }
    }
    None
}
