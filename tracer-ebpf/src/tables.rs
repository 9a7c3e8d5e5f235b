//! What changes mount tables. All of it runs inside holds of the namespace semaphore, one at a time on the whole
//! machine.

use tracer_common::{
    fact::{Actor, COMM_BYTES, CopyFact, MAKES_NAMESPACE, MountFact, NamespaceFact, how, kind, syscall},
    hook,
    hook::reason,
};

use crate::{
    bare,
    context::{Entry, Exit},
    emit::{
        Wake, call, call_start, dirty, dropped, fact_reserve, header, is_anonymous, mounts_in, namespace_id,
        open_syscall, section, section_number, send,
    },
    globals::{
        ATTACH_RECURSIVE_MNT_ARGUMENTS, MOUNT_GROUP, MOUNT_ID, MOUNT_ID_UNIQUE, MOUNT_LIST, MOUNT_NS, MOUNT_PARENT,
        NS_INUM, NS_ROOT, TASK_MM,
    },
    maps::{SCRATCH, SCRATCH_MASK, TABLES, slot},
    mount::{Place, fill, stands_at},
    read::{current, member, pointer, read},
    steps::{MAX_LOOPS, Steps},
    tree::{self, next_mount},
};

/// Mounts of one list or tree that are told where the verifier follows each of them.
const FEW_MOUNTS: u32 = 1024;
/// `MNT_TREE_MOVE` of `fs/namespace.c`, and before 6.5 the argument `moving`.
const MOVING: u64 = 1;

/// `static void commit_tree(struct mount *mnt)`, up to 6.16: `mnt` and all below it enter the namespace of its parent.
/// Their list has no head: it goes round.
#[inline(always)]
pub(crate) fn tree_enters(context: &impl Entry) {
    struct Entering {
        first: u64,
        next: u64,
        namespace: u64,
    }
    impl Steps for Entering {
        const FEW: u32 = FEW_MOUNTS;
        const MANY: u32 = MAX_LOOPS;

        #[inline(always)]
        fn step(&mut self) -> bool {
            let fact = mount_fact(hook::ATTACH << 16 | u32::from(kind::ATTACH), self.next, self.namespace);
            self.next = fact.wrapping_sub(u64::from(MOUNT_LIST.load()));
            self.next == self.first
        }
    }
    let first = context.argument(0);
    let namespace = pointer(pointer(first, &MOUNT_PARENT), &MOUNT_NS);
    let whole = Entering { first, next: first, namespace }.walk();
    if !whole {
        cut(hook::ATTACH);
    }
}

/// `static void mnt_add_to_ns(struct mnt_namespace *ns, struct mount *mnt)`, as a symbol from 6.14 on: one mount enters.
///
/// Also called where no table of a process changes: for a namespace that is being made, and for anonymous ones.
#[inline(always)]
pub(crate) fn mount_enters(context: &impl Entry) {
    let (namespace, subject) = (context.argument(0), context.argument(1));
    if is_anonymous(namespace) || is_making_namespace() {
        return;
    }
    if let Some(section) = section() {
        // SAFETY: a map value; who is here holds the namespace semaphore.
        unsafe {
            if (*section).entering == 0 {
                (*section).entering = subject;
            }
        }
    }
    mount_fact(hook::ATTACH << 16 | u32::from(kind::ATTACH), subject, namespace);
}

/// `static void make_visible(struct mount *mnt)`, from 6.17 on: a tree has its place. One that entered just before has
/// said so already; any other went there from another place.
#[inline(always)]
pub(crate) fn tree_has_its_place(context: &impl Entry) {
    let subject = context.argument(0);
    let namespace = pointer(subject, &MOUNT_NS);
    // A tree that is being copied is in no namespace yet.
    if namespace == 0 || is_anonymous(namespace) || is_making_namespace() {
        return;
    }
    let Some(section) = section() else { return };
    // SAFETY: a map value; who is here holds the namespace semaphore.
    let entered = unsafe {
        let entered = (*section).entering == subject;
        (*section).entering = 0;
        entered
    };
    if !entered {
        mount_fact(hook::MOVE << 16 | u32::from(kind::MOVE), subject, namespace);
        branches_shared(subject);
    }
}

/// `static int attach_recursive_mnt(struct mount *source_mnt, struct mount *dest_mnt, struct mountpoint *dest_mp, bool
/// moving)`, from 6.5 on with flags instead of `moving`: the same bit says the same.
#[inline(always)]
pub(crate) fn tree_moved(context: &impl Exit) {
    let moved = context.argument(3) & MOVING != 0;
    if moved && context.result(ATTACH_RECURSIVE_MNT_ARGUMENTS.load()) as u32 == 0 {
        let subject = context.argument(0);
        mount_fact(hook::MOVE << 16 | u32::from(kind::MOVE), subject, 0);
        branches_shared(subject);
    }
}

