//! A table that is read while it changes, births, losses, groups. It is one room, because all of it is about one table and what the
//! same few helpers build.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::operation::{
    ClonedMount, NamespaceChange, Objects,
    tests::{bare, mount},
};

const HOME: Namespace = Namespace { inum: 4_026_531_841, id: 1 };
/// One that sets attributes.
pub(super) const CALL: CallId = CallId { thread: 7, start_ns: 1 };
const OTHER: Namespace = Namespace { inum: 4_026_532_000, id: 2 };

/// A mount of `HOME`, which has `ns_mounts` of them.
fn counted(id: u32, ns_mounts: u32) -> Mount {
    Mount { ns_mounts, ..mount(id) }
}

fn section(facts: Vec<SectionFact>, end_ns: u64) -> Section {
    let number = end_ns;
    Section { number, call: None, actor: None, end_ns, facts, complete: true, asked: None, cause: None }
}

fn fact(role: Role, mount: Mount) -> SectionFact {
    SectionFact::Mount(role, Box::new(mount))
}

/// A mirror that has read these mounts of `HOME`.
fn having(ids: &[u32]) -> Mirror {
    holding(&ids.iter().map(|id| mount(*id)).collect::<Vec<_>>())
}

fn holding(mounts: &[Mount]) -> Mirror {
    let mut mirror = Mirror::default();
    let ns_mounts = u32::try_from(mounts.len()).unwrap();
    mirror.present(HOME.inum, 0);
    assert_eq!(mirror.due(0), Some(HOME.inum));
    for one in mounts {
        mirror.seed(2, &Mount { ns_mounts, ..one.clone() });
    }
    mirror.read(HOME.inum, 1, 3);
    assert_eq!(state(&mirror, HOME), Some(State::Exact));
    mirror
}

fn state(mirror: &Mirror, namespace: Namespace) -> Option<State> {
    mirror.tables.get(&namespace).map(|table| table.state)
}

fn ids(mirror: &Mirror, namespace: Namespace) -> Vec<u32> {
    let mut ids: Vec<u32> =
        mirror.tables.get(&namespace).map_or_else(Vec::new, |table| table.mounts.values().map(|e| e.id).collect());
    ids.sort_unstable();
    ids
}

fn entry(mirror: &Mirror, id: u32) -> Entry {
    let all = mirror.tables().flat_map(|(_, table)| table.mounts.values());
    *all.into_iter().find(|entry| entry.id == id).unwrap()
}

#[test]
fn what_happens_is_put_in() {
    let mut mirror = having(&[1, 2]);
    mirror.section(&section(vec![fact(Role::Attach, counted(3, 2))], 10));
    assert_eq!(ids(&mirror, HOME), [1, 2, 3]);
    let objects = Objects { parent: 1002, ..mount(3).objects };
    mirror.section(&section(vec![fact(Role::Move, Mount { objects, ..counted(3, 3) })], 11));
    assert_eq!(entry(&mirror, 3).parent, 1002);
    mirror.section(&section(vec![fact(Role::Detach, counted(2, 3))], 12));
    assert_eq!((ids(&mirror, HOME), state(&mirror, HOME)), (vec![1, 3], Some(State::Exact)));
    assert!(mirror.due(u64::MAX).is_none(), "nothing had to be read for it");
}

#[test]
fn what_was_there_before_is_unread_until_it_was_read() {
    let mut mirror = Mirror::default();
    let states = |mirror: &Mirror| (mirror.sizes().states.unread, mirror.sizes().states.exact, mirror.unmet().len());
    mirror.present(HOME.inum, 0);
    mirror.present(OTHER.inum, 0);
    assert_eq!(states(&mirror), (2, 0, 2));
    assert_eq!(mirror.due(0), Some(HOME.inum));
    assert_eq!(states(&mirror), (2, 0, 2));
    mirror.seed(2, &counted(1, 1));
    assert_eq!(states(&mirror), (2, 0, 1), "one of them has a name");
    mirror.read(HOME.inum, 1, 3);
    assert_eq!(states(&mirror), (1, 1, 1));
    // The other one ended just then.
    assert_eq!(mirror.due(3), Some(OTHER.inum));
    mirror.unreadable(OTHER.inum, 4);
    assert_eq!(states(&mirror), (0, 1, 0));
}

#[test]
fn another_count_than_the_kernels_is_wrong() {
    let mut mirror = having(&[1, 2]);
    mirror.section(&section(vec![fact(Role::Attach, counted(3, 7))], 10));
    assert_eq!((state(&mirror, HOME), mirror.due(u64::MAX)), (Some(State::Dirty), Some(HOME.inum)));
    assert_eq!(mirror.reads().counts().of(ReadReason::Count), 1);
}

