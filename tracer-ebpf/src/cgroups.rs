//! Cgroups of the v2 hierarchy that are made and removed, `TP_PROTO(struct cgroup *cgrp, const char *path)`, and processes that are put into
//! one, `TP_PROTO(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup)`.

use aya_ebpf::{helpers::bpf_get_current_uid_gid, programs::BtfTracePointContext};
use tracer_common::{
    fact::{CGROUP_PATH_BYTES, Cgroup, CgroupEntered, kind},
    hook,
};

use crate::{
    emit::{Wake, header, namespace_id, namespace_of, send},
    globals::{CGROUP_KN, CGROUP_ROOT, KERNFS_ID, NS_INUM, ROOT_HIERARCHY, TASK_PARENT},
    maps::{CALLS, SHORT},
    read::{member, pointer, string, word},
};

#[inline(always)]
pub(crate) fn changed(context: &BtfTracePointContext, hook: u32, number: u32, kind: u16) {
    let Some(slot) = SHORT.get_ptr_mut(number) else { return };
    let subject = word(context, 0);
    if !is_v2(subject) {
        return;
    }
    let fact = slot.cast::<Cgroup>();
    // SAFETY: the slot is this program's own and longer than the fixed part and the longest path.
    unsafe {
        (*fact).header = header(kind, hook, 0, 0);
        (*fact).cgroup_id = member(pointer(subject, &CGROUP_KN), &KERNFS_ID);
        let path = slot.cast::<u8>().add(size_of::<Cgroup>());
        let bytes = string(path, CGROUP_PATH_BYTES as u32, word(context, 1)) & (2 * CGROUP_PATH_BYTES - 1);
        (*fact).path_bytes = bytes as u32;
        (*fact).uid = bpf_get_current_uid_gid() as u32;
        send(&CALLS, hook, slot.cast(), size_of::<Cgroup>() + bytes, 0, Wake::Yes);
    }
}

/// A process was put into a cgroup. Told of one that is in another mount namespace than its parent: who made the namespace for it may have
/// been elsewhere, as crun is, which clones its container first. One that shares its parent's, as runc's does at this time, says nothing of
/// whose the namespace is.
#[inline(always)]
pub(crate) fn entered(context: &BtfTracePointContext) {
    let (subject, task) = (word(context, 0), word(context, 2));
    let namespace = namespace_of(task);
    if namespace == 0 || namespace == namespace_of(pointer(task, &TASK_PARENT)) || !is_v2(subject) {
        return;
    }
    let mut fact = CgroupEntered {
        header: header(kind::CGROUP_ENTERED, hook::CGROUP_ENTERED, 0, 0),
        cgroup_id: member(pointer(subject, &CGROUP_KN), &KERNFS_ID),
        ns_id: namespace_id(namespace),
        ns_inum: member(namespace, &NS_INUM),
        reserved: 0,
    };
    let bytes = size_of::<CgroupEntered>();
    // SAFETY: the record is a whole one on the stack.
    unsafe { send(&CALLS, hook::CGROUP_ENTERED, (&raw mut fact).cast(), bytes, 0, Wake::Yes) };
}

/// The v2 hierarchy has the number 0 (`cgrp_dfl_root`); the others have their own ids and paths.
#[inline(always)]
fn is_v2(cgroup: u64) -> bool {
    member::<u32>(pointer(cgroup, &CGROUP_ROOT), &ROOT_HIERARCHY) == 0
}
