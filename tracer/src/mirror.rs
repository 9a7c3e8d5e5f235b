//! PURE: the mount tables of all namespaces, kept from what happens, equal to the kernel's.
//!
//! A section is a transaction: what it changed is put in when it has ended, in the order of its facts, each of which says how a mount
//! stands and not what became of it. A table is read only when it is not known, and what is read stands in the stream like everything
//! else. Every change carries the time of its record, so that a reading can tell what it did not find.

mod audit;
mod bare;
mod detached;
mod doubts;
mod early;
mod ended;
mod entry;
mod groups;
mod lately;
mod propagation;
mod reading;
mod reads;
mod sizes;
mod table;
mod telling;

use std::collections::{HashMap, HashSet};

pub use self::{
    audit::Audit,
    entry::Entry,
    lately::{Change, Seen},
    reads::{ReadCounts, ReadReason, Reads},
    sizes::{Sizes, States},
    table::{State, Table},
};
use self::{
    detached::Left, doubts::Doubts, early::Early, ended::Ended, groups::Groups, lately::Lately, propagation::Gone,
};
use crate::operation::{CallId, Clones, Doubt, Mount, Namespace, Role, Section, SectionFact};

/// Where mounts are that no process can reach by a path: in detached trees, which the kernel keeps in namespaces without a name.
const DETACHED: Namespace = Namespace { inum: 0, id: 0 };
/// `MNT_NS_ANON_INO` of `uapi/linux/nsfs.h`: the inode number of a detached tree's namespace from 6.18 on.
const DETACHED_INUM: u32 = 0xefff_fff7;
/// After this time no section comes any more that began before: facts are put in by their time.
const SECTION_KEPT_NS: u64 = 10_000_000_000;

/// The tables.
#[derive(Debug, Default)]
pub struct Mirror {
    tables: HashMap<Namespace, Table>,
    /// Mounts that left their tables, and that somebody may still refer to.
    left: Left,
    /// Attributes that were told of what is in no table yet.
    early: Early,
    groups: Groups,
    reads: Reads,
    audit: Audit,
    ended: Ended,
    lately: Lately,
    doubts: Doubts,
    /// Sections that were put in.
    sections: u64,
}

impl Mirror {
    /// A mirror that heals nothing: what it does not know it never learns. To see what hooks are for.
    pub fn without_healing() -> Self {
        Self { reads: Reads::without_healing(), ..Self::default() }
    }

    /// A namespace was there when the mirror began.
    pub fn present(&mut self, inum: u32, now_ns: u64) {
        self.want(inum, ReadReason::Start, now_ns);
    }

    /// A section has ended.
    pub fn section(&mut self, section: &Section) {
        self.sections += 1;
        self.lately.note(section);
        let now_ns = section.end_ns;
        self.check_counts(section);
        let moved = self.moved(section);
        let (mut gone, mut clones) = (Gone::default(), Vec::new());
        for fact in &section.facts {
            match fact {
                SectionFact::Mount(Role::Detach, mount) => {
                    gone.mount(&mount.gone());
                    self.leave(place_of(mount.namespace), mount.objects.mount, Some(Entry::of(mount, now_ns)), now_ns);
                }
                SectionFact::Mount(Role::Attach, mount) => self.attach(mount, now_ns),
                SectionFact::Mount(Role::Move | Role::Change, mount) => self.put(mount, now_ns),
                SectionFact::Bare(bare) => self.bare(bare, &mut gone, now_ns),
                SectionFact::GroupEnd { group, heir } => self.inherit(*group, *heir),
                SectionFact::Clones(batch) => clones.push(batch),
                SectionFact::NamespaceEnd(change) => {
                    self.leave_all(change.namespace, now_ns);
                    self.end(change.namespace, &mut gone);
                }
                SectionFact::Copy(_) => {}
            }
        }
        self.born(&clones, now_ns);
        self.check_moved(moved);
        for (group, heir) in gone.ended(&self.groups) {
            if gone.is_heard(group) || self.reads.is_settled() {
                self.inherit(group, heir);
            } else {
                // Somebody may be left in a table that is not known.
                self.soil_orphans(group, now_ns);
            }
        }
    }

    /// How a mount stands, told outside of sections: only its attributes can have been changed there.
    pub fn attributes(&mut self, call: CallId, mount: &Mount) {
        let place = place_of(mount.namespace);
        self.audit.told(place, mount);
        if place == DETACHED && self.tables.get(&place).is_none_or(|table| table.is_without(mount)) {
            return self.is_detached(mount);
        }
        let Some(table) = self.tables.get_mut(&place) else { return self.early.note(mount) };
        let raced = table.telling.tells(call, mount.objects.mount, mount.told_ns);
        match table.mounts.get_mut(&mount.objects.mount) {
            Some(entry) => entry.set_flags(mount),
            None => self.early.note(mount),
        }
        if raced {
            self.doubt(place, Doubt::Attributes, mount.told_ns);
        }
    }

