//! The end of a mount: when nothing refers to it any more, which may be long after it left its table. Runs outside of sections.

use aya_ebpf::{bindings::BPF_RB_RING_SIZE, macros::map, maps::PerCpuArray};
use tracer_common::{
    fact::{Released, kind},
    hook,
};

use crate::{
    context::Entry,
    emit::{Wake, header, send},
    maps::CALLS,
    mount::identity,
    turn::Turn,
};

/// The part of the ring that this hook leaves free: who waits for the end of a call needs that more.
const RESERVED_ONE_IN: u64 = 4;

/// The mount that the first program has told on this CPU, `struct mount *`; 0 when the second one has been there since.
#[map]
static LAST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// `static void cleanup_mnt(struct mount *mnt)`
#[inline(always)]
pub(crate) fn released(context: &impl Entry, turn: Turn) {
    let subject = context.argument(0);
    let Some(last) = LAST.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own; another thread's program in between makes one be told twice, which is as good as once.
    let has_work = unsafe {
        let has_work = turn.has_work(hook::RELEASED, *last == subject);
        *last = if turn == Turn::First { subject } else { 0 };
        has_work
    };
    if has_work {
        let mut fact = Released { header: header(kind::RELEASED, hook::RELEASED, 0, 0), identity: identity(subject) };
        let reserve = CALLS.query(BPF_RB_RING_SIZE.into()) / RESERVED_ONE_IN;
        // SAFETY: the record is a whole one on the stack.
        unsafe { send(&CALLS, hook::RELEASED, (&raw mut fact).cast(), size_of::<Released>(), reserve, Wake::No) };
    }
}
