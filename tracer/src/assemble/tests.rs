//! Sections and calls made by hand.

use super::*;
use crate::operation::{
    Actor, Namespace, NamespaceChange,
    tests::{self, mount},
};

const ID: CallId = CallId { thread: 0x2a_0000_002a, start_ns: 5 };

fn actor() -> Actor {
    Actor { pid: 42, tid: 42, comm: b"mount".to_vec(), uid: 0, cgroup_id: 1, namespace: None }
}

fn call(syscall: Syscall, flags: u64, errno: u32) -> CallEnd {
    CallEnd {
        id: ID,
        syscall,
        errno,
        end_ns: 100,
        actor: actor(),
        claimed: Claimed { flags, ..Claimed::default() },
        target_id: 1,
        found: Found::None,
        sections: 0,
        target: None,
        superblock: None,
    }
}

fn of(role: Role, mount: Mount) -> SectionFact {
    SectionFact::Mount(role, Box::new(mount))
}

fn section(call: Option<CallId>, facts: Vec<SectionFact>) -> Section {
    Section { number: 1, call, actor: Some(actor()), end_ns: 50, facts, complete: true, asked: None, cause: None }
}

/// The only operation.
fn operation(assembled: Vec<Assembled>) -> Operation {
    match <[Assembled; 1]>::try_from(assembled) {
        Ok([Assembled::Operation(operation)]) => *operation,
        other => panic!("no operation: {other:?}"),
    }
}

fn child(id: u32, parent_id: u32) -> Mount {
    Mount { parent_id, ..mount(id) }
}

#[test]
fn a_mount_and_its_copies_are_one_operation() {
    let mut assemble = Assemble::default();
    let copies = [3, 4].map(|id| SectionFact::Copy(mount(id).key()));
    // The copies are trees: what stands below one of them is propagated too.
    let entered = [child(2, 1), child(5, 2), child(3, 1), child(6, 3), child(4, 1)].map(|one| of(Role::Attach, one));
    let facts = copies.into_iter().chain(entered).collect();
    assert_eq!(assemble.section(section(Some(ID), facts)), [Assembled::Nothing]);
    let operation = operation(assemble.call(call(Syscall::Mount, ms::BIND, 0)));
    assert_eq!((operation.op, operation.complete), (Op::Bind, true));
    let seen: Vec<_> = operation.effects.unwrap().iter().map(|effect| (effect.mount.id, effect.propagated)).collect();
    let direct = [(2, Some(false)), (5, Some(false))];
    let propagated = [(3, Some(true)), (6, Some(true)), (4, Some(true))];
    assert_eq!(seen, [&direct[..], &propagated[..]].concat(), "the direct ones first");
}

#[test]
fn mounts_without_names_are_counted_and_stand_between_those_that_have_one() {
    let mut assemble = Assemble::default();
    // The leaves first, and of the way to the root only numbers: 5 stands on 4, 4 on 3, 3 is the root. 9 is elsewhere.
    let named = [child(5, 4), child(9, 8)].map(|mount| of(Role::Detach, mount));
    let bare = tests::bare(Some(Role::Detach), &[child(4, 3), child(3, 1)]);
    let states = tests::bare(None, &[mount(7)]);
    let facts = named.into_iter().chain([bare, states]).collect();
    assert_eq!(assemble.section(section(Some(ID), facts)), [Assembled::Nothing]);
    let operation = operation(assemble.call(CallEnd { target_id: 3, ..call(Syscall::Umount, 2, 0) }));
    assert_eq!((operation.op, operation.complete, operation.unlisted), (Op::Umount, true, 2));
    let seen: Vec<_> = operation.effects.unwrap().iter().map(|effect| (effect.mount.id, effect.propagated)).collect();
    assert_eq!(seen, [(5, Some(false)), (9, Some(true))]);
}

