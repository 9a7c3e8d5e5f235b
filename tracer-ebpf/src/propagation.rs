//! What changes propagation: `change_mnt_propagation`, inside a hold of the namespace semaphore, at its exit for the mount itself and at
//! its entry for who is left behind.

use tracer_common::{
    fact::{GroupEnd, kind},
    hook,
};

use crate::{
    bare,
    context::{Entry, Exit},
    emit::{Wake, call_start, dirty, fact_reserve, header, section_number, send},
    globals::{MOUNT_GROUP, MOUNT_NS, MOUNT_SLAVES},
    maps::TABLES,
    mount::{master_group, next_peer},
    read::{member, pointer},
    tables::{count, mount_fact},
};

/// `MS_SHARED` of `uapi/linux/mount.h`.
const SHARED: u64 = 1 << 20;

/// `void change_mnt_propagation(struct mount *mnt, int type)`. Up to 6.17 also called for each mount that was just
/// unmounted: that one is in no namespace any more.
#[inline(always)]
pub(crate) fn propagation_changed(context: &impl Exit) {
    let subject = context.argument(0);
    let namespace = pointer(subject, &MOUNT_NS);
    if namespace != 0 {
        mount_fact(hook::CHANGE << 16 | u32::from(kind::CHANGE), subject, namespace);
    }
}

/// `void change_mnt_propagation(struct mount *mnt, int type)`, at its entry. The last mount that leaves its peer group hands its
/// slaves on to its master (`do_make_slave`, `transfer_propagation`): no hook tells it of them.
#[inline(always)]
pub(crate) fn group_ends(context: &impl Entry) {
    let (subject, to) = (context.argument(0), context.argument(1));
    let group: u32 = member(subject, &MOUNT_GROUP);
    let (slaves, first) = (u64::from(MOUNT_SLAVES.load()), pointer(subject, &MOUNT_SLAVES));
    // An empty list of the one kind leads to itself, of the other to nothing.
    let has_slaves = first != 0 && first != subject.wrapping_add(slaves);
    if to == SHARED || group == 0 || next_peer(subject) != subject || !has_slaves {
        return;
    }
    bare::flush();
    let mut fact = GroupEnd {
        header: header(kind::GROUP_END, hook::GROUP_END, call_start(), section_number()),
        group,
        heir: master_group(subject),
    };
    let bytes = size_of::<GroupEnd>();
    // SAFETY: the record is a whole one on the stack.
    let sent = unsafe { send(&TABLES, hook::GROUP_END, (&raw mut fact).cast(), bytes, fact_reserve(), Wake::No) };
    count(sent);
    if !sent {
        // Its slaves may be anywhere.
        dirty(None);
    }
}
