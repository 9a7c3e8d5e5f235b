//! PURE: the disks of the node as they come and go. A disk is its number *and* its birth: a number that is used again is
//! another disk.
//!
//! The kernel's events come in, and whole lists: at the start, and after events were lost. A list is older than some events that
//! are read after it and younger than others; the kernel's count of events tells which.

use std::collections::BTreeMap;

use super::{Disk, uevent::DiskEvent};
use crate::device::Dev;

/// What a number was given away to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Birth {
    /// The kernel's own count, Linux 5.15 and newer. A loop device has another one with each file.
    Diskseq(u64),
    /// Our count of births, where the kernel has none.
    Nth(u64),
}

/// What names a disk once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId {
    /// Its number.
    pub dev: Dev,
    /// Which of those that had the number.
    pub birth: Birth,
}

/// What the node says of its disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskNews {
    /// Something became of one.
    Event(DiskEvent),
    /// These are there, and no others.
    List {
        /// The kernel's count of events before they were looked at.
        seqnum: u64,
        /// They.
        disks: Vec<Disk>,
    },
}

/// What was noticed of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there.
    Born(DiskId),
    /// It is not there any more.
    Gone(DiskId),
}

/// How many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Births {
    /// Disks that came, those of the first list among them.
    pub born: u64,
    /// Disks that went.
    pub gone: u64,
    /// Lists that were taken.
    pub lists: u64,
}

/// The disks that are there.
#[derive(Debug, Default)]
pub struct Disks {
    there: BTreeMap<Dev, (String, Birth)>,
    births: Births,
    /// The kernel's count of events when the last list was begun: what came up to then is in it.
    listed_at: u64,
}

impl Disks {
    /// Each of them and the kernel's name of it, in the order of their numbers.
    pub fn there(&self) -> impl Iterator<Item = (DiskId, &str)> {
        self.there.iter().map(|(dev, (name, birth))| (DiskId { dev: *dev, birth: *birth }, name.as_str()))
    }

    /// Which disk has this number now.
    pub fn now(&self, dev: Dev) -> Option<DiskId> {
        self.there.get(&dev).map(|(_, birth)| DiskId { dev, birth: *birth })
    }

    /// How many came and went.
    pub fn births(&self) -> Births {
        self.births
    }

    /// The node says this.
    pub fn hear(&mut self, news: &DiskNews) -> Vec<Change> {
        match news {
            DiskNews::Event(event) => self.event(event),
            DiskNews::List { seqnum, disks } => self.listed(*seqnum, disks),
        }
    }

    /// The kernel says this of a disk.
    pub fn event(&mut self, event: &DiskEvent) -> Vec<Change> {
        if event.seqnum <= self.listed_at {
            return Vec::new();
        }
        let Disk { dev, diskseq, .. } = event.disk;
        // A list that was taken meanwhile may know a younger one.
        if let (Some(Birth::Diskseq(known)), Some(told)) = (self.now(dev).map(|id| id.birth), diskseq)
            && told < known
        {
            return Vec::new();
        }
        if event.gone { self.forget(dev).into_iter().collect() } else { self.see(&event.disk) }
    }

    /// These are there, and no others; `seqnum` is the kernel's count of events before they were looked at. Without the
    /// kernel's count of disks, those that were there before may be others by now, and are taken for such.
    pub fn listed(&mut self, seqnum: u64, all: &[Disk]) -> Vec<Change> {
        self.births.lists += 1;
        self.listed_at = seqnum;
        let still = |dev: &Dev| all.iter().any(|disk| disk.dev == *dev && disk.diskseq.is_some());
        let lost: Vec<Dev> = self.there.keys().filter(|dev| !still(dev)).copied().collect();
        let mut changes: Vec<Change> = lost.into_iter().filter_map(|dev| self.forget(dev)).collect();
        changes.extend(all.iter().flat_map(|disk| self.see(disk)));
        changes
    }

    fn see(&mut self, disk: &Disk) -> Vec<Change> {
        let known = self.now(disk.dev);
        let birth = match (disk.diskseq, known) {
            (Some(diskseq), _) => Birth::Diskseq(diskseq),
            // The kernel gives no number away twice without a word in between.
            (None, Some(known)) => known.birth,
            (None, None) => Birth::Nth(self.births.born + 1),
        };
        if known.is_some_and(|known| known.birth == birth) {
            return Vec::new();
        }
        let gone = self.forget(disk.dev);
        self.births.born += 1;
        self.there.insert(disk.dev, (disk.name.clone(), birth));
        gone.into_iter().chain([Change::Born(DiskId { dev: disk.dev, birth })]).collect()
    }