#[test]
fn a_namespace_for_a_descriptor_is_told_before_its_call_ends() {
    let made = |inum| {
        let namespace = Namespace { inum, id: inum.into() };
        NamespaceChange { namespace, copied_from: None, mounts: 3, made_by: None }
    };
    let mut assemble = Assemble::default();
    assemble.made(ID, made(7));
    let first = operation(assemble.call(call(Syscall::OpenTree, MAKES_NAMESPACE, 0)));
    assert_eq!((first.op, first.namespace, first.errno()), (Op::NamespaceCreated, Some(made(7)), Some(0)));
    // What was said of an earlier call of the thread, whose end was missed, is none of this one's.
    assemble.made(CallId { start_ns: 1, ..ID }, made(8));
    let second = operation(assemble.call(call(Syscall::Fsmount, MAKES_NAMESPACE, 1)));
    assert_eq!((second.op, second.namespace, second.errno()), (Op::NamespaceCreated, None, Some(1)));
}

#[test]
fn what_was_asked_for_may_be_told_like_a_copy() {
    let mut assemble = Assemble::default();
    let mut seen = |moved: Option<Mount>| {
        let copies = [3, 2].map(|id| SectionFact::Copy(mount(id).key()));
        let entered = [child(2, 1), child(3, 1)].map(|one| of(Role::Attach, one));
        let moved = moved.map(|mount| of(Role::Move, mount));
        assemble.section(section(Some(ID), copies.into_iter().chain(entered).chain(moved).collect()));
        let effects = operation(assemble.call(call(Syscall::Mount, 0, 0))).effects.unwrap();
        effects.iter().map(|effect| (effect.mount.id, effect.propagated)).collect::<Vec<_>>()
    };
    assert_eq!(seen(None), [(2, Some(false)), (3, Some(true))], "the first one that enters");
    let moved = [(4, Some(false)), (2, Some(true)), (3, Some(true))];
    assert_eq!(seen(Some(child(4, 1))), moved, "what moves does not enter");
    let gave_way = [(2, Some(false)), (4, Some(false)), (3, Some(true))];
    assert_eq!(seen(Some(child(4, 3))), gave_way, "what stands on a copy now was there before");
}

#[test]
fn copies_of_a_failed_attach_are_no_effects() {
    let mut assemble = Assemble::default();
    let copy = || SectionFact::Copy(mount(3).key());
    assemble.section(section(Some(ID), vec![copy()]));
    assert_eq!(operation(assemble.call(call(Syscall::Mount, 0, 28))).effects, Some(Vec::new()));
    assemble.section(section(Some(ID), vec![copy(), of(Role::Attach, mount(2)), of(Role::Attach, mount(3))]));
    assert_eq!(operation(assemble.call(call(Syscall::Mount, 0, 0))).effects.unwrap().len(), 2);
}

#[test]
fn a_detached_mount_that_is_attached_is_what_it_was_made_as() {
    let mut assemble = Assemble::default();
    for (maker, made, becomes) in
        [(Syscall::Fsmount, Op::Fsmount, Op::Mount), (Syscall::OpenTree, Op::DetachedCopy, Op::Bind)]
    {
        assemble.target(ID, mount(7));
        let end = CallEnd { found: Found::Some, ..call(maker, 1, 0) };
        let making = operation(assemble.call(end));
        assert_eq!((making.op, making.complete), (made, true));
        assert_eq!(making.call.unwrap().target.unwrap().id, 7);
        assemble.section(section(Some(ID), vec![of(Role::Attach, mount(7))]));
        assert_eq!(operation(assemble.call(call(Syscall::MoveMount, 0, 0))).op, becomes);
    }
    assemble.section(section(Some(ID), vec![of(Role::Attach, mount(7))]));
    assert_eq!(operation(assemble.call(call(Syscall::MoveMount, 0, 0))).op, Op::Mount, "nobody saw its making");
    assemble.section(section(Some(ID), vec![of(Role::Move, mount(7))]));
    let moved = operation(assemble.call(call(Syscall::MoveMount, 0, 0)));
    assert_eq!((moved.op, moved.effects.unwrap()[0].kind), (Op::Move, EffectKind::Move));
}

