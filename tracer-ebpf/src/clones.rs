//! Trees that are being made: for a new namespace (clone(2), unshare(2)) and detached ones (`open_tree(2)`). Each mount of them is a
//! clone, told by number in batches: the agent knows the originals.

use aya_ebpf::{macros::map, maps::Array};
use tracer_common::{
    fact::{ClonedMount, Clones, MAX_CLONES, kind, syscall},
    hook,
};

use crate::{
    context::Exit,
    emit::{
        Wake, call_start, dirty, fact_reserve, header, is_anonymous, mounts_in, namespace_id, open_syscall,
        section_number, send,
    },
    globals::{MOUNT_GROUP, MOUNT_ID, MOUNT_NS, MOUNT_VFSMOUNT, NS_INUM, VFSMOUNT_FLAGS},
    maps::TABLES,
    mount::{identity, master_group, t_flags},
    read::{is_error, member, pointer},
    tables::count,
};

/// The mask that shows the verifier that a clone has its place in the batch.
const CLONE_MASK: usize = MAX_CLONES - 1;
const _: () = assert!(MAX_CLONES.is_power_of_two());

/// The record that is filled now: who uses it holds the namespace semaphore for writing.
#[repr(C, align(8))]
pub(crate) struct Batch {
    record: Clones,
    clones: [ClonedMount; MAX_CLONES],
    /// The last clone of the section: `struct mount *`, 0 before the first one.
    last: u64,
    /// Its original.
    original: u64,
    /// The section that they belong to: what another one left behind is none of this one's.
    section: u64,
}

#[map]
static CLONES: Array<Batch> = Array::with_max_entries(1, 0);

/// `static struct mount *clone_mnt(struct mount *old, struct dentry *root, int flag)`
#[inline(always)]
pub(crate) fn cloned(context: &impl Exit) {
    let (original, made) = (context.argument(0), context.result(CLONE_MNT_ARGUMENTS));
    if is_error(made) || !is_making_tree() {
        return;
    }
    let Some(batch) = CLONES.get_ptr_mut(0) else { return };
    // SAFETY: a map value; who is here holds the namespace semaphore.
    unsafe {
        let section = section_number();
        if (*batch).section != section {
            (*batch).section = section;
            (*batch).record.count = 0;
        }
        if (*batch).record.count as usize >= MAX_CLONES {
            flush(batch, 0);
        }
        let index = (*batch).record.count as usize & CLONE_MASK;
        let to = (&raw mut (*batch).clones).cast::<ClonedMount>().add(index);
        (*to).identity = identity(made);
        (*to).original = identity(original);
        (*to).id = member(made, &MOUNT_ID);
        (*to).flags = member(made + u64::from(MOUNT_VFSMOUNT.load()), &VFSMOUNT_FLAGS);
        (*to).t_flags = t_flags(made);
        (*to).group = member(made, &MOUNT_GROUP);
        (*to).master = master_group(made);
        (*to).reserved = 0;
        (*batch).record.count = index as u32 + 1;
        (*batch).last = made;
        (*batch).original = original;
    }
}

/// Arguments of `clone_mnt`, on every kernel.
const CLONE_MNT_ARGUMENTS: u32 = 3;

/// The section is about to end: what was cloned in it is in its namespace now.
#[inline(always)]
pub(crate) fn tree_is_made() {
    let Some(batch) = CLONES.get_ptr_mut(0) else { return };
    // SAFETY: a map value; who is here holds the namespace semaphore.
    unsafe {
        if (*batch).record.count != 0 && (*batch).section == section_number() {
            flush(batch, pointer((*batch).last, &MOUNT_NS));
        }
    }
}

/// Sends the batch and begins another one. `namespace` is that of the clones, 0 when they are in none yet.
///
/// # Safety
/// `batch` is the map's value, and who is here holds the namespace semaphore.
#[inline(always)]
unsafe fn flush(batch: *mut Batch, namespace: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        let from = pointer((*batch).original, &MOUNT_NS);
        let cloned = ((*batch).record.count as usize).min(MAX_CLONES);
        let record = &raw mut (*batch).record;
        (*record).header = header(kind::CLONES, hook::CLONE, call_start(), section_number());
        (*record).ns_id = namespace_id(namespace);
        (*record).from_id = namespace_id(from);
        (*record).ns_inum = member(namespace, &NS_INUM);
        (*record).from_inum = member(from, &NS_INUM);
        (*record).mounts = mounts_in(namespace);
        let bytes = size_of::<Clones>() + cloned * size_of::<ClonedMount>();
        let sent = send(&TABLES, hook::CLONE, record.cast(), bytes, fact_reserve(), Wake::No);
        count(sent);
        // Of a namespace that lacks clones its count tells.
        if !sent && namespace != 0 && !is_anonymous(namespace) {
            dirty(Some(namespace));
        }
        (*record).count = 0;
    }
}

/// Whether this thread makes a tree whose mounts nothing else tells.
#[inline(always)]
fn is_making_tree() -> bool {
    matches!(open_syscall(), syscall::COPY_NAMESPACE | syscall::OPEN_TREE | syscall::OPEN_TREE_ATTR)
}
