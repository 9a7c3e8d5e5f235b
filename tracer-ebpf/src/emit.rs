//! Puts records together in a probe's scratch slot and sends them, or counts that it could not.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    helpers::{bpf_get_current_pid_tgid, generated},
};
use tracer_common::fact::{Actor, FSTYPE_BYTES, Header, Mount, MountFact, SOURCE_BYTES, Walk};

use crate::{
    globals::{
        DENTRY_INODE, INODE_MODE, INODE_RDEV, MOUNT_DEVNAME, MOUNT_GROUP, MOUNT_ID, MOUNT_ID_UNIQUE, MOUNT_MASTER,
        MOUNT_NS, MOUNT_T_FLAGS, MOUNT_VFSMOUNT, NS_ID, NS_INUM, NS_SEQ, NSPROXY_MNT_NS, SB_DEV, SB_TYPE, TASK_NSPROXY,
        TYPE_NAME, VFSMOUNT_FLAGS, VFSMOUNT_ROOT, VFSMOUNT_SB,
    },
    maps::{CALLS, Call, DROPS, RING, SCRATCH, SCRATCH_MASK, SECTION, Scratch, Section},
    read::{member, pointer, string},
    walk::walk,
};
use tracer_common::fact::ABSENT;

/// `S_IFMT` and `S_IFBLK` of `linux/stat.h`.
const FILE_TYPE: u16 = 0o170_000;
const BLOCK_DEVICE: u16 = 0o060_000;

/// Whether a record wakes the agent: only the last one of a section or a call does.
#[derive(Clone, Copy)]
pub(crate) enum Wake {
    No,
    Yes,
}

/// The probe's scratch slot.
#[inline(always)]
pub(crate) fn scratch(hook: u32) -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(hook)
}

/// The open section.
#[inline(always)]
pub(crate) fn section() -> Option<*mut Section> {
    SECTION.get_ptr_mut(0)
}

/// The open call of this thread.
#[inline(always)]
pub(crate) fn call() -> Option<*mut Call> {
    CALLS.get_ptr_mut(bpf_get_current_pid_tgid())
}

/// `CLOCK_BOOTTIME` in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { generated::bpf_ktime_get_boot_ns() }
}

/// The number that the open section will have.
#[inline(always)]
pub(crate) fn section_number() -> u64 {
    // SAFETY: a map value, alive as long as the map; writers hold the namespace semaphore.
    section().map_or(0, |section| unsafe { (*section).ended } + 1)
}

/// When the open call of this thread began.
#[inline(always)]
pub(crate) fn call_start() -> u64 {
    // SAFETY: a map value; only this thread writes it.
    call().map_or(0, |call| unsafe { (*call).start_ns })
}

/// The header of a record whose length `send` fills in.
#[inline(always)]
pub(crate) fn header(kind: u16, hook: u32, call: u64, section: u64) -> Header {
    Header { kind, hook: hook as u16, bytes: 0, thread: bpf_get_current_pid_tgid(), call, section, boot_ns: now() }
}

/// Sends the first `bytes` bytes of the scratch slot, whose first field is a [`Header`]; false when there was no room.
#[inline(always)]
pub(crate) fn send(hook: u32, slot: *mut Scratch, bytes: usize, wake: Wake) -> bool {
    let bytes = bytes & SCRATCH_MASK;
    // SAFETY: the slot begins with a header and is longer than the mask.
    let record = unsafe {
        (*slot.cast::<Header>()).bytes = bytes as u32;
        core::slice::from_raw_parts(slot.cast::<u8>(), bytes)
    };
    // A section may write more than the ring holds, and the record that would wake the agent may find no room: so the
    // agent is woken long before the ring is full.
    let filling = RING.query(BPF_RB_AVAIL_DATA.into()) > RING.query(BPF_RB_RING_SIZE.into()) / 4;
    let flags = match wake {
        Wake::No if !filling => BPF_RB_NO_WAKEUP,
        Wake::No | Wake::Yes => BPF_RB_FORCE_WAKEUP,
    };
    let sent = RING.output::<[u8]>(record, u64::from(flags)).is_ok();
    if !sent {
        dropped(hook);
    }
    sent
}

/// Counts a record that this probe could not send.
#[inline(always)]
pub(crate) fn dropped(hook: u32) {
    if let Some(count) = DROPS.get_ptr_mut(hook) {
        // SAFETY: this CPU's own counter; a program of one hook does not interrupt itself.
        unsafe { *count += 1 };
    }
}

