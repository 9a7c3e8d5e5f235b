//! PURE: mounts that a section tells without their names, of which the mirror keeps none.

use super::{Entry, Mirror, place_of, propagation::Gone};
use crate::operation::{Bare, BareMounts, Role};

impl Mirror {
    /// They are put in, or go.
    pub(super) fn bare(&mut self, bare: &Bare, gone: &mut Gone, now_ns: u64) {
        let place = place_of(bare.namespace);
        match &bare.mounts {
            BareMounts::There(role, mounts) => {
                self.meet(place, now_ns);
                for mount in mounts {
                    let entry = Entry::bare(mount, bare.told_ns, now_ns);
                    if *role == Some(Role::Attach) {
                        self.enter(place, mount.identity, entry);
                    } else {
                        self.insert(place, mount.identity, entry);
                    }
                }
            }
            BareMounts::Gone(mounts) => {
                for mount in mounts {
                    gone.mount(mount);
                    self.leave(place, mount.identity, None, now_ns);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::{State, Table};
    use super::*;
    use crate::operation::{Mount, Namespace, Section, SectionFact, tests};

    const HOME: Namespace = Namespace { inum: 4_026_531_841, id: 1 };

    fn section(facts: Vec<SectionFact>, end_ns: u64) -> Section {
        Section { number: end_ns, call: None, actor: None, end_ns, facts, complete: true, asked: None, cause: None }
    }

    fn named(role: Role, mounts: &[Mount]) -> Vec<SectionFact> {
        mounts.iter().map(|mount| SectionFact::Mount(role, Box::new(mount.clone()))).collect()
    }

    /// What two mirrors must have alike.
    fn told(mirror: &Mirror) -> HashMap<Namespace, (State, usize, HashMap<u64, Entry>)> {
        let of = |table: &Table| (table.state, table.count, table.mounts.clone());
        mirror.tables.iter().map(|(namespace, table)| (*namespace, of(table))).collect()
    }

    proptest! {
        /// Whatever is told by numbers alone, the mirror is as if it had been told by name.
        #[test]
        fn names_make_no_difference(
            changes in prop::collection::vec(
                (0usize..4, prop::collection::vec((1u32..9, 0u32..4, 0u32..4, any::<bool>()), 1..5)),
                0..20,
            ),
        ) {
            let roles = [Role::Attach, Role::Move, Role::Change, Role::Detach];
            let (mut by_name, mut by_number) = (Mirror::default(), Mirror::default());
            for (at, (role, mounts)) in changes.into_iter().enumerate() {
                let some = |number: u32| (number > 0).then_some(number);
                let mount = |(id, group, master, detached)| Mount {
                    shared: some(group),
                    master: some(master),
                    namespace: if detached { None } else { Some(HOME) },
                    ..tests::mount(id)
                };
                // A batch is about one namespace.
                let mut mounts: Vec<Mount> = mounts.into_iter().map(mount).collect();
                let namespace = mounts[0].namespace;
                for mount in &mut mounts {
                    mount.namespace = namespace;
                }
                by_name.section(&section(named(roles[role], &mounts), at as u64));
                by_number.section(&section(vec![tests::bare(Some(roles[role]), &mounts)], at as u64));
                prop_assert_eq!(told(&by_name), told(&by_number));
                prop_assert_eq!(&by_name.groups, &by_number.groups);
                prop_assert_eq!(by_name.next_due_ns(), by_number.next_due_ns());
            }
        }
    }

    #[test]
    fn another_count_than_the_kernels_is_wrong() {
        for (ns_mounts, state) in [(1, State::Exact), (7, State::Dirty)] {
            let mut mirror = Mirror::default();
            mirror.present(HOME.inum, 0);
            assert_eq!(mirror.due(0), Some(HOME.inum));
            mirror.seed(2, &Mount { ns_mounts: 1, ..tests::mount(1) });
            mirror.read(HOME.inum, 1, 3);
            let entering = [Mount { ns_mounts, ..tests::mount(2) }];
            mirror.section(&section(vec![tests::bare(Some(Role::Attach), &entering)], 10));
            assert_eq!(mirror.tables[&HOME].state, state, "the kernel counted {ns_mounts}");
        }
    }
}
