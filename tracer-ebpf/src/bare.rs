//! Mounts told by numbers alone, in batches: what nobody changed itself, and in sections that tell of many mounts what is behind the first
//! ones, because names take most of a record's bytes and of the time while nobody else can mount.

use tracer_common::fact::{ABSENT, Bare, BareMount, GoneMount, MAX_BARE, NAMED_MOUNTS, kind};

use aya_ebpf::{macros::map, maps::Array};

use crate::{
    emit::{
        Wake, call_start, dirty, fact_reserve, header, mounts_in, namespace_id, output, room, section, section_number,
    },
    globals::{
        MOUNT_GROUP, MOUNT_ID, MOUNT_ID_UNIQUE, MOUNT_MOUNTPOINT, MOUNT_PARENT, MOUNT_VFSMOUNT, NS_INUM, SB_DEV,
        VFSMOUNT_FLAGS, VFSMOUNT_ROOT, VFSMOUNT_SB,
    },
    maps::TABLES,
    mount::{identity, identity_of, master_group, next_peer, t_flags},
    read::{member, pointer},
    tables::count,
};

/// The mask that shows the verifier that a mount has its place in the batch.
const MOUNT_MASK: u32 = MAX_BARE as u32 - 1;
const _: () = assert!(MAX_BARE.is_power_of_two());
/// The mask that shows the verifier that a record lies within the batch.
const BATCH_MASK: usize = 0x1fff;
const BATCH_BYTES: usize = size_of::<Bare>() + MAX_BARE * size_of::<BareMount>();

/// The record that is filled now: who uses it holds the namespace semaphore for writing.
#[repr(C, align(8))]
pub(crate) struct Batch {
    record: Bare,
    mounts: [BareMount; MAX_BARE],
    /// For the mask.
    rest: [u8; BATCH_MASK + 1 - BATCH_BYTES],
    /// `struct mnt_namespace *` of its mounts.
    namespace: u64,
    /// The section that they belong to: what another one left behind is none of this one's.
    section: u64,
}

#[map]
static BARE: Array<Batch> = Array::with_max_entries(1, 0);

/// Whether the open section has told enough mounts by name. Each time it is asked, one more is.
#[inline(always)]
pub(crate) fn is_due() -> bool {
    section().is_some_and(|section| {
        // SAFETY: a map value; who is here holds the namespace semaphore.
        unsafe {
            let due = (*section).named >= NAMED_MOUNTS;
            (*section).named += 1;
            due
        }
    })
}

/// Puts a mount into the batch, and sends the one before if that is about something else, or full.
#[inline(always)]
pub(crate) fn add(hook: u32, what: u16, mount: u64, namespace: u64) {
    let Some(batch) = BARE.get_ptr_mut(0) else { return };
    // SAFETY: a map value; who is here holds the namespace semaphore.
    unsafe {
        let record = &raw mut (*batch).record;
        let same = (*batch).section == section_number()
            && (*batch).namespace == namespace
            && (*record).what == u32::from(what)
            && u32::from((*record).header.hook) == hook;
        if !same || (*record).count as usize >= MAX_BARE {
            flush();
        }
        if (*record).count == 0 {
            begin(batch, hook, what, namespace);
        }
        let index = (*record).count & MOUNT_MASK;
        let first = (&raw mut (*batch).mounts).cast::<BareMount>();
        if what == kind::DETACH {
            gone(first.cast::<GoneMount>().add(index as usize), mount);
        } else {
            there(first.add(index as usize), mount);
        }
        (*record).count = index + 1;
    }
}

/// # Safety
/// `batch` is the map's value, and who is here holds the namespace semaphore.
#[inline(always)]
unsafe fn begin(batch: *mut Batch, hook: u32, what: u16, namespace: u64) {
    let kind = if what == kind::DETACH { kind::GONE } else { kind::BARE };
    // SAFETY: the caller's promise.
    unsafe {
        (*batch).section = section_number();
        (*batch).namespace = namespace;
        let record = &raw mut (*batch).record;
        (*record).header = header(kind, hook, call_start(), section_number());
        (*record).ns_id = namespace_id(namespace);
        (*record).ns_inum = member(namespace, &NS_INUM);
        (*record).ns_mounts = mounts_in(namespace);
        (*record).what = u32::from(what);
        (*record).unique = u32::from(MOUNT_ID_UNIQUE.load() != ABSENT);
        (*record).reserved = 0;
    }
}

/// # Safety
/// `to` is a place of the batch.
#[inline(always)]
unsafe fn there(to: *mut BareMount, mount: u64) {
    let parent = pointer(mount, &MOUNT_PARENT);
    let vfsmount = mount + u64::from(MOUNT_VFSMOUNT.load());
    let superblock = pointer(vfsmount, &VFSMOUNT_SB);
    // SAFETY: the caller's promise.
    unsafe {
        (*to).identity = identity(mount);
        (*to).parent = identity(parent);
        (*to).mountpoint = identity_of(pointer(mount, &MOUNT_MOUNTPOINT));
        (*to).root_dentry = identity_of(pointer(vfsmount, &VFSMOUNT_ROOT));
        (*to).superblock = identity_of(superblock);
        (*to).id = member(mount, &MOUNT_ID);
        (*to).parent_id = member(parent, &MOUNT_ID);
        (*to).dev = member(superblock, &SB_DEV);
        (*to).flags = member(vfsmount, &VFSMOUNT_FLAGS);
        (*to).t_flags = t_flags(mount);
        (*to).group = member(mount, &MOUNT_GROUP);
        (*to).master = master_group(mount);
        (*to).reserved = 0;
    }
}

/// # Safety
/// `to` is a place of the batch.
#[inline(always)]
unsafe fn gone(to: *mut GoneMount, mount: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        (*to).identity = identity(mount);
        (*to).next_peer = identity(next_peer(mount));
        (*to).id = member(mount, &MOUNT_ID);
        (*to).parent_id = member(pointer(mount, &MOUNT_PARENT), &MOUNT_ID);
        (*to).group = member(mount, &MOUNT_GROUP);
        (*to).master = master_group(mount);
    }
}

/// Sends what the batch holds of the open section; to be called before a fact whose order among the mounts matters, and before the
/// section ends. How many mounts there were.
///
/// A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flush() -> u32 {
    let Some(batch) = BARE.get_ptr_mut(0) else { return 0 };
    // SAFETY: a map value; who is here holds the namespace semaphore.
    unsafe {
        let record = &raw mut (*batch).record;
        let mounts = (*record).count;
        (*record).count = 0;
        if mounts == 0 || (*batch).section != section_number() {
            return 0;
        }
        let (hook, gone) = (u32::from((*record).header.hook), (*record).header.kind == kind::GONE);
        let each = if gone { size_of::<GoneMount>() } else { size_of::<BareMount>() };
        let bytes = size_of::<Bare>() + mounts as usize * each;
        (*record).header.bytes = bytes as u32;
        let sent = room(&TABLES, hook, bytes, fact_reserve(), Wake::No).is_some_and(|flags| {
            (*record).count = mounts;
            // Before 5.13 the verifier forgets how large a number is when it keeps it on the stack.
            let bytes = (&raw const (*record).header.bytes).read_volatile() as usize & BATCH_MASK;
            let sent = output(&TABLES, hook, record.cast(), bytes, flags);
            (*record).count = 0;
            sent
        });
        count(sent);
        if !sent {
            dirty(Some((*batch).namespace));
        }
        mounts
    }
}