/// Writes what is to say of a mount to `to`, its strings to the slot behind `end`; returns the new end.
///
/// `parent` and `mountpoint` say where it is mounted: at some hooks the mount itself does not know yet.
#[inline(always)]
pub(crate) fn mount(hook: u32, to: *mut Mount, mount: u64, parent: u64, mountpoint: u64, end: usize) -> usize {
    let Some(slot) = scratch(hook) else { return end };
    let vfsmount = mount + u64::from(MOUNT_VFSMOUNT.load());
    let superblock = pointer(vfsmount, &VFSMOUNT_SB);
    let root = pointer(vfsmount, &VFSMOUNT_ROOT);
    let namespace = pointer(parent, &MOUNT_NS);
    // SAFETY: `to` lies in the slot, in front of `end`.
    unsafe {
        (*to).id_unique = member(mount, &MOUNT_ID_UNIQUE);
        (*to).parent_id_unique = member(parent, &MOUNT_ID_UNIQUE);
        (*to).ns_id = namespace_id(namespace);
        (*to).ns_inum = member(namespace, &NS_INUM);
        (*to).id = member(mount, &MOUNT_ID);
        (*to).parent_id = member(parent, &MOUNT_ID);
        (*to).dev = member(superblock, &SB_DEV);
        (*to).rdev = block_device(pointer(root, &DENTRY_INODE));
        (*to).flags = member(vfsmount, &VFSMOUNT_FLAGS);
        (*to).t_flags = if MOUNT_T_FLAGS.load() == ABSENT { ABSENT } else { member(mount, &MOUNT_T_FLAGS) };
        (*to).group = member(mount, &MOUNT_GROUP);
        (*to).master = member(pointer(mount, &MOUNT_MASTER), &MOUNT_GROUP);
        (*to).fstype = [0; FSTYPE_BYTES];
        let name = pointer(pointer(superblock, &SB_TYPE), &TYPE_NAME);
        string((&raw mut (*to).fstype).cast(), FSTYPE_BYTES as u32, name);
    }
    let (path, end) = walked(walk(hook, parent, mountpoint, end as u32), end);
    let (root, end) = walked(walk(hook, 0, root, end as u32), end);
    // SAFETY: the slot is as long as the mask allows plus more than a source.
    let source = unsafe { slot.cast::<u8>().add(end & SCRATCH_MASK) };
    // SAFETY: as above.
    let source_bytes = unsafe { string(source, SOURCE_BYTES as u32, pointer(mount, &MOUNT_DEVNAME)) };
    // SAFETY: `to` lies in the slot, in front of `end`.
    unsafe {
        (*to).path = path;
        (*to).root = root;
        (*to).source_bytes = source_bytes as u32;
    }
    end + source_bytes
}

/// A walk's result as it stands in the record, and where the next string goes.
#[inline(always)]
fn walked(result: u64, start: usize) -> (Walk, usize) {
    let end = (result & 0xffff_ffff) as usize;
    (Walk { bytes: (end - start) as u16, status: (result >> 32) as u16 }, end)
}

/// A namespace's 64-bit id, by the member that this kernel has.
#[inline(always)]
fn namespace_id(namespace: u64) -> u64 {
    if NS_ID.load() == ABSENT { member(namespace, &NS_SEQ) } else { member(namespace, &NS_ID) }
}

#[inline(always)]
fn block_device(inode: u64) -> u32 {
    let mode: u16 = member(inode, &INODE_MODE);
    if mode & FILE_TYPE == BLOCK_DEVICE { member(inode, &INODE_RDEV) } else { 0 }
}

/// Who acts, field by field into a record.
#[inline(always)]
pub(crate) fn actor(to: *mut Actor) {
    // SAFETY: the helpers take nothing, or the record's own room.
    unsafe {
        let task = generated::bpf_get_current_task();
        let namespace = pointer(pointer(task, &TASK_NSPROXY), &NSPROXY_MNT_NS);
        (*to).cgroup_id = generated::bpf_get_current_cgroup_id();
        (*to).ns_id = namespace_id(namespace);
        (*to).ns_inum = member(namespace, &NS_INUM);
        (*to).uid = generated::bpf_get_current_uid_gid() as u32;
        generated::bpf_get_current_comm((&raw mut (*to).comm).cast(), tracer_common::fact::COMM_BYTES as u32);
    }
}

/// Sends a [`MountFact`] of the open section and counts it there. `error` is the function's result.
///
/// A global function, so that a list of mounts costs the verifier one look and not one for each mount.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn mount_fact(hook_and_kind: u32, subject: u64, parent: u64, mountpoint: u64, error: u32) -> u32 {
    let (hook, kind) = (hook_and_kind >> 16, hook_and_kind as u16);
    let (Some(slot), Some(section)) = (scratch(hook), section()) else { return 1 };
    let fact = slot.cast::<MountFact>();
    // SAFETY: the slot is this probe's own and longer than the fixed part.
    unsafe {
        (*fact).header = header(kind, hook, call_start(), section_number());
        (*fact).error = error.cast_signed();
        (*fact).reserved = 0;
    }
    // SAFETY: as above.
    let to = unsafe { &raw mut (*fact).mount };
    let end = mount(hook, to, subject, parent, mountpoint, size_of::<MountFact>());
    let sent = send(hook, slot, end, Wake::No);
    // SAFETY: map values; who is here holds the namespace semaphore, and a call belongs to its thread.
    unsafe {
        if sent {
            (*section).facts += 1;
        } else {
            (*section).lost += 1;
        }
        if let Some(call) = call() {
            (*call).facts += 1;
        }
    }
    u32::from(!sent)
}
