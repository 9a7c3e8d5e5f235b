//! Sends records, or counts that it could not, by hook and reason.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    helpers::{bpf_get_current_pid_tgid, generated},
    maps::{PerCpuArray, RingBuf},
};
use tracer_common::{
    fact::{ABSENT, Actor, COMM_BYTES, Header, SectionEnd},
    hook::reason,
    map::Dirty,
};

use crate::{
    globals::{NS_ID, NS_INUM, NS_IS_ANON, NS_MOUNTS, NS_NR_MOUNTS, NS_SEQ, NSPROXY_MNT_NS, TASK_NSPROXY},
    maps::{ALL_DIRTY, Call, DIRTY, DROPS, LOST, OPEN, SECTION, Section},
    read::{current, member, pointer},
};

/// Bytes that the ring itself adds to a record: its header, and what brings it to a multiple of eight.
const RING_OVERHEAD: u64 = 16;
/// Room that a fact leaves for the end of its section: a section of which one fact was written can always be ended.
const END_RESERVE: u64 = size_of::<SectionEnd>() as u64 + RING_OVERHEAD;

/// Whether a record wakes the agent: only the last one of an operation does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    No,
    Yes,
}

/// The open section.
#[inline(always)]
pub(crate) fn section() -> Option<*mut Section> {
    SECTION.get_ptr_mut(0)
}

/// The open call of this thread.
#[inline(always)]
pub(crate) fn call() -> Option<*mut Call> {
    OPEN.get_ptr_mut(bpf_get_current_pid_tgid())
}

/// The system call that this thread is in, by `fact::syscall`; 0 for one that is not traced.
#[inline(always)]
pub(crate) fn open_syscall() -> u32 {
    // SAFETY: a map value; only this thread writes it.
    call().map_or(0, |call| unsafe { (*call).syscall })
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

/// The header of a record whose length [`send`] fills in.
#[inline(always)]
pub(crate) fn header(kind: u16, hook: u32, call: u64, section: u64) -> Header {
    Header { kind, hook: hook as u16, bytes: 0, thread: bpf_get_current_pid_tgid(), call, section, boot_ns: now() }
}

/// Sends a record, which begins with a [`Header`], leaving `reserve` bytes of the ring free; false when there was no
/// room.
///
/// # Safety
/// `record` has `bytes` initialised bytes, and the verifier can see that.
#[inline(always)]
pub(crate) unsafe fn send(
    ring: &RingBuf,
    hook: u32,
    record: *mut Header,
    bytes: usize,
    reserve: u64,
    wake: Wake,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*record).bytes = bytes as u32 };
    // SAFETY: as above.
    room(ring, hook, bytes, reserve, wake).is_some_and(|flags| unsafe { output(ring, hook, record, bytes, flags) })
}

/// With which flags a record of so many bytes is to be written; `None`, and counted as dropped, when there is no room for it.
#[inline(always)]
pub(crate) fn room(ring: &RingBuf, hook: u32, bytes: usize, reserve: u64, wake: Wake) -> Option<u32> {
    let size = ring.query(BPF_RB_RING_SIZE.into());
    let used = ring.query(BPF_RB_AVAIL_DATA.into());
    if size < used + bytes as u64 + RING_OVERHEAD + reserve {
        dropped(hook, reason::RING_FULL);
        return None;
    }
    // A section may write more than the ring holds, and the record that would wake the agent may find no room: so the
    // agent is woken long before the ring is full.
    Some(if wake == Wake::Yes || used > size / 4 { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

/// Writes a record for which there is room.
///
/// # Safety
/// As for [`send`].
#[inline(always)]
pub(crate) unsafe fn output(ring: &RingBuf, hook: u32, record: *const Header, bytes: usize, flags: u32) -> bool {
    // SAFETY: the caller's promise.
    let record = unsafe { core::slice::from_raw_parts(record.cast::<u8>(), bytes) };
    let sent = ring.output::<[u8]>(record, u64::from(flags)).is_ok();
    if !sent {
        dropped(hook, reason::RING_BUSY);
    }
    sent
}

/// The room that a table's fact must leave.
pub(crate) const fn fact_reserve() -> u64 {
    END_RESERVE
}

/// Counts a record that was dropped.
#[inline(always)]
pub(crate) fn dropped(hook: u32, reason: u32) {
    add_one(&DROPS, hook * reason::COUNT + reason);
}

/// Adds to a counter of this CPU's.
#[inline(always)]
pub(crate) fn add_one(counters: &PerCpuArray<u64>, index: u32) {
    if let Some(count) = counters.get_ptr_mut(index) {
        // SAFETY: this CPU's own counter. Only a program that is stopped between reading and writing it could undo what
        // another one counted.
        unsafe { *count += 1 };
    }
}

/// Counts an operation of which nothing was written.
#[inline(always)]
pub(crate) fn lost() {
    add_one(&LOST, 0);
}

/// Notes that a fact of a namespace was lost; of any namespace when it is not known which, or when there is no room for it.
#[inline(always)]
pub(crate) fn dirty(namespace: Option<u64>) {
    let noted = namespace.is_some_and(|namespace| {
        let key = Dirty { id: namespace_id(namespace), inum: u64::from(member::<u32>(namespace, &NS_INUM)) };
        DIRTY.insert(key, 1, 0).is_ok()
    });
    if !noted {
        let _ = ALL_DIRTY.set(0, 1, 0);
    }
}

/// A namespace's 64-bit id, by the member that this kernel has.
#[inline(always)]
pub(crate) fn namespace_id(namespace: u64) -> u64 {
    if NS_ID.load() == ABSENT { member(namespace, &NS_SEQ) } else { member(namespace, &NS_ID) }
}

/// How many mounts a namespace has.
#[inline(always)]
pub(crate) fn mounts_in(namespace: u64) -> u32 {
    if NS_NR_MOUNTS.load() == ABSENT { member(namespace, &NS_MOUNTS) } else { member(namespace, &NS_NR_MOUNTS) }
}

/// Whether no process can be in it: up to 6.17 its `seq`, on 6.18 its id is 0, from 7.0 on a member says it.
#[inline(always)]
pub(crate) fn is_anonymous(namespace: u64) -> bool {
    if NS_IS_ANON.load() == ABSENT { namespace_id(namespace) == 0 } else { member::<u8>(namespace, &NS_IS_ANON) != 0 }
}

/// The running thread's mount namespace: `struct mnt_namespace *`.
#[inline(always)]
pub(crate) fn own_namespace() -> u64 {
    namespace_of(current())
}

/// A task's mount namespace: `struct mnt_namespace *`; 0 for a task that is ending.
#[inline(always)]
pub(crate) fn namespace_of(task: u64) -> u64 {
    pointer(pointer(task, &TASK_NSPROXY), &NSPROXY_MNT_NS)
}

/// The running thread's cgroup, by its id in the v2 hierarchy.
#[inline(always)]
pub(crate) fn own_cgroup() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { generated::bpf_get_current_cgroup_id() }
}

/// Who acts, field by field into a record.
#[inline(always)]
pub(crate) fn actor(to: *mut Actor) {
    // SAFETY: the helpers take nothing, or the record's own room.
    unsafe {
        let namespace = own_namespace();
        (*to).cgroup_id = own_cgroup();
        (*to).ns_id = namespace_id(namespace);
        (*to).ns_inum = member(namespace, &NS_INUM);
        (*to).uid = generated::bpf_get_current_uid_gid() as u32;
        generated::bpf_get_current_comm((&raw mut (*to).comm).cast(), COMM_BYTES as u32);
    }
}