    /// Attributes of mounts of this namespace were changed, and nobody knows of which.
    pub fn attributes_unknown(&mut self, namespace: Namespace, now_ns: u64) {
        self.doubts.untold += u64::from(self.soil(namespace, ReadReason::Attributes, now_ns));
    }

    /// A namespace was made; if none of its mounts was told it is not known yet.
    pub fn made(&mut self, namespace: Namespace, now_ns: u64) {
        self.meet(namespace, now_ns);
    }

    /// Facts were lost, of these namespaces or of any.
    pub fn lost(&mut self, namespaces: Option<&[Namespace]>, now_ns: u64) {
        self.left.begin_anew(now_ns);
        let all: Vec<Namespace> = match namespaces {
            Some(some) => some.iter().map(|one| named(*one)).collect(),
            None => self.tables.keys().copied().collect(),
        };
        if namespaces.is_none() {
            // Nothing reads detached trees, and what is kept of them only says who is left in a group.
            self.clear_detached();
        }
        for namespace in all.into_iter().filter(|namespace| *namespace != DETACHED) {
            self.meet(namespace, now_ns);
            self.soil(namespace, ReadReason::Lost, now_ns);
        }
    }

    /// What was compared so far.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Tables read so far, by reason.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Sections that were put in.
    pub fn sections(&self) -> u64 {
        self.sections
    }

    /// The last ones of them, the oldest first.
    pub fn lately(&self) -> impl Iterator<Item = &Seen> {
        self.lately.all()
    }

    /// Every namespace's table, in no order.
    pub fn tables(&self) -> impl Iterator<Item = (Namespace, &Table)> {
        self.tables
            .iter()
            .filter(|(namespace, _)| **namespace != DETACHED)
            .map(|(namespace, table)| (*namespace, table))
    }

    /// The kernel's count at the first fact of each namespace is that of before the section: it must be ours.
    fn check_counts(&mut self, section: &Section) {
        let mut seen = HashSet::new();
        for fact in &section.facts {
            let (place, ns_mounts) = match fact {
                SectionFact::Mount(_, mount) => (place_of(mount.namespace), mount.ns_mounts),
                SectionFact::Bare(bare) => (place_of(bare.namespace), bare.ns_mounts),
                _ => continue,
            };
            if place == DETACHED || !seen.insert(place) {
                continue;
            }
            self.meet(place, section.end_ns);
            let differs = |table: &Table| table.state == State::Exact && table.mounts.len() != ns_mounts as usize;
            if self.tables.get(&place).is_some_and(differs) {
                self.doubt(place, Doubt::Count, section.end_ns);
            }
        }
    }

    /// A namespace is met: of one that is not known all has to be read. One that has ended is none: what is said of it beside the stream
    /// may come late.
    fn meet(&mut self, namespace: Namespace, now_ns: u64) {
        let namespace = named(namespace);
        if namespace != DETACHED && !self.tables.contains_key(&namespace) && !self.ended.has(namespace) {
            self.tables.insert(namespace, Table::default());
            self.want(namespace.inum, ReadReason::Met, now_ns);
        }
    }

    /// A table is to be read to put it right.
    fn want(&mut self, inum: u32, reason: ReadReason, at_ns: u64) {
        if self.reads.want(inum, reason, at_ns) {
            // A comparison that waits for the same table would keep what is read from being put in.
            self.audit.abandon(inum);
        }
    }

    fn put(&mut self, mount: &Mount, at_ns: u64) {
        self.meet(place_of(mount.namespace), at_ns);
        self.put_at(mount, at_ns);
    }

    fn put_at(&mut self, mount: &Mount, at_ns: u64) {
        self.insert(place_of(mount.namespace), mount.objects.mount, Entry::of(mount, at_ns));
    }

    fn insert(&mut self, place: Namespace, identity: u64, mut entry: Entry) {
        self.left.remove(identity);
        self.early.correct(identity, &mut entry);
        let mounts = &mut self.tables.entry(place).or_default().mounts;
        if let Some(before) = mounts.get(&identity) {
            entry.keep_newer_flags(before);
        }
        if let Some(before) = mounts.insert(identity, entry) {
            self.groups.take(place, identity, &before);
        }
        self.groups.add(place, identity, &entry);
    }

