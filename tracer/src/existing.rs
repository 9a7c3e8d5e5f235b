//! PURE: what was mounted already. The kernel's answers to a read of a mount table stand in the ring, in order with what
//! changes meanwhile: each says how a mount is at its place in the stream, and the last one wins.

use std::collections::HashMap;

use crate::operation::{Bare, BareMounts, Effect, EffectKind, Mount, MountKey, Namespace, Op, Operation, Role};

/// The tables that are being read.
#[derive(Debug, Default)]
pub struct Existing {
    tables: HashMap<Namespace, Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// In the kernel's order, and when each was told, `CLOCK_BOOTTIME` in nanoseconds; `None` for one that is gone.
    mounts: Vec<Option<(u64, Mount)>>,
    /// Where in the list each is.
    places: HashMap<MountKey, usize>,
    /// How many mounts the namespace has, as its last record says and what changed since.
    count: u64,
    /// Something was lost since its reading began: any of it may be wrong.
    lost: bool,
}

impl Table {
    fn put(&mut self, at_ns: u64, mount: Mount) {
        let new = self.mounts.len();
        let place = *self.places.entry(mount.key()).or_insert(new);
        if place == new {
            self.mounts.push(None);
        }
        self.mounts[place] = Some((at_ns, mount));
    }

    fn remove(&mut self, key: MountKey) {
        if let Some(place) = self.places.remove(&key) {
            self.mounts[place] = None;
        }
    }
}

impl Existing {
    /// A mount is in the table that is read.
    pub fn seed(&mut self, at_ns: u64, mount: Mount) {
        let Some(namespace) = mount.namespace else { return };
        let table = self.tables.entry(namespace).or_default();
        table.count = mount.ns_mounts.into();
        table.put(at_ns, mount);
    }

    /// A table changes. One that is not read now will say so by itself, or has said so before.
    pub fn changed(&mut self, at_ns: u64, role: Role, mount: &Mount) {
        let Some(table) = mount.namespace.and_then(|namespace| self.tables.get_mut(&namespace)) else { return };
        let is_known = table.places.contains_key(&mount.key());
        match role {
            Role::Detach => {
                table.remove(mount.key());
                table.count = table.count.saturating_sub(1);
            }
            // A move out of another namespace is none: the kernel moves within one.
            Role::Attach => {
                table.count += 1;
                table.put(at_ns, mount.clone());
            }
            Role::Move | Role::Change if is_known => table.put(at_ns, mount.clone()),
            // It will be read further down.
            Role::Move | Role::Change => {}
        }
    }

    /// The same by numbers alone: what has no name cannot be shown, unless it is read further down.
    pub fn changed_bare(&mut self, bare: &Bare) {
        let Some(table) = bare.namespace.and_then(|namespace| self.tables.get_mut(&namespace)) else { return };
        match &bare.mounts {
            BareMounts::Gone(mounts) => {
                for mount in mounts {
                    table.remove(mount.key);
                    table.count = table.count.saturating_sub(1);
                }
            }
            BareMounts::There(Some(Role::Attach), mounts) => table.count += mounts.len() as u64,
            // Its path is another one now.
            BareMounts::There(Some(Role::Move), mounts) => mounts.iter().for_each(|mount| table.remove(mount.key)),
            BareMounts::There(_, mounts) => {
                for mount in mounts {
                    let place = table.places.get(&mount.key).copied();
                    let known = place.and_then(|place| table.mounts.get_mut(place)?.as_mut());
                    if let Some((_, known)) = known {
                        (known.flags, known.shared, known.master) = (mount.flags, mount.shared, mount.master);
                        known.unbindable = mount.unbindable;
                    }
                }
            }
        }
    }

    /// A namespace ended: there is nothing to be shown of it.
    pub fn ended(&mut self, namespace: Namespace) {
        self.tables.remove(&namespace);
    }

    /// Something was lost: what is being read may be wrong.
    pub fn lost(&mut self) {
        for table in self.tables.values_mut() {
            table.lost = true;
        }
    }

    /// The table of the namespace with this inode number was read to its end: an operation for each mount in it.
    pub fn read(&mut self, inum: u32) -> Vec<Operation> {
        let tables = self.tables.extract_if(|namespace, _| namespace.inum == inum);
        tables.flat_map(|(_, table)| shown(table)).collect()
    }
}