#[test]
fn a_reading_drops_what_it_does_not_find() {
    let mut mirror = having(&[1, 2]);
    mirror.lost(Some(&[HOME]), 10);
    assert_eq!(state(&mirror, HOME), Some(State::Dirty));
    assert_eq!(mirror.due(10), Some(HOME.inum));
    mirror.section(&section(vec![fact(Role::Attach, counted(5, 1))], 21));
    mirror.seed(22, &counted(1, 2));
    mirror.read(HOME.inum, 20, 30);
    assert_eq!((ids(&mirror, HOME), state(&mirror, HOME)), (vec![1, 5], Some(State::Exact)));
    // One that comes while it is read makes it be read again, later each time.
    mirror.lost(None, 40);
    assert!(mirror.due(40).is_none(), "it was wrong just before");
    let due_ns = mirror.next_due_ns().unwrap();
    assert!(due_ns > 40 && mirror.due(due_ns) == Some(HOME.inum));
    assert_eq!(mirror.reads().counts().of(ReadReason::Lost), 2);
}

#[test]
fn a_loss_while_it_is_read_makes_the_reading_worthless() {
    let mut mirror = having(&[1]);
    mirror.lost(None, 10);
    assert_eq!(mirror.due(10), Some(HOME.inum));
    mirror.lost(None, 11);
    mirror.seed(12, &counted(1, 1));
    mirror.read(HOME.inum, 11, 13);
    assert_eq!(state(&mirror, HOME), Some(State::Dirty));
    assert_eq!(mirror.due(u64::MAX), Some(HOME.inum));
}

#[test]
fn who_does_not_heal_reads_nothing() {
    let mut mirror = Mirror::without_healing();
    mirror.made(HOME, 1);
    mirror.lost(None, 2);
    assert!(mirror.due(u64::MAX).is_none());
    mirror.present(HOME.inum, 3);
    assert_eq!(mirror.due(3), Some(HOME.inum));
}

fn clones(of: &[(u32, u32)], mounts: u32) -> Clones {
    let one = |(original, id): &(u32, u32)| ClonedMount {
        identity: u64::from(*id) + 1000,
        original: u64::from(*original) + 1000,
        id: *id,
        flags: 0x21,
        shared: None,
        master: Some(4),
        unbindable: false,
    };
    Clones { namespace: Some(OTHER), copied_from: Some(HOME), mounts, clones: of.iter().map(one).collect() }
}

#[test]
fn a_birth_costs_no_reading() {
    let mut mirror = having(&[1, 2, 3]);
    let first = Clones { namespace: None, ..clones(&[(1, 11), (2, 12)], 0) };
    let batches = vec![SectionFact::Clones(first), SectionFact::Clones(clones(&[(3, 13)], 3))];
    mirror.section(&section(batches, 10));
    mirror.made(OTHER, 11);
    assert_eq!((ids(&mirror, OTHER), state(&mirror, OTHER)), (vec![11, 12, 13], Some(State::Exact)));
    let (root, child) = (entry(&mirror, 11), entry(&mirror, 12));
    assert_eq!((root.parent, root.parent_id), (1011, 11), "its own");
    assert_eq!((child.parent, child.parent_id, child.master), (1011, 11, Some(4)));
    assert_eq!((child.flags, child.mountpoint), (0x21, entry(&mirror, 2).mountpoint));
    assert!(mirror.due(u64::MAX).is_none());
}

#[test]
fn a_birth_of_which_something_is_missing_is_read() {
    let mut mirror = having(&[1, 2]);
    mirror.section(&section(vec![SectionFact::Clones(clones(&[(1, 11)], 2))], 10));
    assert_eq!((state(&mirror, OTHER), mirror.due(u64::MAX)), (Some(State::Unread), Some(OTHER.inum)));
}

#[test]
fn a_fact_of_before_a_remount_does_not_undo_it() {
    let told = |told_ns, flags| Mount { told_ns, flags, ..counted(2, 2) };
    for (fact_ns, flags) in [(10, 0x21), (30, 0x20)] {
        let mut mirror = having(&[1, 2]);
        // The section began before the remount was told, and ends after.
        mirror.attributes(CALL, &told(20, 0x21));
        mirror.section(&section(vec![fact(Role::Change, told(fact_ns, 0x20))], 40));
        assert_eq!(entry(&mirror, 2).flags, flags, "told at {fact_ns}");
        mirror.section(&section(vec![bare(Some(Role::Change), &[told(fact_ns, 0x20)])], 50));
        assert_eq!(entry(&mirror, 2).flags, flags, "and again by number");
        // Who told it late, because it was stopped, does not either.
        mirror.attributes(CALL, &told(5, 0x24));
        assert_eq!(entry(&mirror, 2).flags, flags, "told first");
    }
}

