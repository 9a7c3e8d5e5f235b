//! Cgroups of the v2 hierarchy that are made and removed: `TP_PROTO(struct cgroup *cgrp, const char *path)`.

use aya_ebpf::{helpers::bpf_get_current_uid_gid, programs::BtfTracePointContext};
use tracer_common::fact::{CGROUP_PATH_BYTES, Cgroup};

use crate::{
    emit::{Wake, header, send},
    globals::{CGROUP_KN, CGROUP_ROOT, KERNFS_ID, ROOT_HIERARCHY},
    maps::{CALLS, SHORT},
    read::{member, pointer, string, word},
};

#[inline(always)]
pub(crate) fn changed(context: &BtfTracePointContext, hook: u32, number: u32, kind: u16) {
    let Some(slot) = SHORT.get_ptr_mut(number) else { return };
    let subject = word(context, 0);
    // The v2 hierarchy has the number 0 (`cgrp_dfl_root`); the others have their own ids and paths.
    if member::<u32>(pointer(subject, &CGROUP_ROOT), &ROOT_HIERARCHY) != 0 {
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