/// A tree that moves below a shared mount is made shared as a whole (`set_mnt_shared` for each, inlined): no hook tells it of its
/// branches.
#[inline(always)]
fn branches_shared(root: u64) {
    struct Sharing {
        root: u64,
        at: u64,
    }
    impl Steps for Sharing {
        const FEW: u32 = FEW_MOUNTS;
        const MANY: u32 = MAX_LOOPS;

        #[inline(always)]
        fn step(&mut self) -> bool {
            self.at = next_mount(self.at, self.root);
            let over = self.at == tree::END;
            if !over {
                mount_fact(hook::MOVE << 16 | u32::from(kind::STATE), self.at, 0);
            }
            over
        }
    }
    let is_shared = member::<u32>(pointer(root, &MOUNT_PARENT), &MOUNT_GROUP) != 0;
    let mut sharing = Sharing { root, at: root };
    if is_shared && !sharing.walk() {
        cut(hook::MOVE);
    }
}

/// `void mnt_change_mountpoint(struct mount *parent, struct mountpoint *mp, struct mount *mnt)`: a mount stands on another one, in
/// place. From 6.17 on `make_visible` tells the same.
#[inline(always)]
pub(crate) fn reparented(context: &impl Exit) {
    let subject = context.argument(2);
    // A copy that is being put in place is in no namespace yet.
    if pointer(subject, &MOUNT_NS) != 0 {
        mount_fact(hook::REPARENT << 16 | u32::from(kind::MOVE), subject, 0);
    }
}

/// `void mnt_set_mountpoint(struct mount *mnt, struct mountpoint *mp, struct mount *child_mnt)`: `child_mnt` is a copy that
/// propagation made. On x86-64 only propagation calls it out of line; on arm64 every caller does, and the agent tells what was asked
/// for from copies of it (`assemble.rs`).
#[inline(always)]
pub(crate) fn copy_is_put(context: &impl Entry) {
    let (parent, child) = (context.argument(0), context.argument(2));
    let namespace = pointer(parent, &MOUNT_NS);
    // A copy enters the namespace of its parent. Whose parent is in none is a branch of a tree that is being copied.
    if namespace == 0 {
        return;
    }
    let mut fact = CopyFact {
        header: header(kind::COPY, hook::COPY, call_start(), section_number()),
        id_unique: member(child, &MOUNT_ID_UNIQUE),
        id: member(child, &MOUNT_ID),
        reserved: 0,
    };
    // SAFETY: the record is a whole one on the stack.
    let sent =
        unsafe { send(&TABLES, hook::COPY, (&raw mut fact).cast(), size_of::<CopyFact>(), fact_reserve(), Wake::No) };
    count(sent);
    if !sent {
        dirty(Some(namespace));
    }
}

/// `int propagate_umount(struct list_head *list)`, from 6.17 on `void`: the list of all that an unmount takes along.
#[inline(always)]
pub(crate) fn list_detached(context: &impl Exit) {
    struct Detaching {
        head: u64,
        next: u64,
    }
    impl Steps for Detaching {
        const FEW: u32 = FEW_MOUNTS;
        const MANY: u32 = MAX_LOOPS;

        #[inline(always)]
        fn step(&mut self) -> bool {
            let over = self.next == self.head || self.next == 0;
            if !over {
                let subject = self.next.wrapping_sub(u64::from(MOUNT_LIST.load()));
                self.next = mount_fact(hook::DETACH << 16 | u32::from(kind::DETACH), subject, 0);
            }
            over
        }
    }
    let head = context.argument(0);
    let whole = Detaching { head, next: read(head) }.walk();
    if !whole {
        cut(hook::DETACH);
    }
}

