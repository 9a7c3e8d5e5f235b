//! PURE: tables that may be wrong: each says so until it has been read again, and where no fact of it was lost, why.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use super::{DETACHED, Mirror, ReadReason, named, place_of, table::State, telling::Moved};
use crate::operation::{Bare, BareMounts, Doubt, Namespace, Role, Section, SectionFact};

/// Tables that came into doubt though no fact was lost.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Since they were asked for last.
    new: Vec<(Namespace, Doubt)>,
    /// All that were said so.
    pub(super) said: u64,
    /// Those of which a call says by itself that nobody knows what it did.
    pub(super) untold: u64,
}

impl Mirror {
    /// The tables that came into doubt since this was asked last, though no fact was lost.
    pub fn take_doubts(&mut self) -> Vec<(Namespace, Doubt)> {
        mem::take(&mut self.doubts.new)
    }

    /// Tables that came into doubt so far, though no fact was lost: by their count, and by attributes.
    pub fn doubted(&self) -> u64 {
        self.doubts.said + self.doubts.untold
    }

    /// A table may be wrong though no fact was lost.
    pub(super) fn doubt(&mut self, namespace: Namespace, doubt: Doubt, now_ns: u64) {
        let reason = match doubt {
            Doubt::Count => ReadReason::Count,
            Doubt::Attributes => ReadReason::Attributes,
        };
        if self.soil(namespace, reason, now_ns) {
            self.doubts.said += 1;
            self.doubts.new.push((named(namespace), doubt));
        }
    }

    /// A table may be wrong; whether that is why it will be read.
    pub(super) fn soil(&mut self, namespace: Namespace, reason: ReadReason, now_ns: u64) -> bool {
        let namespace = named(namespace);
        let Some(table) = self.tables.get_mut(&namespace).filter(|_| namespace != DETACHED) else { return false };
        let waited = self.reads.waits(namespace.inum);
        let was_exact = table.state == State::Exact;
        table.doubt(reason == ReadReason::Attributes);
        match reason {
            ReadReason::Lost => self.audit.lost(namespace),
            _ => self.audit.doubted(namespace),
        }
        let at_ns = now_ns + table.patience_ns(now_ns);
        self.want(namespace.inum, reason, at_ns);
        was_exact || !waited && self.reads.waits(namespace.inum)
    }

    /// What a section that is not put in yet moves, by the table in which it does.
    pub(super) fn moved(&self, section: &Section) -> HashMap<Namespace, Moved> {
        let mut moved: HashMap<Namespace, Moved> = HashMap::new();
        for (place, first_ns, mounts) in section.facts.iter().filter_map(moved_by) {
            let known = self.tables.get(&place).filter(|table| table.is_known());
            let new = || Moved { first_ns, end_ns: section.end_ns, below: known.map(|_| HashSet::new()) };
            let one = moved.entry(place).or_insert_with(new);
            one.first_ns = one.first_ns.min(first_ns);
            if let (Some(table), Some(below)) = (known, &mut one.below) {
                below.extend(mounts.iter().flat_map(|mount| table.below(*mount)));
            }
        }
        moved
    }

    /// A section has moved mounts of tables whose attributes may have been told meanwhile.
    pub(super) fn check_moved(&mut self, moved: HashMap<Namespace, Moved>) {
        for (place, moved) in moved {
            let end_ns = moved.end_ns;
            if self.tables.get_mut(&place).is_some_and(|table| table.telling.moves(moved)) {
                self.doubt(place, Doubt::Attributes, end_ns);
            }
        }
    }
}

/// The mounts that a fact moves, in which table, and when it was told.
fn moved_by(fact: &SectionFact) -> Option<(Namespace, u64, Vec<u64>)> {
    match fact {
        SectionFact::Mount(Role::Move, mount) => {
            Some((place_of(mount.namespace), mount.told_ns, vec![mount.objects.mount]))
        }
        SectionFact::Bare(Bare { namespace, told_ns, mounts: BareMounts::There(Some(Role::Move), mounts), .. }) => {
            Some((place_of(*namespace), *told_ns, mounts.iter().map(|mount| mount.identity).collect()))
        }
        _ => None,
    }
}