#[test]
fn targets_of_calls_whose_end_was_lost_do_not_pile_up() {
    let mut assemble = Assemble::default();
    for thread in 0..3 * MAX_SAID as u64 {
        assemble.target(CallId { thread, start_ns: 1 }, mount(2));
    }
    assert!(assemble.said.len() <= MAX_SAID);
}

#[test]
fn sections_that_were_lost_are_said() {
    let mut assemble = Assemble::default();
    let end = || CallEnd { sections: 1, ..call(Syscall::Mount, 0, 0) };
    assert!(!operation(assemble.call(end())).complete);
    assemble.section(section(Some(ID), vec![of(Role::Attach, mount(7))]));
    assert!(operation(assemble.call(end())).complete);
}

#[test]
fn a_clone_that_is_put_beneath_a_mount_is_a_bind() {
    let mut assemble = Assemble::default();
    let opened = CallEnd { found: Found::Some, ..call(Syscall::OpenTree, 1, 0) };
    assemble.target(ID, mount(7));
    assemble.call(opened);
    assemble.section(section(Some(ID), vec![of(Role::Attach, mount(7)), of(Role::Move, mount(8))]));
    let attached = operation(assemble.call(call(Syscall::MoveMount, 0x200, 0)));
    let kinds: Vec<EffectKind> = attached.effects.unwrap().iter().map(|effect| effect.kind).collect();
    assert_eq!((attached.op, kinds), (Op::Bind, vec![EffectKind::Attach, EffectKind::Move]));
}

#[test]
fn a_descriptor_of_a_new_namespace_is_its_birth() {
    let mut assemble = Assemble::default();
    for syscall in [Syscall::Fsmount, Syscall::OpenTree] {
        let born = operation(assemble.call(call(syscall, 2, 0)));
        assert_eq!((born.op, born.effects, born.namespace), (Op::NamespaceCreated, None, None));
    }
}

#[test]
fn a_target_that_was_lost_is_said() {
    let mut assemble = Assemble::default();
    let end = || CallEnd { found: Found::Some, ..call(Syscall::Mount, ms::REMOUNT, 0) };
    assert!(!operation(assemble.call(end())).complete);
    assemble.target(ID, mount(7));
    let whole = operation(assemble.call(end()));
    assert!(whole.complete);
    let effect = &whole.effects.unwrap()[0];
    assert_eq!((effect.kind, effect.section, effect.mount.id), (EffectKind::Change, None, 7));
    assemble.target(CallId { start_ns: 1, ..ID }, mount(7));
    assert!(!operation(assemble.call(end())).complete, "the target of another call");
}

#[test]
fn what_mount_setattr_was_asked_for_names_it() {
    let mut assemble = Assemble::default();
    let mut op = |attributes, propagation| {
        let claimed = Claimed { attributes, propagation, ..Claimed::default() };
        operation(assemble.call(CallEnd { claimed, ..call(Syscall::MountSetattr, 0, 0) })).op
    };
    assert_eq!(op(0, 1 << 20), Op::Propagation);
    assert_eq!(op(1, 1 << 20), Op::Setattr);
    assert_eq!(op(1, 0), Op::Setattr);
}

#[test]
fn attributes_of_a_tree_change_mount_by_mount() {
    let mut assemble = Assemble::default();
    let end = |found| CallEnd { found, ..call(Syscall::MountSetattr, 0x9000, 0) };
    let effects = |operation: Operation| operation.effects.map(|all| all.iter().map(|one| one.mount.id).collect());
    for id in [7, 8] {
        assemble.target(ID, mount(id));
    }
    let whole = operation(assemble.call(end(Found::Some)));
    assert_eq!((whole.complete, effects(whole)), (true, Some(vec![7, 8])));
    assemble.target(ID, mount(7));
    let cut = operation(assemble.call(end(Found::Lost)));
    assert_eq!((cut.complete, effects(cut)), (false, Some(vec![7])));
    let by_path = operation(assemble.call(end(Found::None)));
    assert_eq!((by_path.complete, effects(by_path)), (true, None), "nobody knows which mount it was");
}

