//! THE KERNEL: watches where mounts really change and writes facts to the ring. It decides nothing and knows no
//! Kubernetes.
//!
//! The hooks, their prototypes and since when they can be attached stand in one table, `probe/hooks.rs` of the agent.
//! Programs inside a hold of the namespace semaphore (`GRAFT`, `COPY`, `DETACH`, `SECTION_END`) run one at a time on the
//! whole machine; the others may run anywhere and keep to their own scratch slot.
#![no_std]
#![no_main]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::inline_always,
    clippy::needless_pass_by_value,
    reason = "registers are 64 bit and helpers take 32; the verifier wants programs without calls; aya's macros hand \
              the context over by value"
)]

mod emit;
mod globals;
mod maps;
mod read;
mod walk;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid},
    macros::{btf_tracepoint, fentry, fexit},
    programs::{BtfTracePointContext, FEntryContext, FExitContext},
};
use tracer_common::{
    fact::{CGROUP_PATH_BYTES, CallEnd, Cgroup, FSTYPE_BYTES, SOURCE_BYTES, SectionEnd, kind, syscall},
    hook,
};

use crate::{
    emit::{Wake, actor, call, dropped, header, mount, mount_fact, now, scratch, section, section_number, send},
    globals::{
        CGROUP_KN, CGROUP_ROOT, GRAFT_TREE_ARGUMENTS, KERNFS_ID, MOUNT_ID, MOUNT_LIST, MOUNT_MOUNTPOINT, MOUNT_PARENT,
        MOUNT_VFSMOUNT, MOUNTPOINT_DENTRY, PATH_DENTRY, PATH_MNT, PATH_MOUNT_ARGUMENTS, PATH_UMOUNT_ARGUMENTS,
        ROOT_HIERARCHY,
    },
    maps::{CALLS, Call},
    read::{member, pointer, string, word},
};

/// Mounts that one unmount may report: the length that the verifier is asked to follow.
const MAX_DETACHED: u32 = 1024;

/// `int path_mount(const char *dev_name, struct path *path, const char *type, unsigned long flags, void *data)`
#[fentry(function = "path_mount")]
fn mount_enter(context: FEntryContext) -> i32 {
    call_begins(hook::MOUNT_ENTER, syscall::MOUNT, word(&context, 1), word(&context, 3))
}

/// `int path_mount(const char *dev_name, struct path *path, const char *type, unsigned long flags, void *data)`
#[fexit(function = "path_mount")]
fn mount_exit(context: FExitContext) -> i32 {
    let claimed = Claimed { source: word(&context, 0), fstype: word(&context, 2), flags: word(&context, 3) };
    call_ends(&context, hook::MOUNT_EXIT, syscall::MOUNT, word(&context, 1), PATH_MOUNT_ARGUMENTS.load(), &claimed)
}

/// `int path_umount(struct path *path, int flags)`
#[fentry(function = "path_umount")]
fn umount_enter(context: FEntryContext) -> i32 {
    call_begins(hook::UMOUNT_ENTER, syscall::UMOUNT, word(&context, 0), word(&context, 1) & 0xffff_ffff)
}

/// `int path_umount(struct path *path, int flags)`
#[fexit(function = "path_umount")]
fn umount_exit(context: FExitContext) -> i32 {
    let claimed = Claimed { source: 0, fstype: 0, flags: word(&context, 1) & 0xffff_ffff };
    call_ends(&context, hook::UMOUNT_EXIT, syscall::UMOUNT, word(&context, 0), PATH_UMOUNT_ARGUMENTS.load(), &claimed)
}

/// `int graft_tree(struct mount *mnt, struct mount *p, struct mountpoint *mp)`, from 6.18
/// `int graft_tree(struct mount *mnt, const struct pinned_mountpoint *mp)`
#[fexit(function = "graft_tree")]
fn graft(context: FExitContext) -> i32 {
    let subject = word(&context, 0);
    let error = word(&context, GRAFT_TREE_ARGUMENTS.load()) as u32;
    let parent = pointer(subject, &MOUNT_PARENT);
    let mountpoint = pointer(subject, &MOUNT_MOUNTPOINT);
    mount_fact(hook::GRAFT << 16 | u32::from(kind::ATTACH), subject, parent, mountpoint, error);
    0
}