fn shown(table: Table) -> impl Iterator<Item = Operation> {
    let complete = !table.lost && table.places.len() as u64 == table.count;
    table.mounts.into_iter().flatten().map(move |(at_ns, mount)| {
        let effect = Effect { kind: EffectKind::Present, propagated: None, section: None, mount };
        Operation { effects: Some(vec![effect]), complete, ..Operation::bare(Op::Existing, at_ns) }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::operation::{
        SectionFact,
        tests::{self, mount},
    };

    const INUM: u32 = 4_026_531_841;

    fn bare(role: Role, mounts: &[Mount]) -> Bare {
        match tests::bare(Some(role), mounts) {
            SectionFact::Bare(bare) => bare,
            other => panic!("{other:?}"),
        }
    }

    fn ids(operations: &[Operation]) -> Vec<u32> {
        operations.iter().flat_map(Operation::mounts).map(|mount| mount.id).collect()
    }

    #[test]
    fn a_table_is_shown_when_it_was_read_to_its_end() {
        let mut existing = Existing::default();
        for id in 1..=3 {
            existing.seed(u64::from(id), Mount { ns_mounts: 3, ..mount(id) });
        }
        assert!(existing.read(7).is_empty(), "another namespace");
        let shown = existing.read(INUM);
        assert_eq!(ids(&shown), [1, 2, 3]);
        assert!(shown.iter().all(|one| one.complete && one.op == Op::Existing));
        assert!(existing.read(INUM).is_empty(), "once");
    }

    #[test]
    fn what_changes_while_it_is_read_is_as_it_was_last() {
        let mut existing = Existing::default();
        existing.changed(0, Role::Attach, &mount(9));
        existing.seed(1, Mount { ns_mounts: 3, ..mount(1) });
        existing.seed(2, Mount { ns_mounts: 3, ..mount(2) });
        existing.changed(3, Role::Detach, &mount(1));
        existing.changed(4, Role::Change, &Mount { shared: Some(5), ..mount(2) });
        existing.changed(5, Role::Move, &mount(3));
        existing.changed(6, Role::Attach, &mount(4));
        existing.seed(7, Mount { ns_mounts: 3, ..mount(3) });
        existing.seed(8, Mount { ns_mounts: 3, ..mount(4) });
        let shown = existing.read(INUM);
        assert_eq!(ids(&shown), [2, 4, 3], "what came meanwhile has its place where it came");
        assert_eq!(shown[0].mounts().next().unwrap().shared, Some(5));
        assert!(shown.iter().all(|one| one.complete));
    }

    #[test]
    fn what_comes_without_a_name_is_missing_until_it_is_read() {
        let begun = || {
            let mut existing = Existing::default();
            existing.seed(1, Mount { ns_mounts: 2, ..mount(1) });
            existing.seed(2, Mount { ns_mounts: 2, ..mount(2) });
            existing
        };
        let mut existing = begun();
        existing.changed_bare(&bare(Role::Attach, &[mount(3)]));
        existing.seed(3, Mount { ns_mounts: 3, ..mount(3) });
        let shown = existing.read(INUM);
        assert!(ids(&shown) == [1, 2, 3] && shown.iter().all(|one| one.complete), "read further down");
        for (role, left) in [(Role::Attach, vec![1, 2]), (Role::Move, vec![1])] {
            let mut existing = begun();
            existing.changed_bare(&bare(role, &[mount(if role == Role::Attach { 3 } else { 2 })]));
            let shown = existing.read(INUM);
            assert_eq!(ids(&shown), left);
            assert!(shown.iter().all(|one| !one.complete), "{role:?}: one has no name");
        }
        let mut existing = begun();
        existing.changed_bare(&bare(Role::Detach, &[mount(1)]));
        existing.changed_bare(&bare(Role::Change, &[Mount { shared: Some(5), ..mount(2) }]));
        let shown = existing.read(INUM);
        assert!(ids(&shown) == [2] && shown[0].complete);
        assert_eq!(shown[0].mounts().next().unwrap().shared, Some(5));
    }

    #[test]
    fn one_that_was_not_told_is_missed() {
        let mut existing = Existing::default();
        existing.seed(1, Mount { ns_mounts: 2, ..mount(1) });
        assert!(existing.read(INUM).iter().all(|one| !one.complete));
        existing.seed(1, Mount { ns_mounts: 1, ..mount(1) });
        existing.lost();
        existing.changed(2, Role::Attach, &mount(2));
        existing.seed(3, Mount { ns_mounts: 2, ..mount(1) });
        assert!(existing.read(INUM).iter().all(|one| !one.complete), "nobody knows what was lost");
    }

    proptest! {
        /// However a reading and changes interleave, what is shown is the table at the end.
        #[test]
        fn the_end_of_a_reading_is_the_table(
            before in prop::collection::btree_set(1u32..20, 0..10),
            changes in prop::collection::vec((1u32..20, 0usize..30), 0..20),
        ) {
            let mut existing = Existing::default();
            let mut table: std::collections::BTreeSet<u32> = before;
            // The kernel reads by ascending id; a change comes before the step of its number.
            let mut next = 0;
            for step in 0..60 {
                for (id, _) in changes.iter().filter(|(_, at)| *at == step) {
                    if table.remove(id) {
                        existing.changed(step as u64, Role::Detach, &mount(*id));
                    } else {
                        table.insert(*id);
                        existing.changed(step as u64, Role::Attach, &mount(*id));
                    }
                }
                if let Some(id) = table.range(next..).next().copied() {
                    existing.seed(step as u64, Mount { ns_mounts: u32::try_from(table.len()).unwrap(), ..mount(id) });
                    next = id + 1;
                }
            }
            let shown = existing.read(INUM);
            let mut seen = ids(&shown);
            seen.sort_unstable();
            prop_assert!(shown.iter().all(|one| one.complete));
            prop_assert_eq!(seen, table.into_iter().collect::<Vec<_>>());
        }
    }
}