#[test]
fn what_the_kernel_found_before_is_left_out_where_sections_say_more() {
    let mut assemble = Assemble::default();
    for (facts, known) in [(vec![of(Role::Move, mount(8))], false), (Vec::new(), true)] {
        assemble.target(ID, mount(7));
        assemble.section(section(Some(ID), facts));
        let ended = operation(assemble.call(CallEnd { found: Found::Some, ..call(Syscall::PivotRoot, 0, 0) }));
        assert_eq!((ended.op, ended.target().is_some()), (Op::PivotRoot, known));
    }
}

#[test]
fn calls_are_named_by_what_they_ask_for() {
    let mut assemble = Assemble::default();
    let mut op = |syscall, flags| operation(assemble.call(call(syscall, flags, 0))).op;
    assert_eq!(op(Syscall::MoveMount, MOVE_MOUNT_SET_GROUP), Op::SetGroup);
    assert_eq!(op(Syscall::OpenTreeAttr, 0), Op::Setattr);
    assert_eq!(op(Syscall::OpenTreeAttr, OPEN_TREE_CLONE), Op::DetachedCopy);
    assert_eq!(op(Syscall::OpenTreeAttr, MAKES_NAMESPACE), Op::NamespaceCreated);
    assert_eq!(op(Syscall::Fsconfig, 0), Op::Reconfigure);
}

#[test]
fn what_went_by_itself_says_why() {
    let mut assemble = Assemble::default();
    for (cause, op, propagated) in [
        (Cause::Rmdir, Op::Umount, Some(false)),
        (Cause::LastClose, Op::Umount, Some(false)),
        (Cause::Expiry, Op::Expired, None),
    ] {
        let gone = Section { cause: Some(cause), ..section(None, vec![of(Role::Detach, mount(7))]) };
        let gone = operation(assemble.section(gone));
        assert_eq!((gone.op, gone.cause, gone.call), (op, Some(cause), None));
        assert_eq!(gone.actor.is_none(), op == Op::Expired, "nobody did what expired");
        assert_eq!(gone.effects.unwrap()[0].propagated, propagated, "{cause:?}");
    }
}

#[test]
fn a_namespaces_end_is_an_operation() {
    let mut assemble = Assemble::default();
    let change =
        NamespaceChange { namespace: Namespace { inum: 4, id: 5 }, copied_from: None, mounts: 6, made_by: None };
    let ended = operation(assemble.section(section(None, vec![SectionFact::NamespaceEnd(change)])));
    assert_eq!((ended.op, ended.namespace, ended.effects), (Op::NamespaceDestroyed, Some(change), None));
}

#[test]
fn the_first_flag_that_the_kernel_looks_at_names_the_operation() {
    let mut assemble = Assemble::default();
    let mut op = |syscall, flags| operation(assemble.call(call(syscall, flags, 0))).op;
    assert_eq!(op(Syscall::Mount, ms::REMOUNT | ms::BIND), Op::Remount);
    assert_eq!(op(Syscall::Mount, ms::BIND | ms::PROPAGATION), Op::Bind);
    assert_eq!(op(Syscall::Mount, 1 << 19 | ms::MOVE), Op::Propagation);
    assert_eq!(op(Syscall::Mount, ms::MOVE), Op::Move);
    assert_eq!(op(Syscall::Mount, 1), Op::Mount);
    assert_eq!(op(Syscall::Umount, 2), Op::Umount);
}

#[test]
fn an_operation_whose_effects_are_not_traced_says_so() {
    let mut assemble = Assemble::default();
    assert_eq!(operation(assemble.call(call(Syscall::Mount, ms::REMOUNT, 0))).effects, None);
    assert_eq!(operation(assemble.call(call(Syscall::Mount, ms::BIND, 0))).effects, Some(Vec::new()));
}