/// Of a tree of two mounts the attributes are told at 20 and 30, by a call that began at 15.
#[test]
fn a_tree_that_changed_while_its_attributes_were_told_is_read() {
    let call = CallId { start_ns: 15, ..CALL };
    let told = |id, told_ns| Mount { told_ns, ..counted(id, 3) };
    let moved = |told_ns| fact(Role::Move, told(3, told_ns));
    let lead = 10_000_000;
    for (what, first_ns, end_ns, raced) in [
        ("before", 10, 14, false),
        ("when they were set", 10, 15, true),
        ("at its beginning", 10, 25, true),
        ("within", 22, 25, true),
        ("at its end", 25, 40, true),
        ("perhaps at its end", 30 + lead, 40 + lead, true),
        ("behind", 31 + lead, 41 + lead, false),
    ] {
        for by_number in [false, true] {
            let mut mirror = having(&[1, 2, 3]);
            let facts = if by_number { vec![bare(Some(Role::Move), &[told(3, 9)])] } else { vec![moved(first_ns)] };
            let section = section(facts, end_ns);
            // A section comes in its place, which is the time of its end.
            if end_ns < 20 {
                mirror.section(&section);
            }
            mirror.attributes(call, &told(1, 20));
            if (20..30).contains(&end_ns) {
                mirror.section(&section);
            }
            mirror.attributes(call, &told(2, 30));
            if end_ns >= 30 {
                mirror.section(&section);
            }
            let raced = raced || by_number && end_ns > 20;
            let expected = if raced { State::Dirty } else { State::Exact };
            assert_eq!(state(&mirror, HOME), Some(expected), "{what}, by number: {by_number}");
            let doubts = if raced { vec![(HOME, Doubt::Attributes)] } else { Vec::new() };
            assert_eq!((mirror.doubted(), mirror.take_doubts()), (u64::from(raced), doubts), "{what}");
            assert_eq!(mirror.take_doubts(), [], "it is said once");
        }
    }
}

/// Mounts 3 and 5 stand on 2, 4 stands on 3, and the attributes of the tree of 3 are set, of which a mount is moved at 15.
#[test]
fn what_is_not_moved_out_of_a_tree_was_told_with_it() {
    let on = |id: u32, parent: u64| {
        let objects = Objects { parent: 1000 + parent, ..mount(id).objects };
        Mount { objects, told_ns: 15, ..counted(id, 5) }
    };
    let mounts = [on(1, 1), on(2, 1), on(3, 2), on(4, 3), on(5, 2)];
    let moving = |id, parent| section(vec![fact(Role::Move, on(id, parent))], 16);
    let told = |id| Mount { told_ns: 20, ..on(id, 3) };
    for (what, id, parent, raced) in [
        ("out of it", 4, 2, true),
        ("within it", 4, 3, true),
        ("as a whole", 3, 1, false),
        ("with what it stands on", 2, 1, false),
        ("elsewhere", 5, 1, false),
        ("into it", 5, 3, false),
    ] {
        for moved_first in [true, false] {
            let mut mirror = holding(&mounts);
            let section = moving(id, parent);
            if moved_first {
                mirror.section(&section);
            }
            mirror.attributes(CALL, &told(3));
            mirror.attributes(CALL, &told(4));
            if !moved_first {
                mirror.section(&section);
            }
            let expected = if raced { State::Dirty } else { State::Exact };
            assert_eq!(state(&mirror, HOME), Some(expected), "{what}, moved first: {moved_first}");
        }
    }
    // Of more moves than are kept nobody knows any more.
    for (times, state_then) in [(64, State::Exact), (65, State::Dirty)] {
        let mut mirror = holding(&mounts);
        for _ in 0..times {
            mirror.section(&moving(5, 1));
        }
        mirror.attributes(CALL, &told(3));
        mirror.attributes(CALL, &told(4));
        assert_eq!(state(&mirror, HOME), Some(state_then), "{times} moves");
    }
}

