//! Mount namespaces begin: `struct mnt_namespace *copy_mnt_ns(unsigned long flags, struct mnt_namespace *ns, struct
//! user_namespace *user_ns, struct fs_struct *new_fs)`, called by clone(2), clone3(2), unshare(2) and setns(2) when they
//! have namespaces to make.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use tracer_common::{
    fact::{Actor, COMM_BYTES, NamespaceFact, kind, syscall, target},
    hook,
};

use crate::{
    context::{Entry, Exit},
    emit::{Wake, actor, call, header, lost, namespace_id, send},
    globals::{COPY_MNT_NS_ARGUMENTS, NS_INUM},
    maps::{CALLS, Call, OPEN},
    read::member,
    tables::mounts_in,
    turn::{Turn, bit},
};

/// `CLONE_NEWNS` of `uapi/linux/sched.h`: without it the old namespace is returned.
const CLONE_NEWNS: u64 = 0x0002_0000;
/// `MAX_ERRNO` of `linux/err.h`: a pointer this near to the end is an error.
const MAX_ERRNO: u64 = 4095;

/// The thread begins to copy a namespace.
#[inline(always)]
pub(crate) fn copy_begins(context: &impl Entry, turn: Turn) {
    if context.argument(0) & CLONE_NEWNS == 0 || !turn.has_work(hook::NAMESPACE_COPY, is_copying()) {
        return;
    }
    let mark = Call {
        start_ns: 0,
        flags: 0,
        registers: 0,
        target_id: 0,
        facts: 0,
        delivered: 0,
        syscall: syscall::COPY_NAMESPACE,
        target: target::NONE,
        sections: 0,
        seen: bit(hook::NAMESPACE_COPY),
    };
    let _ = OPEN.insert(bpf_get_current_pid_tgid(), mark, 0);
}

/// A namespace was made.
#[inline(always)]
pub(crate) fn made(context: &impl Exit, turn: Turn) {
    let is_copying = is_copying();
    if context.argument(0) & CLONE_NEWNS == 0 || !turn.has_work(hook::NAMESPACE_MADE, !is_copying) {
        return;
    }
    if is_copying {
        let _ = OPEN.remove(bpf_get_current_pid_tgid());
    }
    let (from, made) = (context.argument(1), context.result(COPY_MNT_NS_ARGUMENTS.load()));
    if made >= MAX_ERRNO.wrapping_neg() {
        return;
    }
    let mut fact = NamespaceFact {
        header: header(kind::NAMESPACE_MADE, hook::NAMESPACE_MADE, 0, 0),
        id: namespace_id(made),
        from_id: namespace_id(from),
        inum: member(made, &NS_INUM),
        from_inum: member(from, &NS_INUM),
        mounts: mounts_in(made),
        reserved: 0,
        actor: Actor { cgroup_id: 0, ns_id: 0, ns_inum: 0, uid: 0, comm: [0; COMM_BYTES] },
    };
    actor(&raw mut fact.actor);
    let bytes = size_of::<NamespaceFact>();
    // SAFETY: the record is a whole one on the stack.
    if !unsafe { send(&CALLS, hook::NAMESPACE_MADE, (&raw mut fact).cast(), bytes, 0, Wake::Yes) } {
        lost();
    }
}

/// Whether this thread copies a namespace.
#[inline(always)]
fn is_copying() -> bool {
    // SAFETY: a map value; only this thread writes it.
    call().is_some_and(|call| unsafe { (*call).syscall } == syscall::COPY_NAMESPACE)
}