    fn remove(&mut self, place: Namespace, identity: u64) -> Option<Entry> {
        let before = self.tables.get_mut(&place)?.mounts.remove(&identity)?;
        self.groups.take(place, identity, &before);
        Some(before)
    }

    fn attach(&mut self, mount: &Mount, now_ns: u64) {
        let place = place_of(mount.namespace);
        self.meet(place, now_ns);
        self.enter(place, mount.objects.mount, Entry::of(mount, now_ns));
    }

    fn enter(&mut self, place: Namespace, identity: u64, mut entry: Entry) {
        // It may come out of a detached tree.
        if let Some(before) = self.remove(DETACHED, identity) {
            entry.keep_newer_flags(&before);
        }
        self.insert(place, identity, entry);
        if let Some(table) = self.tables.get_mut(&place) {
            table.count += 1;
        }
    }

    /// A mount leaves its table; what was told of it then, if more than its numbers was.
    fn leave(&mut self, place: Namespace, identity: u64, told: Option<Entry>, now_ns: u64) {
        let before = self.remove(place, identity);
        self.left.extend(told.or(before).map(|entry| (identity, entry)), now_ns);
        // Also of one that was not known: the kernel counted it.
        if let Some(table) = self.tables.get_mut(&place) {
            table.count = table.count.saturating_sub(1);
        }
    }

    fn clear_detached(&mut self) {
        let detached = self.tables.remove(&DETACHED).unwrap_or_default();
        for (identity, entry) in &detached.mounts {
            self.groups.take(DETACHED, *identity, entry);
        }
    }

    /// The slaves of a group that has no members any more have another master.
    fn inherit(&mut self, group: u32, heir: Option<u32>) {
        for (place, identity) in self.groups.take_slaves(group) {
            let known = self.tables.get_mut(&place).and_then(|table| table.mounts.get_mut(&identity));
            if let Some(entry) = known {
                entry.master = heir;
                self.groups.slave(place, identity, entry);
            }
        }
    }

    /// Nobody knows who is master of a group's slaves now.
    fn soil_orphans(&mut self, group: u32, now_ns: u64) {
        for place in self.groups.orphans(group) {
            self.soil(place, ReadReason::Lost, now_ns);
        }
    }

    /// A namespace ends, and all that is mounted in it.
    fn end(&mut self, namespace: Namespace, gone: &mut Gone) {
        self.ended.note(named(namespace));
        self.forget(namespace, gone);
    }

    /// A namespace is not looked at any more.
    fn forget(&mut self, namespace: Namespace, gone: &mut Gone) {
        self.reads.forget(namespace.inum);
        self.audit.abandon(namespace.inum);
        let Some(table) = self.tables.remove(&named(namespace)) else { return };
        for (identity, entry) in &table.mounts {
            self.groups.take(namespace, *identity, entry);
            gone.unheard(entry);
        }
    }

    /// A tree of clones was made: for a namespace of its own, or detached.
    fn born(&mut self, batches: &[&Clones], now_ns: u64) {
        let Some(last) = batches.last() else { return };
        if last.namespace.is_none() && last.mounts == 0 {
            // They were thrown away, or their last ones were lost: in no namespace at all is nobody.
            return;
        }
        let place = place_of(last.namespace);
        let origin = place_of(last.copied_from);
        // A clone's attributes are its own, and told with it.
        let known = self.tables.get(&origin).is_some_and(Table::is_known);
        let clones: Vec<_> = batches.iter().flat_map(|batch| &batch.clones).collect();
        let entries: Vec<(u64, Entry)> = match self.tables.get(&origin) {
            Some(table) => table.cloned(&clones, now_ns),
            None => Vec::new(),
        };
        // A copy is one tree. What is put together of two stands on one another, and how is not told.
        let roots = entries.iter().filter(|(identity, entry)| entry.parent == *identity).count();
        let whole = known && roots == 1 && entries.len() == last.mounts as usize;
        for (identity, entry) in entries {
            self.insert(place, identity, entry);
        }
        if place == DETACHED {
            return;
        }
        let table = self.tables.entry(place).or_default();
        table.count = last.mounts as usize;
        if whole {
            table.state = State::Exact;
        } else {
            self.want(place.inum, ReadReason::Met, now_ns);
        }
    }
}

/// Where the mounts of a namespace are; those of none are in detached trees.
fn place_of(namespace: Option<Namespace>) -> Namespace {
    namespace.map_or(DETACHED, named)
}

/// A namespace as the mirror names it: all detached trees are in one.
fn named(namespace: Namespace) -> Namespace {
    if namespace.id == 0 || namespace.inum == DETACHED_INUM { DETACHED } else { namespace }
}

#[cfg(test)]
mod tests;
