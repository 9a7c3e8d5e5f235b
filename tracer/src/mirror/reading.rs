//! PURE: what a reading of a table tells. Its records stand in the stream among the changes; when it has come to its end, what it did
//! not find is not there.

use super::{DETACHED, Mirror, ReadReason, State, place_of, propagation::Gone};
use crate::operation::{Mount, Namespace};

/// How often nobody may be seen in a namespace before it is taken for one that ended.
const MOST_UNSEEN: u32 = 4;

/// How long after a reading that told nothing a namespace of which nothing is known is looked for again.
const AGAIN_NS: u64 = 50_000_000;

impl Mirror {
    /// A table that is being read has this mount.
    pub fn seed(&mut self, at_ns: u64, mount: &Mount) {
        let place = place_of(mount.namespace);
        if self.audit.is_on(place.inum) {
            let table = self.tables.get(&place);
            self.audit.compare(place, mount, table.filter(|table| table.state == State::Exact), at_ns);
            return;
        }
        self.put_at(mount, at_ns);
        if let Some(table) = self.tables.get_mut(&place) {
            table.count = mount.ns_mounts as usize;
            table.told_ns = at_ns;
            table.unseen = 0;
        }
    }

    /// The table of the namespace with this inode number was read, from `began_ns` on, and all that it told has been put in.
    pub fn read(&mut self, inum: u32, began_ns: u64, now_ns: u64) {
        let reason = self.reads.running(inum);
        let again = self.reads.done(inum);
        if self.audit.is_on(inum) {
            let tables = self.tables.iter().filter(|(namespace, _)| namespace.inum == inum);
            self.audit.finish(inum, began_ns, tables);
            return;
        }
        let (told, untold): (Vec<Namespace>, Vec<Namespace>) = self
            .numbered(inum)
            .into_iter()
            .partition(|namespace| self.tables.get(namespace).is_some_and(|table| table.told_ns >= began_ns));
        for namespace in &told {
            self.put_right(*namespace, began_ns, again, now_ns);
        }
        if told.is_empty() {
            // Who was in it went elsewhere just then.
            self.failed(inum, now_ns);
            if reason == Some(ReadReason::Start) && untold.is_empty() {
                self.want(inum, ReadReason::Start, now_ns + AGAIN_NS);
            }
            return;
        }
        for namespace in untold {
            // It ended, and another one has its number.
            let mut gone = Gone::default();
            self.end(namespace, &mut gone);
            self.doubt_slaves_of(&gone, now_ns);
        }
    }

    /// What went without a word may have been the last of its group.
    fn doubt_slaves_of(&mut self, gone: &Gone, now_ns: u64) {
        for (group, _) in gone.ended(&self.groups) {
            self.soil_orphans(group, now_ns);
        }
    }

    /// The table of the namespace with this inode number could not be read this time.
    pub fn failed(&mut self, inum: u32, now_ns: u64) {
        self.reads.done(inum);
        self.audit.abandon(inum);
        for namespace in self.numbered(inum) {
            if self.tables.get(&namespace).is_some_and(|table| table.state != State::Exact) {
                self.soil(namespace, ReadReason::Lost, now_ns);
            }
        }
    }

    /// Nobody is seen in the namespace with this inode number: it ended, or who made it is not to be seen there yet.
    pub fn unreadable(&mut self, inum: u32, now_ns: u64) {
        for namespace in self.numbered(inum) {
            let Some(table) = self.tables.get_mut(&namespace) else { continue };
            table.unseen += u32::from(table.state != State::Exact);
            if table.unseen > MOST_UNSEEN {
                self.reads.leave_alone(inum, now_ns);
                let mut gone = Gone::default();
                self.forget(namespace, &mut gone);
                self.doubt_slaves_of(&gone, now_ns);
            }
        }
        self.failed(inum, now_ns);
    }

    /// The namespace, by inode number, whose table is to be read now, if there is one. It counts as read.
    pub fn due(&mut self, now_ns: u64) -> Option<u32> {
        self.reads.due(now_ns)
    }

    /// When [`Self::due`] has something next, `CLOCK_BOOTTIME` in nanoseconds.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.reads.next_due_ns()
    }

    /// Compares all tables with what the kernel says, at its place in the stream, and changes nothing.
    pub fn begin_audit(&mut self, now_ns: u64) {
        self.audit.settle();
        let exact = self.tables.iter().filter(|(_, table)| table.state == State::Exact);
        for (namespace, _) in exact.filter(|(namespace, _)| **namespace != DETACHED) {
            // One that is to be read for another reason is not to be relied upon.
            if self.reads.want(namespace.inum, ReadReason::Asked, now_ns) {
                self.audit.begin(namespace.inum);
            }
        }
    }

    /// The namespaces with an inode number: one, and maybe others that ended without a word.
    fn numbered(&self, inum: u32) -> Vec<Namespace> {
        self.tables.keys().copied().filter(|namespace| namespace.inum == inum).collect()
    }

    /// A table was read to its end.
    fn put_right(&mut self, namespace: Namespace, began_ns: u64, again: bool, now_ns: u64) {
        self.forget_older(namespace, began_ns, now_ns);
        let Some(table) = self.tables.get_mut(&namespace) else { return };
        if table.mounts.len() != table.count {
            self.soil(namespace, ReadReason::Count, now_ns);
        } else if again {
            table.state = State::Dirty;
        } else {
            table.state = State::Exact;
        }
    }

    /// What a reading did not find is not there. If a group loses its last member by that, nobody knows what became of its slaves.
    fn forget_older(&mut self, namespace: Namespace, began_ns: u64, now_ns: u64) {
        let Some(table) = self.tables.get(&namespace) else { return };
        let older: Vec<u64> =
            table.mounts.iter().filter(|(_, entry)| entry.at_ns < began_ns).map(|(identity, _)| *identity).collect();
        let groups: Vec<u32> = older.iter().filter_map(|identity| table.mounts.get(identity)?.shared).collect();
        for identity in older {
            self.remove(namespace, identity);
        }
        for group in groups {
            self.soil_orphans(group, now_ns);
        }
    }
}
