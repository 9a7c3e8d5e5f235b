//! Mount tables that the agent reads: what it asks the kernel for stands in the ring, in order with what changes.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use tracer_common::{
    fact::{MountFact, kind},
    hook,
};

use crate::{
    context::Entry,
    emit::{Wake, dirty, fact_reserve, header, section_number, send},
    globals::{MOUNT_NS, MOUNT_VFSMOUNT},
    maps::{READING, SCRATCH, SCRATCH_MASK, TABLES, slot},
    mount::{Place, fill, stands_at},
    read::pointer,
    turn::Turn,
};

/// `static int show_vfsmnt(struct seq_file *m, struct vfsmount *mnt)`: one mount of `/proc/PID/mounts`, hidden ones and those
/// outside of the reader's root included. Who is here holds the namespace semaphore for reading, so that no section is open.
#[inline(always)]
pub(crate) fn listed(context: &impl Entry, turn: Turn) {
    let Some(reading) = READING.get_ptr_mut(0) else { return };
    // SAFETY: a map value; only the one thread that reads writes it, and the agent before and after.
    unsafe {
        if (*reading).thread != bpf_get_current_pid_tgid() {
            return;
        }
        let subject = context.argument(1).wrapping_sub(u64::from(MOUNT_VFSMOUNT.load()));
        if !turn.has_work(hook::SEED, (*reading).last == subject) {
            return;
        }
        (*reading).last = subject;
        let Some(slot) = SCRATCH.get_ptr_mut(slot::TABLES) else { return };
        let namespace = pointer(subject, &MOUNT_NS);
        let head = header(kind::SEED, hook::SEED, 0, section_number());
        (*slot.cast::<MountFact>()).header = head;
        let place = Place { mount: subject, namespace, walk_from: stands_at(subject, namespace) };
        let bytes = fill(slot::TABLES, slot, &place) & SCRATCH_MASK;
        if !send(&TABLES, hook::SEED, slot.cast(), bytes, fact_reserve(), Wake::No) {
            dirty(Some(namespace));
        }
    }
}