    fn forget(&mut self, dev: Dev) -> Option<Change> {
        let (_, birth) = self.there.remove(&dev)?;
        self.births.gone += 1;
        Some(Change::Gone(DiskId { dev, birth }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn disk(minor: u32, diskseq: Option<u64>) -> Disk {
        Disk { dev: Dev { major: 7, minor }, name: format!("loop{minor}"), diskseq }
    }

    fn event(seqnum: u64, minor: u32, diskseq: Option<u64>, gone: bool) -> DiskEvent {
        DiskEvent { seqnum, disk: disk(minor, diskseq), gone }
    }

    fn id(minor: u32, birth: Birth) -> DiskId {
        DiskId { dev: Dev { major: 7, minor }, birth }
    }

    #[test]
    fn a_number_with_another_diskseq_is_another_disk() {
        let mut disks = Disks::default();
        let [first, second] = [5, 6].map(|seq| id(0, Birth::Diskseq(seq)));
        assert_eq!(disks.listed(10, &[disk(0, Some(5))]), [Change::Born(first)]);
        assert_eq!(disks.event(&event(11, 0, Some(5), false)), [], "it changed its size");
        assert_eq!(disks.event(&event(12, 0, Some(6), false)), [Change::Gone(first), Change::Born(second)]);
        assert_eq!(disks.event(&event(13, 0, Some(5), true)), [], "that one went before");
        assert_eq!(disks.now(first.dev), Some(second));
        assert_eq!(disks.event(&event(14, 0, Some(6), true)), [Change::Gone(second)]);
        assert_eq!((disks.there().count(), disks.births()), (0, Births { born: 2, gone: 2, lists: 1 }));
    }

    #[test]
    fn without_a_diskseq_it_is_the_order_of_births() {
        let mut disks = Disks::default();
        let [first, second] = [1, 2].map(|nth| id(0, Birth::Nth(nth)));
        assert_eq!(disks.event(&event(1, 0, None, false)), [Change::Born(first)]);
        assert_eq!(disks.event(&event(2, 0, None, false)), [], "it changed");
        assert_eq!(disks.event(&event(3, 0, None, true)), [Change::Gone(first)]);
        assert_eq!(disks.event(&event(4, 0, None, true)), [], "it is gone");
        assert_eq!(disks.event(&event(5, 0, None, false)), [Change::Born(second)]);
    }

    #[test]
    fn a_list_after_a_loss() {
        for (diskseq, third) in [(Some(1), Vec::new()), (None, vec![1])] {
            let mut disks = Disks::default();
            disks.listed(1, &[disk(0, diskseq), disk(1, diskseq.map(|_| 2))]);
            let changes = disks.listed(9, &[disk(0, diskseq), disk(2, diskseq.map(|_| 3))]);
            let gone = changes.iter().filter(|change| matches!(change, Change::Gone(_))).count();
            assert_eq!((gone, disks.there().count()), (1 + third.len(), 2), "{changes:?}");
            assert_eq!(disks.event(&event(9, 2, diskseq.map(|_| 3), true)), [], "it is in the list what became of it");
            assert_eq!(disks.event(&event(10, 2, diskseq.map(|_| 3), true)).len(), 1);
        }
    }

    /// A node that makes and removes disks: what it did, one step a number, and what it has then.
    #[derive(Default)]
    struct Node {
        there: BTreeMap<u32, u64>,
        diskseq: u64,
        seqnum: u64,
    }

    impl Node {
        /// Makes the disk if it is not there, gives it another medium, or removes it.
        fn act(&mut self, minor: u32, remove: bool) -> DiskEvent {
            self.seqnum += 1;
            if remove && let Some(diskseq) = self.there.remove(&minor) {
                return event(self.seqnum, minor, Some(diskseq), true);
            }
            self.diskseq += 1;
            self.there.insert(minor, self.diskseq);
            event(self.seqnum, minor, Some(self.diskseq), false)
        }

        fn list(&self) -> Vec<Disk> {
            self.there.iter().map(|(minor, diskseq)| disk(*minor, Some(*diskseq))).collect()
        }
    }

    proptest! {
        /// Whatever is lost, and however late a list and the events around it are heard of: at the end it is what is there, nobody is
        /// born twice, and nobody goes who was not there.
        #[test]
        fn in_the_end_it_is_what_is_there(
            steps in proptest::collection::vec((0_u32..4, any::<bool>(), any::<bool>()), 0..60), lag in 0_usize..5,
        ) {
            let (mut node, mut disks, mut seen) = (Node::default(), Disks::default(), Vec::new());
            let events: Vec<(DiskEvent, bool)> =
                steps.iter().map(|(minor, remove, lost)| (node.act(*minor, *remove), *lost)).collect();
            // The loss is noticed at the end, and the list is taken while the last events are still in the socket's buffer.
            let (early, late) = events.split_at(events.len().saturating_sub(lag));
            for (event, _) in early.iter().filter(|(_, lost)| !lost) {
                seen.extend(disks.event(event));
            }
            let before = early.last().map_or(0, |(event, _)| event.seqnum);
            seen.extend(disks.listed(before, &node.list()));
            for (event, _) in late {
                seen.extend(disks.event(event));
            }
            let there: Vec<(Dev, Birth)> = disks.there().map(|(id, _)| (id.dev, id.birth)).collect();
            let wanted: Vec<(Dev, Birth)> =
                node.list().iter().map(|disk| (disk.dev, Birth::Diskseq(disk.diskseq.unwrap_or(0)))).collect();
            prop_assert_eq!(there, wanted);
            let mut alive = BTreeSet::new();
            for change in &seen {
                match change {
                    Change::Born(id) => prop_assert!(alive.insert(*id), "{:?} twice", id),
                    Change::Gone(id) => prop_assert!(alive.remove(id), "{:?} was not there", id),
                }
            }
            prop_assert_eq!(alive.len(), disks.there().count());
            prop_assert_eq!(disks.births().born - disks.births().gone, alive.len() as u64);
        }
    }
}