#[test]
fn what_moves_nothing_or_no_tree_was_told_races_with_nothing() {
    let told = |id, told_ns| Mount { told_ns, ..counted(id, 3) };
    let mut mirror = having(&[1, 2, 3]);
    mirror.attributes(CALL, &told(1, 20));
    mirror.section(&section(vec![fact(Role::Move, told(3, 20))], 25));
    assert_eq!(state(&mirror, HOME), Some(State::Exact), "one mount is no tree");
    mirror.attributes(CallId { start_ns: 28, ..CALL }, &told(1, 30));
    mirror.section(&section(vec![fact(Role::Change, told(3, 31))], 32));
    mirror.attributes(CallId { start_ns: 28, ..CALL }, &told(2, 33));
    assert_eq!(state(&mirror, HOME), Some(State::Exact), "propagation alone");
    let (comes, goes) = (Mount { ns_mounts: 3, ..told(4, 31) }, Mount { ns_mounts: 4, ..told(3, 33) });
    mirror.section(&section(vec![fact(Role::Attach, comes)], 32));
    mirror.section(&section(vec![fact(Role::Detach, goes)], 34));
    mirror.attributes(CallId { start_ns: 28, ..CALL }, &told(2, 35));
    assert_eq!(state(&mirror, HOME), Some(State::Exact), "what comes says how it is, and what goes is in no table");
}

/// Its attributes are told at 20, and the section in which it came ends at 40; what that says of it was told at 10, or at 30.
#[test]
fn attributes_of_a_mount_whose_section_has_not_ended_are_not_lost() {
    let told = |told_ns, flags| Mount { told_ns, flags, ..counted(2, 2) };
    for (fact_ns, flags) in [(10, 0x21), (30, 0x20)] {
        let attached = || fact(Role::Attach, Mount { ns_mounts: 1, ..told(fact_ns, 0x20) });
        let mut mirror = having(&[1]);
        mirror.attributes(CALL, &told(20, 0x21));
        mirror.section(&section(vec![attached()], 40));
        assert_eq!((entry(&mirror, 2).flags, state(&mirror, HOME)), (flags, Some(State::Exact)), "told at {fact_ns}");
        // The same of one that was in a detached tree.
        let mut mirror = having(&[1]);
        mirror.attributes(CALL, &Mount { namespace: None, ..told(5, 0x20) });
        mirror.attributes(CALL, &told(20, 0x21));
        mirror.section(&section(vec![attached()], 40));
        assert_eq!(entry(&mirror, 2).flags, flags, "told at {fact_ns}, detached before");
    }
}

#[test]
fn who_may_be_left_in_a_table_that_is_not_known_is_not_gone() {
    let other = Namespace { inum: 4_026_532_001, id: 3 };
    for known in [true, false] {
        let mut mirror = holding(&[slave(3, 5)]);
        let member = Mount { namespace: Some(OTHER), ..peer(2, 5, 2, Some(4)) };
        mirror.made(OTHER, 4);
        assert_eq!(mirror.due(4), Some(OTHER.inum));
        mirror.seed(6, &Mount { ns_mounts: 1, ..member });
        mirror.read(OTHER.inum, 5, 7);
        if !known {
            mirror.present(other.inum, 8);
        }
        let change = NamespaceChange { namespace: OTHER, copied_from: None, mounts: 1, made_by: None };
        mirror.section(&section(vec![SectionFact::NamespaceEnd(change)], 10));
        let expected = if known { (Some(4), Some(State::Exact)) } else { (Some(5), Some(State::Dirty)) };
        assert_eq!((entry(&mirror, 3).master, state(&mirror, HOME)), expected, "all known: {known}");
    }
}

#[test]
fn a_table_that_told_nothing_is_looked_for_again() {
    let mut mirror = Mirror::default();
    mirror.present(HOME.inum, 0);
    assert_eq!(mirror.due(0), Some(HOME.inum));
    mirror.read(HOME.inum, 1, 2);
    assert_eq!(mirror.due(2), None);
    assert_eq!(mirror.due(mirror.next_due_ns().unwrap()), Some(HOME.inum), "nothing is known of it");
    mirror.unreadable(HOME.inum, 100_000_000);
    assert_eq!(mirror.next_due_ns(), None, "it has ended");
    // One that ended while it was compared is not.
    let mut mirror = having(&[1]);
    mirror.begin_audit(10);
    assert_eq!(mirror.due(10), Some(HOME.inum));
    let change = NamespaceChange { namespace: HOME, copied_from: None, mounts: 1, made_by: None };
    mirror.section(&section(vec![SectionFact::NamespaceEnd(change)], 11));
    mirror.read(HOME.inum, 10, 12);
    assert_eq!(mirror.next_due_ns(), None);
}

#[test]
fn a_namespace_of_two_trees_is_read() {
    // As open_tree(2) makes one: on which of the mounts the tree was put nothing tells.
    let mut mirror = having(&[1, 2, 3]);
    mirror.section(&section(vec![SectionFact::Clones(clones(&[(2, 12), (3, 13)], 2))], 10));
    assert_eq!((state(&mirror, OTHER), mirror.due(u64::MAX)), (Some(State::Unread), Some(OTHER.inum)));
}