/// `void mnt_set_mountpoint(struct mount *mnt, struct mountpoint *mp, struct mount *child_mnt)`
#[fentry(function = "mnt_set_mountpoint")]
fn copy(context: FEntryContext) -> i32 {
    let mountpoint = pointer(word(&context, 1), &MOUNTPOINT_DENTRY);
    mount_fact(hook::COPY << 16 | u32::from(kind::COPY), word(&context, 2), word(&context, 0), mountpoint, 0);
    0
}

/// `int propagate_umount(struct list_head *list)`, from 6.17 `void`
#[fexit(function = "propagate_umount")]
fn detach(context: FExitContext) -> i32 {
    let head = word(&context, 0);
    let mut entry = read::read(head);
    for _ in 0..MAX_DETACHED {
        if entry == head || entry == 0 {
            return 0;
        }
        let subject = entry - u64::from(MOUNT_LIST.load());
        let parent = pointer(subject, &MOUNT_PARENT);
        let mountpoint = pointer(subject, &MOUNT_MOUNTPOINT);
        mount_fact(hook::DETACH << 16 | u32::from(kind::DETACH), subject, parent, mountpoint, 0);
        entry = read::read(entry);
    }
    if entry != head
        && let Some(section) = section()
    {
        // SAFETY: a map value; who is here holds the namespace semaphore.
        unsafe { (*section).lost += 1 };
        dropped(hook::DETACH);
    }
    0
}

/// `static void namespace_unlock(void)`
#[fentry(function = "namespace_unlock")]
fn section_end(_: FEntryContext) -> i32 {
    let (Some(slot), Some(open)) = (scratch(hook::SECTION_END), section()) else { return 0 };
    // SAFETY: a map value; who is here holds the namespace semaphore.
    let (facts, lost) = unsafe { ((*open).facts, (*open).lost) };
    if facts == 0 && lost == 0 {
        return 0;
    }
    // SAFETY: a map value; only this thread writes it.
    let (start, flags, syscall, target_id) = call()
        .map_or((0, 0, 0, 0), |call| unsafe { ((*call).start_ns, (*call).flags, (*call).syscall, (*call).target_id) });
    let end = slot.cast::<SectionEnd>();
    // SAFETY: the slot is this probe's own and longer than the record.
    unsafe {
        (*end).header = header(kind::SECTION_END, hook::SECTION_END, start, section_number());
        (*end).facts = facts;
        (*end).lost = lost;
        (*end).flags = flags;
        (*end).syscall = syscall;
        (*end).target_id = target_id;
        actor(&raw mut (*end).actor);
    }
    // A call's end follows and wakes; a section of no call has nobody else.
    let wake = if start == 0 { Wake::Yes } else { Wake::No };
    send(hook::SECTION_END, slot, size_of::<SectionEnd>(), wake);
    // SAFETY: as above.
    unsafe {
        (*open).ended += 1;
        (*open).facts = 0;
        (*open).lost = 0;
    }
    0
}

/// `TP_PROTO(struct cgroup *cgrp, const char *path)`
#[btf_tracepoint(function = "cgroup_mkdir")]
fn cgroup_mkdir(context: BtfTracePointContext) -> i32 {
    cgroup(&context, hook::CGROUP_MKDIR, kind::CGROUP_MKDIR)
}

/// `TP_PROTO(struct cgroup *cgrp, const char *path)`
#[btf_tracepoint(function = "cgroup_rmdir")]
fn cgroup_rmdir(context: BtfTracePointContext) -> i32 {
    cgroup(&context, hook::CGROUP_RMDIR, kind::CGROUP_RMDIR)
}

