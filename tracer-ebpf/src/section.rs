//! The end of a section: what its call changed where no hook inside it tells, and the record that closes it.

use tracer_common::{
    fact::{ABSENT, SectionEnd, kind, syscall},
    hook,
};

use crate::{
    bare, clones,
    emit::{Wake, actor, call, call_start, dirty, header, lost, section, section_number, send},
    globals::{MAKE_VISIBLE_ARGUMENTS, MOUNT_GROUP, MOUNT_MASTER},
    maps::{SCRATCH, TABLES, slot},
    mount::own_root,
    read::{member, pointer},
    tables::mount_fact,
};

/// `static void namespace_unlock(void)`
#[inline(always)]
pub(crate) fn ends() {
    let (Some(slot), Some(open)) = (SCRATCH.get_ptr_mut(slot::TABLES), section()) else { return };
    changed_by_call();
    bare::flush();
    // SAFETY: a map value; who is here holds the namespace semaphore.
    let changes = unsafe { (*open).facts + (*open).lost };
    clones::tree_is_made();
    // SAFETY: as above.
    let (facts, missing) = unsafe { ((*open).facts, (*open).lost) };
    // SAFETY: as above.
    let went = unsafe { core::mem::take(&mut (*open).how) };
    if facts == 0 && missing == 0 {
        return;
    }
    let call = call();
    let end = slot.cast::<SectionEnd>();
    // SAFETY: map values; who is here holds the namespace semaphore, and a call belongs to its thread.
    unsafe {
        (*end).header = header(kind::SECTION_END, hook::SECTION_END, call_start(), section_number());
        (*end).facts = facts;
        (*end).lost = missing;
        (*end).flags = call.map_or(0, |call| (*call).flags);
        (*end).syscall = call.map_or(0, |call| (*call).syscall);
        (*end).target_id = call.map_or(0, |call| (*call).target_id);
        (*end).how = went as u32;
        (*end).reserved = 0;
        actor(&raw mut (*end).actor);
        // The end of the call wakes the agent.
        let wake = if call.is_some() { Wake::No } else { Wake::Yes };
        let sent = send(&TABLES, hook::SECTION_END, slot.cast(), size_of::<SectionEnd>(), 0, wake);
        if !sent {
            // What it ends may be about any.
            dirty(None);
        }
        match call.filter(|_| changes > 0) {
            Some(call) => {
                (*call).sections += 1;
                (*call).delivered += u32::from(sent);
            }
            None if !sent && changes > 0 => lost(),
            None => {}
        }
        (*open).ended += 1;
        (*open).facts = 0;
        (*open).lost = 0;
        (*open).entering = 0;
        (*open).named = 0;
    }
}

/// What the open call changed in this section where no hook inside it tells: `MOVE_MOUNT_SET_GROUP`, and up to 6.16
/// `pivot_root(2)`. The call holds both mounts.
#[inline(always)]
fn changed_by_call() {
    let Some(call) = call() else { return };
    // SAFETY: a map value; only this thread writes it.
    let (syscall, subject, old_root) = unsafe { ((*call).syscall, (*call).subject, (*call).old_root) };
    if subject == 0 {
        return;
    }
    if syscall == syscall::MOVE_MOUNT {
        // It was private before.
        if member::<u32>(subject, &MOUNT_GROUP) != 0 || pointer(subject, &MOUNT_MASTER) != 0 {
            mount_fact(hook::MOVE_TARGET << 16 | u32::from(kind::CHANGE), subject, 0);
        }
    } else if syscall == syscall::PIVOT_ROOT
        && MAKE_VISIBLE_ARGUMENTS.load() == ABSENT
        && old_root != subject
        && own_root() == subject
    {
        mount_fact(hook::PIVOT_TARGET << 16 | u32::from(kind::MOVE), old_root, 0);
        mount_fact(hook::PIVOT_TARGET << 16 | u32::from(kind::MOVE), subject, 0);
    }
}
