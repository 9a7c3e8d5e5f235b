//! PURE: mounts that are in no table, and that somebody still refers to: lazily unmounted while a file of theirs is open, left by a
//! namespace that ended, or held by a descriptor before they are put anywhere.
//!
//! Nothing reads them: those of which the mirror did not hear, or that were there before it, are not known.

use std::collections::HashMap;

use super::{DETACHED, Entry, Mirror, named};
use crate::operation::{Mount, Namespace};

/// `MNT_INTERNAL` of `linux/mount.h`: the kernel's own, which is in no namespace from the beginning.
const MNT_INTERNAL: u32 = 0x4000;

/// Mounts that left their tables, by identity.
#[derive(Debug, Default)]
pub(super) struct Left {
    mounts: HashMap<u64, Entry>,
    /// Until when something was lost, `CLOCK_BOOTTIME` in nanoseconds: what was released until then may not have been told, and what
    /// left its table until then may still be on the way.
    lost_ns: Option<u64>,
}

impl Left {
    /// They left at `now_ns`.
    pub(super) fn extend(&mut self, mounts: impl IntoIterator<Item = (u64, Entry)>, now_ns: u64) {
        if self.lost_ns.is_none_or(|lost_ns| now_ns > lost_ns) {
            self.mounts.extend(mounts.into_iter().map(|(identity, entry)| (identity, entry.left())));
        }
    }

    /// It is in a table again, or is none any more.
    pub(super) fn remove(&mut self, identity: u64) {
        self.mounts.remove(&identity);
    }

    /// Something was lost until `now_ns`.
    pub(super) fn begin_anew(&mut self, now_ns: u64) {
        *self = Self { mounts: HashMap::new(), lost_ns: Some(now_ns) };
    }
}

impl Mirror {
    /// Nothing refers to it any more.
    pub fn released(&mut self, identity: u64) {
        self.left.remove(identity);
        self.remove(DETACHED, identity);
    }

    /// How many they are.
    pub(super) fn detached_count(&self) -> usize {
        self.left.mounts.len() + self.tables.get(&DETACHED).map_or(0, |table| table.mounts.len())
    }

    /// A namespace ends, and its mounts leave it. Of a table in doubt they may have been released already.
    pub(super) fn leave_all(&mut self, namespace: Namespace, now_ns: u64) {
        let table = self.tables.get(&named(namespace)).filter(|table| table.is_known());
        let mounts = table.into_iter().flat_map(|table| &table.mounts);
        self.left.extend(mounts.map(|(identity, entry)| (*identity, *entry)), now_ns);
    }

    /// They, in no order.
    pub fn detached(&self) -> impl Iterator<Item = &Entry> {
        let in_trees = self.tables.get(&DETACHED).into_iter().flat_map(|table| table.mounts.values());
        self.left.mounts.values().chain(in_trees)
    }

