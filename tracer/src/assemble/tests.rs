//! Sections and calls made by hand.

use super::*;
use crate::operation::{Actor, Claimed, Mount, tests::mount};

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
        target: None,
    }
}

fn section(call: Option<CallId>, facts: Vec<(Role, Mount)>) -> Section {
    let facts = facts.into_iter().map(|(role, mount)| MountFact { role, mount }).collect();
    Section { number: 1, call, actor: Some(actor()), end_ns: 50, facts, complete: true, asked: None }
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
    let facts = vec![(Role::Copy, mount(3)), (Role::Copy, mount(4)), (Role::Attach(Ok(())), mount(2))];
    assert_eq!(assemble.section(section(Some(ID), facts)), [Assembled::Waiting]);
    let operation = operation(assemble.call(call(Syscall::Mount, 0, 0)));
    assert_eq!(operation.op, Op::Mount);
    let seen: Vec<_> = operation.effects.unwrap().iter().map(|effect| (effect.mount.id, effect.propagated)).collect();
    assert_eq!(seen, [(2, Some(false)), (3, Some(true)), (4, Some(true))], "the direct one first");
}

#[test]
fn copies_of_a_failed_attach_are_no_effects() {
    let mut assemble = Assemble::default();
    assemble.section(section(Some(ID), vec![(Role::Copy, mount(3)), (Role::Attach(Err(28)), mount(2))]));
    assert_eq!(operation(assemble.call(call(Syscall::Mount, 0, 28))).effects, Some(Vec::new()));
    assemble.section(section(Some(ID), vec![(Role::Copy, mount(3)), (Role::Attach(Ok(())), mount(2))]));
    assert_eq!(operation(assemble.call(call(Syscall::Mount, 0, 0))).effects.unwrap().len(), 2);
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
    let facts = detached.into_iter().map(|mount| (Role::Detach, mount)).collect();
    assemble.section(section(Some(ID), facts));
    let end = CallEnd { target_id: 7, ..call(Syscall::Umount, 2, 0) };
    let effects = operation(assemble.call(end)).effects.unwrap();
    let seen: Vec<_> = effects.iter().map(|effect| (effect.mount.id, effect.propagated)).collect();
    assert_eq!(seen, [(7, Some(false)), (8, Some(false)), (9, Some(true)), (10, Some(true))]);
}

#[test]
fn a_recursive_bind_does_not_claim_to_be_whole() {
    let mut assemble = Assemble::default();
    assert!(!operation(assemble.call(call(Syscall::Mount, ms::BIND | ms::REC, 0))).complete);
    assert!(operation(assemble.call(call(Syscall::Mount, ms::BIND, 0))).complete);
}

#[test]
fn a_section_of_no_call_is_an_operation_by_itself() {
    let mut assemble = Assemble::default();
    let by_itself = Mount { flags: MNT_SHRINKABLE, ..mount(2) };
    let automount = operation(assemble.section(section(None, vec![(Role::Attach(Ok(())), by_itself)])));
    assert_eq!((automount.op, automount.call), (Op::Automount, None));
    let expiry = operation(assemble.section(section(None, vec![(Role::Detach, mount(2))])));
    assert_eq!(expiry.effects.unwrap()[0].propagated, None, "nobody can say");
    assert_eq!(assemble.section(section(None, vec![(Role::Copy, mount(2))])), [Assembled::Unresolved]);
}

#[test]
fn a_call_whose_end_was_missed_is_given_up() {
    let mut assemble = Assemble::default();
    assemble.section(section(Some(ID), vec![(Role::Detach, mount(2))]));
    assert_eq!(assemble.expire(50 + CALL_PATIENCE_NS), []);
    let operation = operation(assemble.expire(51 + CALL_PATIENCE_NS));
    assert_eq!((operation.op, operation.call), (Op::Umount, None));
    assert_eq!(assemble.expire(u64::MAX), [], "given up once");
}

#[test]
fn a_call_whose_end_was_missed_is_shown_when_its_thread_goes_on() {
    let mut assemble = Assemble::default();
    let asked = Some(Asked { syscall: Syscall::Mount, flags: ms::BIND, target_id: 1 });
    let first = Section { asked, ..section(Some(ID), vec![(Role::Attach(Ok(())), mount(2))]) };
    assemble.section(first);
    let next = CallId { start_ns: 9, ..ID };
    let assembled = assemble.section(section(Some(next), vec![(Role::Attach(Ok(())), mount(3))]));
    let [Assembled::Operation(missed), Assembled::Waiting] = &assembled[..] else { panic!("{assembled:?}") };
    assert_eq!((missed.op, &missed.call), (Op::Bind, &None), "which call it was is known, how it ended is not");
    assert_eq!(missed.effects.as_ref().map(Vec::len), Some(1));
}

#[test]
fn a_mount_whose_beginning_was_missed_is_joined_by_its_thread() {
    let mut assemble = Assemble::default();
    let assembled = assemble.section(section(None, vec![(Role::Attach(Ok(())), mount(2))]));
    assert_eq!(assembled, [Assembled::Waiting], "no automount");
    let end = CallEnd { id: CallId { start_ns: 0, ..ID }, ..call(Syscall::Mount, ms::BIND, 0) };
    let operation = operation(assemble.call(end));
    assert_eq!((operation.op, operation.effects.map(|effects| effects.len())), (Op::Bind, Some(1)));
}