#[test]
fn an_unmount_tells_its_tree_from_what_propagated() {
    let mut assemble = Assemble::default();
    let detached = [child(8, 7), child(7, 1), child(9, 5), child(10, 9)];
    let facts = detached.into_iter().map(|mount| of(Role::Detach, mount)).collect();
    assemble.section(section(Some(ID), facts));
    let end = CallEnd { target_id: 7, ..call(Syscall::Umount, 2, 0) };
    let effects = operation(assemble.call(end)).effects.unwrap();
    let seen: Vec<_> = effects.iter().map(|effect| (effect.mount.id, effect.propagated)).collect();
    assert_eq!(seen, [(7, Some(false)), (8, Some(false)), (9, Some(true)), (10, Some(true))]);
}

#[test]
fn a_section_of_no_call_is_an_operation_by_itself() {
    let mut assemble = Assemble::default();
    let by_itself = Mount { flags: MNT_SHRINKABLE, ..mount(2) };
    let automount = operation(assemble.section(section(None, vec![of(Role::Attach, by_itself)])));
    assert_eq!((automount.op, automount.call), (Op::Automount, None));
    let expiry = operation(assemble.section(section(None, vec![of(Role::Detach, mount(2))])));
    assert_eq!(expiry.effects.unwrap()[0].propagated, None, "nobody can say");
    assert_eq!(assemble.section(section(None, vec![SectionFact::Copy(mount(2).key())])), [Assembled::Nothing]);
}

#[test]
fn a_call_whose_end_was_missed_is_given_up() {
    let mut assemble = Assemble::default();
    assemble.section(section(Some(ID), vec![of(Role::Detach, mount(2))]));
    assert_eq!(assemble.expire(50 + CALL_PATIENCE_NS), []);
    let operation = operation(assemble.expire(51 + CALL_PATIENCE_NS));
    assert_eq!((operation.op, operation.call), (Op::Umount, None));
    assert_eq!(assemble.expire(u64::MAX), [], "given up once");
}

#[test]
fn a_call_whose_end_was_missed_is_shown_when_its_thread_goes_on() {
    let mut assemble = Assemble::default();
    let asked = Some(Asked { syscall: Syscall::Mount, flags: ms::BIND, target_id: 1 });
    let first = Section { asked, ..section(Some(ID), vec![of(Role::Attach, mount(2))]) };
    assemble.section(first);
    let next = CallId { start_ns: 9, ..ID };
    let assembled = assemble.section(section(Some(next), vec![of(Role::Attach, mount(3))]));
    let [Assembled::Operation(missed), Assembled::Nothing] = &assembled[..] else { panic!("{assembled:?}") };
    assert_eq!((missed.op, &missed.call), (Op::Bind, &None), "which call it was is known, how it ended is not");
    assert_eq!(missed.effects.as_ref().map(Vec::len), Some(1));
}

#[test]
fn a_mount_whose_beginning_was_missed_is_joined_by_its_thread() {
    let mut assemble = Assemble::default();
    let assembled = assemble.section(section(None, vec![of(Role::Attach, mount(2))]));
    assert_eq!(assembled, [Assembled::Nothing], "no automount");
    let end = CallEnd { id: CallId { start_ns: 0, ..ID }, ..call(Syscall::Mount, ms::BIND, 0) };
    let operation = operation(assemble.call(end));
    assert_eq!((operation.op, operation.effects.map(|effects| effects.len())), (Op::Bind, Some(1)));
}

#[test]
fn what_is_open_at_the_end_is_shown() {
    let mut assemble = Assemble::default();
    let asked = Some(Asked { syscall: Syscall::Mount, flags: ms::BIND, target_id: 1 });
    assemble.section(Section { asked, ..section(Some(ID), vec![of(Role::Attach, mount(2))]) });
    let operation = operation(assemble.end());
    assert_eq!((operation.op, operation.call), (Op::Bind, None));
    assert_eq!(assemble.end(), [], "once");
}
