//! PURE: what each pod should have on each disk, and what this agent wrote there. Touches nothing.

use std::collections::BTreeMap;

use super::Limits;
use crate::device::Dev;
use crate::host::Disk;

/// Where a limit holds. The kernel gives device numbers again, so the disk's birth belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The pod's cgroup.
    pub cgroup_id: u64,
    /// The whole disk.
    pub disk: Dev,
    /// Which disk of this number; `None` on kernels that do not count them.
    pub diskseq: Option<u64>,
}

impl Key {
    /// The place of this cgroup's limit on this disk.
    pub fn new(cgroup_id: u64, disk: &Disk) -> Self {
        Self { cgroup_id, disk: disk.dev, diskseq: disk.diskseq }
    }
}

/// What is wanted and what was written, by cgroup and disk.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    entries: BTreeMap<Key, Entry>,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    /// `None` for a volume that had a part in the limit and that the policy wants nothing of now.
    volumes: BTreeMap<String, Option<Limits>>,
    written: Option<Limits>,
}

impl Ledger {
    /// Notes a volume's limits, in place of earlier ones, and tells what the pod should have on the disk now.
    pub fn want(&mut self, key: Key, volume: &str, limits: Limits) -> Limits {
        let entry = self.entries.entry(key).or_default();
        entry.volumes.insert(volume.to_owned(), Some(limits));
        entry.effective()
    }

    /// What the pod should have on the disk: the stricter of all its volumes there. `None` when it has none.
    pub fn effective(&self, key: Key) -> Option<Limits> {
        self.entries.get(&key).filter(|entry| entry.volumes.values().any(Option::is_some)).map(Entry::effective)
    }

    /// Notes what is in force since this agent's write.
    pub fn wrote(&mut self, key: Key, limits: Limits) {
        self.entries.entry(key).or_default().written = Some(limits);
    }

    /// What this agent wrote last.
    pub fn ours(&self, key: Key) -> Option<Limits> {
        self.entries.get(&key)?.written
    }

    /// All that this agent wrote and that limits something.
    pub fn written(&self) -> impl Iterator<Item = (Key, Limits)> {
        let written = self.entries.iter().filter_map(|(key, entry)| Some((*key, entry.written?)));
        written.filter(|(_, limits)| !limits.is_none())
    }

    /// The volumes that have or had a part in a limit.
    pub fn volumes(&self, key: Key) -> Vec<String> {
        self.entries.get(&key).map(|entry| entry.volumes.keys().cloned().collect()).unwrap_or_default()
    }

    /// Another policy: what each volume wants is not known any more, what was written is.
    pub fn forget_wants(&mut self) {
        for entry in self.entries.values_mut() {
            entry.volumes.values_mut().for_each(|limits| *limits = None);
        }
    }

    /// What this agent wrote there is not in force any more.
    pub fn released(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.written = None;
            entry.volumes.retain(|_, limits| limits.is_some());
        }
        self.entries.retain(|_, entry| entry.written.is_some() || !entry.volumes.is_empty());
    }

    /// Forgets a cgroup that is gone, whose limits went with it.
    pub fn forget_cgroup(&mut self, cgroup_id: u64) {
        self.entries.retain(|key, _| key.cgroup_id != cgroup_id);
    }
}

impl Entry {
    fn effective(&self) -> Limits {
        self.volumes.values().flatten().copied().fold(Limits::NONE, Limits::stricter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::limits::tests::any_limits;
    use proptest::prelude::*;

    fn key(cgroup_id: u64, diskseq: u64) -> Key {
        Key { cgroup_id, disk: Dev { major: 8, minor: 16 }, diskseq: Some(diskseq) }
    }

    fn limits(read_bps: u64, write_bps: Option<u64>) -> Limits {
        Limits { read_bps: Some(read_bps), write_bps, ..Limits::NONE }
    }

    #[test]
    fn two_volumes_on_one_disk_get_the_smaller_of_each() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.want(key(1, 1), "a", limits(10, Some(5))), limits(10, Some(5)));
        assert_eq!(ledger.want(key(1, 1), "b", limits(20, Some(4))), limits(10, Some(4)));
        assert_eq!(ledger.want(key(1, 1), "a", limits(30, None)), limits(20, Some(4)));
        assert_eq!(ledger.effective(key(1, 2)), None, "another disk that got the same number");
        assert_eq!(ledger.effective(key(2, 1)), None, "another pod");
    }

    #[test]
    fn what_was_written_is_forgotten_with_its_cgroup_only() {
        let mut ledger = Ledger::default();
        ledger.wrote(key(1, 1), limits(10, None));
        ledger.wrote(key(2, 1), limits(20, None));
        assert_eq!(ledger.effective(key(1, 1)), None);
        assert_eq!(ledger.ours(key(1, 2)), None);
        ledger.forget_cgroup(1);
        assert_eq!(ledger.ours(key(1, 1)), None);
        assert_eq!(ledger.ours(key(2, 1)), Some(limits(20, None)));
    }

    #[test]
    fn another_policy_forgets_what_is_wanted_and_not_what_was_written() {
        let mut ledger = Ledger::default();
        ledger.want(key(1, 1), "a", limits(10, None));
        ledger.want(key(1, 1), "b", limits(20, None));
        ledger.wrote(key(1, 1), limits(10, None));
        ledger.wrote(key(2, 1), Limits::NONE);
        ledger.forget_wants();
        assert_eq!(ledger.effective(key(1, 1)), None);
        assert_eq!(ledger.written().collect::<Vec<_>>(), [(key(1, 1), limits(10, None))]);
        assert_eq!(ledger.want(key(1, 1), "b", limits(20, None)), limits(20, None), "no part of a's");
        assert_eq!(ledger.volumes(key(1, 1)), ["a", "b"], "both had a part in what was written");
        ledger.released(key(1, 1));
        assert_eq!(ledger.ours(key(1, 1)), None);
        assert_eq!(ledger.volumes(key(1, 1)), ["b"]);
    }

    /// Whether `a` allows no more than `b` in any field.
    fn within(a: Limits, b: Limits) -> bool {
        a.stricter(b) == a
    }

    proptest! {
        #[test]
        fn never_above_any_volume(wishes in proptest::collection::vec(("[a-c]", any_limits()), 1..8)) {
            let mut ledger = Ledger::default();
            let mut last = BTreeMap::new();
            for (volume, limits) in wishes {
                let effective = ledger.want(key(1, 1), &volume, limits);
                last.insert(volume, limits);
                prop_assert_eq!(ledger.effective(key(1, 1)), Some(effective));
                prop_assert!(last.values().all(|limits| within(effective, *limits)));
            }
        }
    }
}