#[test]
fn an_end_takes_the_table_along() {
    let mut mirror = having(&[1]);
    let change = NamespaceChange { namespace: HOME, copied_from: None, mounts: 1, made_by: None };
    mirror.section(&section(vec![SectionFact::NamespaceEnd(change)], 10));
    assert_eq!(mirror.sizes(), Sizes { detached: 1, ..Sizes::default() }, "its mount is still to be released");
}

#[test]
fn what_is_heard_of_a_namespace_after_its_end_makes_no_table() {
    for end in [true, false] {
        let mut mirror = having(&[1]);
        if end {
            let change = NamespaceChange { namespace: HOME, copied_from: None, mounts: 1, made_by: None };
            mirror.section(&section(vec![SectionFact::NamespaceEnd(change)], 10));
        }
        mirror.lost(Some(&[HOME, OTHER]), 11);
        assert_eq!(state(&mirror, HOME), (!end).then_some(State::Dirty));
        assert_eq!(state(&mirror, OTHER), Some(State::Unread), "its birth is still to come, or lost");
    }
}

#[test]
fn a_namespace_that_nobody_is_seen_in_is_forgotten_after_a_while() {
    let mut mirror = Mirror::default();
    mirror.made(HOME, 1);
    let mut now_ns = 1;
    while state(&mirror, HOME).is_some() {
        assert_eq!(mirror.due(now_ns), Some(HOME.inum));
        mirror.unreadable(HOME.inum, now_ns);
        now_ns = mirror.next_due_ns().unwrap_or(now_ns);
    }
    assert!(now_ns > 500_000_000, "who makes one may not be seen in it at once: {now_ns}");
    assert_eq!((mirror.sizes(), mirror.next_due_ns()), (Sizes::default(), None));
    // It may be one without a process, bound to a file: it is met again with each change in it, and not looked for each time.
    mirror.made(HOME, now_ns + 1);
    assert_eq!((state(&mirror, HOME), mirror.due(now_ns + 1)), (Some(State::Unread), None));
    assert_eq!(mirror.due(now_ns + 60_000_000_000), Some(HOME.inum));
}

#[test]
fn a_table_that_could_not_be_read_is_read_again() {
    let mut mirror = having(&[1]);
    mirror.lost(None, 10);
    assert_eq!(mirror.due(10), Some(HOME.inum));
    mirror.failed(HOME.inum, 11);
    assert_eq!((state(&mirror, HOME), mirror.due(u64::MAX)), (Some(State::Dirty), Some(HOME.inum)));
    // One that told nothing is none.
    mirror.read(HOME.inum, 20, 21);
    assert_eq!((state(&mirror, HOME), mirror.due(u64::MAX)), (Some(State::Dirty), Some(HOME.inum)));
}

#[test]
fn of_two_namespaces_of_one_number_one_has_ended() {
    let mut mirror = having(&[1]);
    let heir = Namespace { id: 9, ..HOME };
    mirror.made(heir, 10);
    assert_eq!(mirror.due(10), Some(HOME.inum));
    mirror.seed(21, &Mount { namespace: Some(heir), ..counted(7, 1) });
    mirror.read(HOME.inum, 20, 22);
    assert_eq!((state(&mirror, HOME), state(&mirror, heir)), (None, Some(State::Exact)));
}

#[test]
fn a_namespace_is_born_of_one_whose_attributes_are_in_doubt() {
    for (lost, born) in [(false, State::Exact), (true, State::Unread)] {
        let mut mirror = having(&[1]);
        mirror.attributes_unknown(HOME, 9);
        if lost {
            mirror.lost(Some(&[HOME]), 9);
        }
        mirror.section(&section(vec![SectionFact::Clones(clones(&[(1, 11)], 1))], 10));
        assert_eq!((state(&mirror, HOME), state(&mirror, OTHER)), (Some(State::Dirty), Some(born)), "lost: {lost}");
    }
}

#[test]
fn what_was_cloned_for_nothing_is_nowhere() {
    let mut mirror = having(&[1]);
    let thrown_away = Clones { namespace: None, ..clones(&[(1, 11)], 0) };
    mirror.section(&section(vec![SectionFact::Clones(thrown_away.clone())], 10));
    assert!(mirror.tables.get(&DETACHED).is_none_or(|table| table.mounts.is_empty()));
    let detached = Clones { mounts: 1, ..thrown_away };
    mirror.section(&section(vec![SectionFact::Clones(detached)], 11));
    assert_eq!(mirror.tables[&DETACHED].mounts.len(), 1);
    mirror.lost(None, 12);
    assert!(!mirror.tables.contains_key(&DETACHED));
}