/// `static void umount_tree(struct mount *mnt, enum umount_tree_flags how)`: a tree goes. What propagates has a list of its
/// own; the rest is told here. With no flags and from the root of a namespace, the namespace ends (`put_mnt_ns`).
#[inline(always)]
pub(crate) fn tree_goes(context: &impl Entry) {
    struct Going {
        root: u64,
        at: u64,
        namespace: u64,
    }
    impl Steps for Going {
        const FEW: u32 = FEW_MOUNTS;
        const MANY: u32 = MAX_LOOPS;

        #[inline(always)]
        fn step(&mut self) -> bool {
            mount_fact(hook::TREE_GOES << 16 | u32::from(kind::DETACH), self.at, self.namespace);
            self.at = next_mount(self.at, self.root);
            self.at == tree::END
        }
    }
    let (subject, asked) = (context.argument(0), context.argument(1) as u32);
    let namespace = pointer(subject, &MOUNT_NS);
    // A copy that is thrown away was in none.
    if namespace == 0 {
        return;
    }
    let detached = is_anonymous(namespace);
    let ends = asked == 0 && pointer(namespace, &NS_ROOT) == subject;
    // What the kernel walks a path in before it mounts a part of a file system (`mount_subtree`) nobody has seen come.
    if ends && detached {
        return;
    }
    let mut went = asked;
    if detached {
        went |= how::DETACHED;
    }
    if ends {
        went |= how::NAMESPACE;
    }
    if pointer(current(), &TASK_MM) == 0 {
        went |= how::KERNEL_THREAD;
    }
    if let Some(section) = section() {
        // SAFETY: a map value; who is here holds the namespace semaphore.
        unsafe { (*section).how |= u64::from(went) };
    }
    if ends {
        namespace_ends(namespace);
    } else if asked & how::PROPAGATE == 0 {
        let whole = Going { root: subject, at: subject, namespace }.walk();
        if !whole {
            cut(hook::TREE_GOES);
        }
    }
}

#[inline(always)]
fn namespace_ends(namespace: u64) {
    bare::flush();
    let mut fact = NamespaceFact {
        header: header(kind::NAMESPACE_END, hook::TREE_GOES, call_start(), section_number()),
        id: namespace_id(namespace),
        from_id: 0,
        inum: member(namespace, &NS_INUM),
        from_inum: 0,
        mounts: mounts_in(namespace),
        syscall: 0,
        actor: Actor { cgroup_id: 0, ns_id: 0, ns_inum: 0, uid: 0, comm: [0; COMM_BYTES] },
    };
    let bytes = size_of::<NamespaceFact>();
    // SAFETY: the record is a whole one on the stack.
    let sent = unsafe { send(&TABLES, hook::TREE_GOES, (&raw mut fact).cast(), bytes, fact_reserve(), Wake::No) };
    count(sent);
    if !sent {
        dirty(Some(namespace));
    }
}

/// Sends a [`MountFact`] of the open section and counts it there, or tells the mount by numbers alone where that is enough or many have been told;
/// what stands behind the mount in its `mnt_list`. `namespace` 0 is the one that the mount itself knows.
///
/// A global function, so that a list of mounts costs the verifier one look and not one for each mount.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn mount_fact(hook_and_kind: u32, subject: u64, namespace: u64) -> u64 {
    let (hook, kind) = (hook_and_kind >> 16, hook_and_kind as u16);
    let namespace = if namespace == 0 { pointer(subject, &MOUNT_NS) } else { namespace };
    if kind == kind::STATE || bare::is_due() {
        bare::add(hook, kind, subject, namespace);
        return pointer(subject, &MOUNT_LIST);
    }
    bare::flush();
    let Some(slot) = SCRATCH.get_ptr_mut(slot::TABLES) else { return 0 };
    // SAFETY: the slot is longer than the fixed part; who is here holds the namespace semaphore.
    unsafe { (*slot.cast::<MountFact>()).header = header(kind, hook, call_start(), section_number()) };
    let place = Place { mount: subject, namespace, walk_from: stands_at(subject, namespace) };
    let bytes = fill(slot::TABLES, slot, &place) & SCRATCH_MASK;
    // SAFETY: the slot is longer than the mask.
    let sent = unsafe { send(&TABLES, hook, slot.cast(), bytes, fact_reserve(), Wake::No) };
    count(sent);
    if !sent {
        dirty(Some(namespace));
    }
    pointer(subject, &MOUNT_LIST)
}

/// Counts a fact of the open section and of the open call.
#[inline(always)]
pub(crate) fn count(sent: bool) {
    // SAFETY: map values; who is here holds the namespace semaphore, and a call belongs to its thread.
    unsafe {
        if let Some(section) = section() {
            if sent {
                (*section).facts += 1;
            } else {
                (*section).lost += 1;
            }
        }
        if let Some(call) = call() {
            (*call).facts += 1;
        }
    }
}

/// A list was longer than a program may walk; whose namespaces the rest is in, nobody knows.
#[inline(always)]
fn cut(hook: u32) {
    count(false);
    dropped(hook, reason::LIST_TOO_LONG);
    dirty(None);
}

/// Whether the mounts that this thread adds are those of a namespace or a detached tree that is being made.
#[inline(always)]
fn is_making_namespace() -> bool {
    match open_syscall() {
        syscall::COPY_NAMESPACE => true,
        // Their paths may lead to what the kernel mounts by itself.
        syscall::OPEN_TREE | syscall::FSMOUNT => {
            // SAFETY: a map value; only this thread writes it.
            call().is_some_and(|call| unsafe { (*call).flags } & MAKES_NAMESPACE != 0)
        }
        _ => false,
    }
}