#[inline(always)]
fn cgroup(context: &BtfTracePointContext, hook: u32, kind: u16) -> i32 {
    let Some(slot) = scratch(hook) else { return 0 };
    let subject = word(context, 0);
    // The v2 hierarchy has the number 0 (`cgrp_dfl_root`); the others have their own ids and paths.
    if member::<u32>(pointer(subject, &CGROUP_ROOT), &ROOT_HIERARCHY) != 0 {
        return 0;
    }
    let fact = slot.cast::<Cgroup>();
    // SAFETY: the slot is this probe's own and longer than the fixed part and the longest path.
    unsafe {
        (*fact).header = header(kind, hook, 0, 0);
        (*fact).cgroup_id = member(pointer(subject, &CGROUP_KN), &KERNFS_ID);
        let path = slot.cast::<u8>().add(size_of::<Cgroup>());
        let bytes = string(path, CGROUP_PATH_BYTES as u32, word(context, 1));
        (*fact).path_bytes = bytes as u32;
        (*fact).uid = bpf_get_current_uid_gid() as u32;
        send(hook, slot, size_of::<Cgroup>() + bytes, Wake::Yes);
    }
    0
}

/// What the caller asked for; strings are the kernel's copies of what it gave.
struct Claimed {
    source: u64,
    fstype: u64,
    flags: u64,
}

/// The mount that a `struct path` leads to.
#[inline(always)]
fn mount_of(path: u64) -> u64 {
    pointer(path, &PATH_MNT).wrapping_sub(u64::from(MOUNT_VFSMOUNT.load()))
}

#[inline(always)]
fn call_begins(hook: u32, syscall: u32, path: u64, flags: u64) -> i32 {
    let target_id = member(mount_of(path), &MOUNT_ID);
    let call = Call { start_ns: now(), target_id, facts: 0, flags, syscall, reserved: 0 };
    if CALLS.insert(bpf_get_current_pid_tgid(), call, 0).is_err() {
        dropped(hook);
    }
    0
}

/// A mount(2) whose entry program was skipped: its sections carry no call, and its end has no beginning. They are joined
/// by their thread. An unmount needs no join: what it detached says by itself that it was one.
#[inline(always)]
fn begun_unseen(number: u32) -> Option<Call> {
    let call = Call { start_ns: 0, target_id: 0, facts: 1, flags: 0, syscall: number, reserved: 0 };
    if number == syscall::MOUNT { Some(call) } else { None }
}

#[inline(always)]
fn call_ends(context: &impl EbpfContext, hook: u32, syscall: u32, path: u64, result: u32, claimed: &Claimed) -> i32 {
    let Some(slot) = scratch(hook) else { return 0 };
    // SAFETY: a map value; only this thread writes it.
    let Some(open) = call().map(|open| unsafe { *open }).or_else(|| begun_unseen(syscall)) else { return 0 };
    let end = slot.cast::<CallEnd>();
    // SAFETY: this probe's own slot, longer than the fixed part.
    let target = unsafe {
        (*end).header = header(kind::CALL_END, hook, open.start_ns, 0);
        (*end).start_ns = open.start_ns;
        (*end).flags = claimed.flags;
        (*end).error = word(context, result) as i32;
        (*end).syscall = syscall;
        (*end).target_id = open.target_id;
        (*end).reserved = 0;
        actor(&raw mut (*end).actor);
        (*end).claimed_fstype = [0; FSTYPE_BYTES];
        string((&raw mut (*end).claimed_fstype).cast(), FSTYPE_BYTES as u32, claimed.fstype);
        &raw mut (*end).target
    };
    let mut bytes = size_of::<CallEnd>();
    let subject = mount_of(path);
    // A walk is long: only where no section has said which mount it is about. `path_umount` has put the path by now;
    // the number tells whether the mount is still the one that the call began with.
    let wanted = open.facts == 0 && member::<u32>(subject, &MOUNT_ID) == open.target_id;
    if wanted {
        bytes = mount(hook, target, subject, subject, pointer(path, &PATH_DENTRY), bytes);
    }
    // SAFETY: as above; the slot is as long as the mask allows plus more than a source.
    unsafe {
        (*end).has_target = u32::from(wanted);
        let source = slot.cast::<u8>().add(bytes & maps::SCRATCH_MASK);
        let source_bytes = string(source, SOURCE_BYTES as u32, claimed.source);
        (*end).claimed_source_bytes = source_bytes as u32;
        bytes += source_bytes;
    }
    let _ = CALLS.remove(bpf_get_current_pid_tgid());
    send(hook, slot, bytes, Wake::Yes);
    0
}

/// The licence that the kernel reads: GPL-compatible, so that the tracing helpers may be used.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