/// A mount of group `shared` whose next peer is `next`.
fn peer(id: u32, shared: u32, next: u32, master: Option<u32>) -> Mount {
    let mount = mount(id);
    let objects = Objects { next_peer: u64::from(next) + 1000, ..mount.objects };
    Mount { objects, shared: Some(shared), master, ..mount }
}

fn slave(id: u32, master: u32) -> Mount {
    Mount { master: Some(master), ..mount(id) }
}

#[test]
fn slaves_of_a_group_that_goes_have_its_master() {
    let before = [peer(1, 5, 2, Some(4)), peer(2, 5, 1, Some(4)), slave(3, 5), peer(9, 4, 9, None)];
    let mut mirror = holding(&before);
    let goes = |mount: &Mount, ns_mounts| fact(Role::Detach, Mount { ns_mounts, ..mount.clone() });
    mirror.section(&section(vec![goes(&before[0], 4)], 10));
    assert_eq!(entry(&mirror, 3).master, Some(5), "a peer is left");
    let last = peer(2, 5, 2, Some(4));
    mirror.section(&section(vec![goes(&last, 3)], 11));
    assert_eq!(entry(&mirror, 3).master, Some(4));
    mirror.section(&section(vec![goes(&before[3], 2)], 12));
    assert_eq!(entry(&mirror, 3).master, None);
}

#[test]
fn a_group_goes_when_all_that_follow_each_other_go() {
    let before = [peer(1, 5, 2, Some(4)), peer(2, 5, 1, Some(4)), slave(3, 5), peer(9, 4, 9, None)];
    let goes = |mount: &Mount| fact(Role::Detach, Mount { ns_mounts: 4, ..mount.clone() });
    let mut mirror = holding(&before);
    mirror.section(&section(vec![goes(&before[0]), goes(&before[1])], 10));
    assert_eq!(entry(&mirror, 3).master, Some(4));
    // Its master goes too: the slaves have nobody.
    let mut mirror = holding(&before);
    mirror.section(&section(vec![goes(&before[3]), goes(&before[0]), goes(&before[1])], 10));
    assert_eq!(entry(&mirror, 3).master, None);
}

#[test]
fn who_leaves_a_group_as_the_last_hands_its_slaves_on() {
    let mut mirror = holding(&[peer(1, 5, 1, Some(4)), slave(3, 5)]);
    let left = Mount { shared: None, master: None, ..counted(1, 2) };
    let facts = vec![SectionFact::GroupEnd { group: 5, heir: Some(4) }, fact(Role::Change, left)];
    mirror.section(&section(facts, 10));
    assert_eq!((entry(&mirror, 3).master, entry(&mirror, 1).shared), (Some(4), None));
}

#[test]
fn slaves_of_a_namespace_that_ends_have_no_master() {
    let mut mirror = having(&[3]);
    mirror.section(&section(vec![SectionFact::Clones(clones(&[(3, 13)], 1))], 10));
    let shared = Mount { namespace: Some(OTHER), ..peer(13, 5, 13, None) };
    mirror.section(&section(vec![fact(Role::Change, Mount { ns_mounts: 1, ..shared })], 11));
    mirror.section(&section(vec![fact(Role::Change, Mount { ns_mounts: 1, ..slave(3, 5) })], 12));
    let change = NamespaceChange { namespace: OTHER, copied_from: None, mounts: 1, made_by: None };
    mirror.section(&section(vec![SectionFact::NamespaceEnd(change)], 13));
    assert_eq!(entry(&mirror, 3).master, None);
}

#[test]
fn a_lost_end_of_a_group_makes_its_slaves_doubtful() {
    let mut mirror = having(&[3]);
    mirror.section(&section(vec![fact(Role::Change, Mount { ns_mounts: 1, ..slave(3, 5) })], 10));
    let shared = Mount { namespace: Some(OTHER), ..peer(13, 5, 13, None) };
    mirror.present(OTHER.inum, 10);
    assert_eq!(mirror.due(10), Some(OTHER.inum));
    mirror.seed(11, &Mount { ns_mounts: 1, ..shared });
    mirror.read(OTHER.inum, 10, 12);
    mirror.lost(Some(&[OTHER]), 20);
    assert_eq!(mirror.due(20), Some(OTHER.inum));
    mirror.seed(31, &Mount { namespace: Some(OTHER), ..counted(14, 1) });
    mirror.read(OTHER.inum, 30, 32);
    assert_eq!((state(&mirror, OTHER), state(&mirror, HOME)), (Some(State::Exact), Some(State::Dirty)));
}

