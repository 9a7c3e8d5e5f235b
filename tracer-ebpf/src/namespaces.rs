//! Mount namespaces begin: `struct mnt_namespace *copy_mnt_ns(unsigned long flags, struct mnt_namespace *ns, struct
//! user_namespace *user_ns, struct fs_struct *new_fs)`, called by clone(2), clone3(2), unshare(2) and setns(2) when they
//! have namespaces to make.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated};
use tracer_common::{
    arch::{CLONE, CLONE_32, REGISTERS_BYTES, UNSHARE, UNSHARE_32},
    fact::{ABSENT, Actor, COMM_BYTES, Header, NamespaceFact, kind, syscall},
    hook,
};

use crate::{
    context::{Entry, Exit},
    emit::{Wake, actor, call_start, dirty, header, lost, mounts_in, namespace_id, open_syscall, send},
    globals::{
        COPY_MNT_NS_ARGUMENTS, DENTRY_INODE, INODE_NUMBER, INODE_PRIVATE, NS_COMMON, NS_INUM, PATH_DENTRY,
        REGISTERS_CALL_NUMBER, TASK_PT_REGS_ARGUMENTS, TASK_STACK,
    },
    maps::{CALLS, Call, OPEN},
    read::{current, is_error, member, pointer, read},
    targets::path_of,
    turn::Turn,
};

/// `CLONE_NEWNS` of `uapi/linux/sched.h`: without it the old namespace is returned.
const CLONE_NEWNS: u64 = 0x0002_0000;
/// Its number, in every table: since 5.0 calls have one number everywhere.
const CLONE3: u32 = 435;
/// `THREAD_SIZE` of x86-64, and of arm64 with pages of up to 16 KiB.
const STACK_BYTES: u64 = 16 << 10;

/// The thread begins to copy a namespace.
#[inline(always)]
pub(crate) fn copy_begins(context: &impl Entry, turn: Turn) {
    if context.argument(0) & CLONE_NEWNS == 0 || !turn.has_work(hook::NAMESPACE_COPY, is_copying()) {
        return;
    }
    let mark = Call::new(syscall::COPY_NAMESPACE, hook::NAMESPACE_COPY);
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
    if is_error(made) {
        return;
    }
    if !tell(header(kind::NAMESPACE_MADE, hook::NAMESPACE_MADE, 0, 0), made, from, calling()) {
        lost();
        dirty(Some(made));
    }
}

/// The namespace behind the descriptor that the open call returned (`FSMOUNT_NAMESPACE`, `OPEN_TREE_NAMESPACE`). Its own end says the rest.
#[inline(always)]
pub(crate) fn made_behind(hook: u32, syscall: u32, descriptor: i32) {
    let inode = pointer(pointer(path_of(descriptor), &PATH_DENTRY), &DENTRY_INODE);
    let made = pointer(inode, &INODE_PRIVATE).wrapping_sub(u64::from(NS_COMMON.load()));
    // Another thread may have put another file there meanwhile: a namespace's has the namespace's number.
    if u64::from(member::<u32>(made, &NS_INUM)) != member::<u64>(inode, &INODE_NUMBER) {
        return;
    }
    if !tell(header(kind::NAMESPACE_MADE, hook, call_start(), 0), made, 0, syscall) {
        dirty(Some(made));
    }
}

/// Sends it; whether there was room.
#[inline(always)]
fn tell(header: Header, made: u64, from: u64, syscall: u32) -> bool {
    let hook = u32::from(header.hook);
    let mut fact = NamespaceFact {
        header,
        id: namespace_id(made),
        from_id: namespace_id(from),
        inum: member(made, &NS_INUM),
        from_inum: member(from, &NS_INUM),
        mounts: mounts_in(made),
        syscall,
        actor: Actor { cgroup_id: 0, ns_id: 0, ns_inum: 0, uid: 0, comm: [0; COMM_BYTES] },
    };
    actor(&raw mut fact.actor);
    let bytes = size_of::<NamespaceFact>();
    // SAFETY: the record is a whole one on the stack.
    unsafe { send(&CALLS, hook, (&raw mut fact).cast(), bytes, 0, Wake::Yes) }
}

/// The system call that this thread is in, of those that make namespaces; 0 for any other.
#[inline(always)]
fn calling() -> u32 {
    match read::<u32>(registers().wrapping_add(u64::from(REGISTERS_CALL_NUMBER.load()))) {
        CLONE | CLONE_32 => syscall::CLONE,
        CLONE3 => syscall::CLONE3,
        UNSHARE | UNSHARE_32 => syscall::UNSHARE,
        _ => 0,
    }
}

/// Where this thread's registers were kept when it entered the kernel: at the end of its stack. Since how far before the end
/// differs, a helper says it.
#[inline(always)]
fn registers() -> u64 {
    if TASK_PT_REGS_ARGUMENTS.load() == ABSENT {
        pointer(current(), &TASK_STACK) + STACK_BYTES - REGISTERS_BYTES
    } else {
        // SAFETY: the running thread is alive.
        unsafe { generated::bpf_task_pt_regs(generated::bpf_get_current_task_btf()) as u64 }
    }
}

/// Whether this thread copies a namespace.
#[inline(always)]
fn is_copying() -> bool {
    open_syscall() == syscall::COPY_NAMESPACE
}