    /// Somebody holds a mount that is in no table.
    pub(super) fn is_detached(&mut self, mount: &Mount) {
        let identity = mount.objects.mount;
        if mount.flags & MNT_INTERNAL == 0 && !self.left.mounts.contains_key(&identity) {
            self.left.extend([(identity, Entry::of(mount, mount.told_ns))], mount.told_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::mirror::tests::CALL;
    use crate::operation::{NamespaceChange, Role, Section, SectionFact, tests};

    const HOME: Namespace = Namespace { inum: 4_026_531_841, id: 1 };

    fn section(facts: Vec<SectionFact>, end_ns: u64) -> Section {
        Section { number: end_ns, call: None, actor: None, end_ns, facts, complete: true, asked: None, cause: None }
    }

    fn fact(role: Role, mount: &Mount) -> SectionFact {
        SectionFact::Mount(role, Box::new(mount.clone()))
    }

    fn detached(mirror: &Mirror) -> Vec<u32> {
        let mut ids: Vec<u32> = mirror.detached().map(|entry| entry.id).collect();
        ids.sort_unstable();
        ids
    }

    fn ids(mirror: &Mirror) -> Vec<u32> {
        mirror.tables().flat_map(|(_, table)| table.mounts.values().map(|entry| entry.id)).collect()
    }

    /// A mirror that has read these two mounts of [`HOME`].
    fn holding(mounts: &[Mount; 2]) -> Mirror {
        let mut mirror = Mirror::default();
        mirror.present(HOME.inum, 0);
        assert_eq!(mirror.due(0), Some(HOME.inum));
        for mount in mounts {
            mirror.seed(1, &Mount { ns_mounts: 2, ..mount.clone() });
        }
        mirror.read(HOME.inum, 1, 1);
        mirror
    }

    #[test]
    fn what_left_its_table_is_there_until_it_is_released() {
        let mounts = [Mount { shared: Some(4), ..tests::mount(1) }, tests::mount(2)];
        let mut mirror = holding(&mounts);
        assert!(detached(&mirror).is_empty());
        mirror.section(&section(vec![fact(Role::Detach, &mounts[0])], 2));
        assert_eq!((detached(&mirror), mirror.sizes().detached), (vec![1], 1));
        assert!(mirror.detached().all(|entry| entry.shared.is_none()), "it is in no peer group any more");
        // By numbers alone.
        mirror.section(&section(vec![tests::bare(Some(Role::Detach), &mounts[1..])], 3));
        assert_eq!(detached(&mirror), [1, 2]);
        for mount in &mounts {
            mirror.released(mount.objects.mount);
        }
        assert!(detached(&mirror).is_empty());
    }

    #[test]
    fn what_a_namespace_leaves_is_there_until_it_is_released() {
        let mounts = [tests::mount(1), tests::mount(2)];
        let mut mirror = holding(&mounts);
        let end = NamespaceChange { namespace: HOME, copied_from: None, mounts: 0, made_by: None };
        mirror.section(&section(vec![SectionFact::NamespaceEnd(end)], 2));
        assert_eq!(detached(&mirror), [1, 2]);
        mirror.released(mounts[0].objects.mount);
        assert_eq!(detached(&mirror), [2]);
        mirror.lost(Some(&[HOME]), 3);
        assert!(detached(&mirror).is_empty(), "who would say that it was released?");
    }

    #[test]
    fn what_a_namespace_in_doubt_leaves_may_be_released_already() {
        let mounts = [tests::mount(1), tests::mount(2)];
        let mut mirror = holding(&mounts);
        mirror.released(mounts[0].objects.mount);
        mirror.lost(Some(&[HOME]), 2);
        let end = NamespaceChange { namespace: HOME, copied_from: None, mounts: 0, made_by: None };
        mirror.section(&section(vec![SectionFact::NamespaceEnd(end)], 3));
        assert!(detached(&mirror).is_empty());
    }

    #[test]
    fn what_left_before_a_loss_and_is_heard_of_after_it_is_not_kept() {
        let mounts = [tests::mount(1), tests::mount(2)];
        let mut mirror = holding(&mounts);
        mirror.lost(Some(&[]), 10);
        mirror.section(&section(vec![fact(Role::Detach, &mounts[0])], 10));
        mirror.section(&section(vec![fact(Role::Detach, &mounts[1])], 11));
        assert_eq!(detached(&mirror), [2]);
    }

    #[test]
    fn what_a_descriptor_holds_is_there_until_it_is_put_somewhere() {
        let made = Mount { namespace: None, ..tests::mount(3) };
        let mut mirror = holding(&[tests::mount(1), tests::mount(2)]);
        mirror.attributes(CALL, &Mount { flags: MNT_INTERNAL, ..made.clone() });
        assert!(detached(&mirror).is_empty(), "one of the kernel's own");
        mirror.attributes(CALL, &made);
        mirror.attributes(CALL, &made);
        assert_eq!(detached(&mirror), [3]);
        mirror.section(&section(vec![fact(Role::Attach, &tests::mount(3))], 2));
        assert!(detached(&mirror).is_empty());
    }

    proptest! {
        /// A mount is in a table, detached, or gone: never two of them.
        #[test]
        fn a_mount_is_in_one_place(
            changes in prop::collection::vec((0usize..6, 1u32..6), 0..40),
        ) {
            let mut mirror = Mirror::default();
            for (at, (what, id)) in changes.into_iter().enumerate() {
                let mount = tests::mount(id);
                let roles = [Role::Attach, Role::Move, Role::Change, Role::Detach];
                match roles.get(what) {
                    Some(role) => mirror.section(&section(vec![fact(*role, &mount)], at as u64)),
                    None if what == 4 => mirror.released(mount.objects.mount),
                    // It is told with its namespace while it has one.
                    None if ids(&mirror).contains(&id) => mirror.attributes(CALL, &mount),
                    None => mirror.attributes(CALL, &Mount { namespace: None, ..mount }),
                }
                let all: Vec<u32> = ids(&mirror).into_iter().chain(detached(&mirror)).collect();
                let each: BTreeSet<u32> = all.iter().copied().collect();
                prop_assert_eq!(each.len(), all.len(), "one is in two places: {:?}", all);
            }
        }
    }
}