#[test]
fn an_audit_finds_what_differs_and_changes_nothing() {
    let mut mirror = having(&[1, 2, 3]);
    mirror.begin_audit(10);
    assert_eq!((mirror.due(10), mirror.audit().is_done()), (Some(HOME.inum), false));
    mirror.seed(21, &counted(1, 3));
    mirror.seed(22, &Mount { shared: Some(8), ..counted(2, 3) });
    mirror.seed(23, &Mount { flags: 0x21, ..counted(3, 3) });
    mirror.read(HOME.inum, 20, 24);
    assert!(mirror.audit().is_done());
    assert_eq!((mirror.audit().compared(), mirror.audit().differing()), (3, 2));
    let words: Vec<&str> = mirror.audit().differences().collect();
    assert!(words[0].contains("mount 2: group: mirror 0, kernel 8"), "{words:?}");
    assert_eq!(entry(&mirror, 2).shared, None, "nothing is healed");
    // Attributes are told outside of sections, maybe after the reading.
    mirror.attributes(CALL, &Mount { flags: 0x21, ..mount(3) });
    assert_eq!((mirror.audit().differing(), entry(&mirror, 3).flags), (1, 0x21));
    assert_eq!(mirror.reads().counts().of(ReadReason::Asked), 1);
}

#[test]
fn what_was_lost_is_no_difference_when_it_is_heard_of() {
    for (lost, differing) in [(HOME, 0), (OTHER, 2)] {
        let mut mirror = having(&[1]);
        mirror.begin_audit(10);
        assert_eq!(mirror.due(10), Some(HOME.inum));
        mirror.seed(12, &counted(9, 2));
        assert_eq!(mirror.audit().differing(), 2, "one that is not known, and another count");
        mirror.lost(Some(&[lost]), 13);
        assert_eq!(mirror.audit().differing(), differing);
    }
}

#[test]
fn an_audit_finds_what_is_missing_on_either_side() {
    let mut mirror = having(&[1, 2]);
    mirror.begin_audit(10);
    assert_eq!(mirror.due(10), Some(HOME.inum));
    mirror.seed(21, &counted(1, 2));
    mirror.seed(22, &counted(7, 2));
    mirror.read(HOME.inum, 20, 24);
    let words: Vec<&str> = mirror.audit().differences().collect();
    assert_eq!(words.len(), 2, "{words:?}");
    assert!(words[0].contains("mount 7: the mirror has no such mount"), "{words:?}");
    assert!(words[1].contains("mount 2: the kernel has no such mount"), "{words:?}");
}

#[test]
fn an_audit_does_not_wait_for_who_has_ended() {
    let mut mirror = having(&[1]);
    mirror.begin_audit(10);
    let change = NamespaceChange { namespace: HOME, copied_from: None, mounts: 1, made_by: None };
    mirror.section(&section(vec![SectionFact::NamespaceEnd(change)], 11));
    assert!(mirror.audit().is_done() && mirror.due(u64::MAX).is_none());
}

#[test]
fn attributes_that_nobody_told_are_no_difference_once_the_table_is_in_doubt() {
    let mut mirror = having(&[1]);
    mirror.begin_audit(10);
    assert_eq!(mirror.due(10), Some(HOME.inum));
    mirror.seed(21, &Mount { flags: 0x21, ..counted(1, 1) });
    mirror.read(HOME.inum, 20, 22);
    assert_eq!(mirror.audit().differing(), 1);
    mirror.attributes_unknown(HOME, 23);
    assert_eq!(mirror.audit().differing(), 0);
}

#[test]
fn who_asked_does_not_keep_a_table_from_being_healed() {
    let mut mirror = having(&[1]);
    mirror.begin_audit(10);
    // Before the comparison's turn comes, it is known that there is nothing to rely upon.
    mirror.attributes_unknown(HOME, 11);
    assert!(mirror.audit().is_done());
    assert_eq!(mirror.due(u64::MAX), Some(HOME.inum));
    mirror.seed(21, &counted(1, 1));
    mirror.read(HOME.inum, 20, 22);
    assert_eq!(state(&mirror, HOME), Some(State::Exact));
    let counts = [ReadReason::Attributes, ReadReason::Asked].map(|reason| mirror.reads().counts().of(reason));
    assert_eq!(counts, [1, 0]);
}

#[test]
fn who_asks_while_it_is_compared_does_not_have_it_read_for_nothing() {
    let mut mirror = having(&[1]);
    mirror.begin_audit(10);
    assert_eq!(mirror.due(10), Some(HOME.inum));
    mirror.begin_audit(11);
    mirror.seed(21, &counted(1, 1));
    mirror.read(HOME.inum, 20, 22);
    assert!(mirror.audit().is_done() && mirror.due(u64::MAX).is_none());
}

#[test]
fn what_becomes_doubtful_while_it_is_compared_is_read_after_that() {
    let mut mirror = having(&[1]);
    mirror.begin_audit(10);
    assert_eq!(mirror.due(10), Some(HOME.inum));
    mirror.attributes_unknown(HOME, 11);
    mirror.seed(21, &counted(1, 1));
    mirror.read(HOME.inum, 20, 22);
    assert_eq!((state(&mirror, HOME), mirror.due(u64::MAX)), (Some(State::Dirty), Some(HOME.inum)));
}

proptest! {
    /// However a reading, losses of single facts and changes interleave: a reading that began after the last loss leaves the kernel's table.
    #[test]
    fn a_reading_after_the_last_loss_is_the_table(
        before in prop::collection::btree_set(1u32..20, 0..10),
        changes in prop::collection::vec((1u32..20, any::<bool>()), 0..30),
        after in prop::collection::vec((1u32..20, 0usize..30), 0..20),
    ) {
        let mut kernel: BTreeSet<u32> = before;
        // A namespace has a root.
        kernel.insert(30);
        let mut mirror = having(&kernel.iter().copied().collect::<Vec<_>>());
        let mut now_ns = 10;
        let change = |kernel: &mut BTreeSet<u32>, mirror: &mut Mirror, id, told, now_ns| {
            let count = u32::try_from(kernel.len()).unwrap();
            let role = if kernel.remove(&id) { Role::Detach } else { Role::Attach };
            if role == Role::Attach {
                kernel.insert(id);
            }
            if told {
                mirror.section(&section(vec![fact(role, counted(id, count))], now_ns));
            }
        };
        for (id, told) in changes {
            now_ns += 1;
            change(&mut kernel, &mut mirror, id, told, now_ns);
        }
        mirror.lost(None, now_ns);
        let began_ns = now_ns + 1;
        let _ = mirror.due(u64::MAX);
        let mut next = 0;
        for step in 0..60 {
            now_ns += 1;
            for (id, _) in after.iter().filter(|(_, at)| *at == step) {
                change(&mut kernel, &mut mirror, *id, true, now_ns);
            }
            if let Some(id) = kernel.range(next..).next().copied() {
                mirror.seed(now_ns, &counted(id, u32::try_from(kernel.len()).unwrap()));
                next = id + 1;
            }
        }
        mirror.read(HOME.inum, began_ns, now_ns);
        prop_assert_eq!(state(&mirror, HOME), Some(State::Exact));
        prop_assert_eq!(ids(&mirror, HOME), kernel.into_iter().collect::<Vec<_>>());
    }

    /// Whatever comes, in whatever order, is borne.
    #[test]
    fn any_facts_are_borne(steps in prop::collection::vec((0u8..10, 1u32..6, 0u32..4, 1u32..6), 0..60)) {
        let mut mirror = having(&[1, 2]);
        for (step, (what, id, group, next)) in steps.into_iter().enumerate() {
            let now_ns = 100 + step as u64;
            let some = |group: u32| (group != 0).then_some(group);
            let mount = Mount { master: some(next % 3), ..peer(id, group, next, None) };
            let mount = Mount { shared: some(group), ns_mounts: 2, ..mount };
            match what {
                0 => mirror.section(&section(vec![fact(Role::Attach, mount)], now_ns)),
                1 => mirror.section(&section(vec![fact(Role::Detach, mount)], now_ns)),
                2 => mirror.section(&section(vec![fact(Role::Change, mount)], now_ns)),
                3 => mirror.section(&section(vec![SectionFact::GroupEnd { group, heir: some(next) }], now_ns)),
                4 => mirror.section(&section(vec![SectionFact::Clones(clones(&[(id, id + 10)], 1))], now_ns)),
                5 => mirror.lost(None, now_ns),
                6 => mirror.seed(now_ns, &mount),
                7 => mirror.read(HOME.inum, now_ns - 1, now_ns),
                8 => mirror.begin_audit(now_ns),
                _ => drop(mirror.due(u64::MAX)),
            }
            for (namespace, table) in mirror.tables() {
                let doubtful = table.state != State::Exact;
                prop_assert!(!doubtful || mirror.reads.is_wanted(namespace.inum), "nobody reads {namespace:?}");
            }
            // The index of groups says what the tables say.
            let mut index = Groups::default();
            for (place, table) in &mirror.tables {
                for (identity, entry) in &table.mounts {
                    index.add(*place, *identity, entry);
                }
            }
            prop_assert_eq!(&index, &mirror.groups);
        }
    }
}
