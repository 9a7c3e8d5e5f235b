//! What is to say of a `struct mount`, its strings included.

use tracer_common::fact::{ABSENT, FSTYPE_BYTES, MountFact, SOURCE_BYTES, Walk, walk as walk_status};

use crate::{
    emit::{is_anonymous, mounts_in, namespace_id},
    globals::{
        DENTRY_INODE, FS_ROOT, IDENTITY, INODE_MODE, INODE_RDEV, MOUNT_DEVNAME, MOUNT_GROUP, MOUNT_ID, MOUNT_ID_UNIQUE,
        MOUNT_MASTER, MOUNT_MOUNTPOINT, MOUNT_PARENT, MOUNT_SHARE, MOUNT_T_FLAGS, MOUNT_VFSMOUNT, NS_INUM, PATH_MNT,
        SB_DEV, SB_TYPE, TASK_FS, TYPE_NAME, VFSMOUNT_FLAGS, VFSMOUNT_ROOT, VFSMOUNT_SB,
    },
    maps::{SCRATCH_MASK, Scratch},
    read::{current, member, pointer, string},
    walk::walk,
};

/// `S_IFMT` and `S_IFBLK` of `linux/stat.h`.
const FILE_TYPE: u16 = 0o170_000;
const BLOCK_DEVICE: u16 = 0o060_000;

/// Where a mount stands.
pub(crate) struct Place {
    /// `struct mount *`.
    pub(crate) mount: u64,
    /// `struct mnt_namespace *`; at some hooks the mount itself does not know it yet.
    pub(crate) namespace: u64,
    /// Where the path begins: `struct dentry *` on this `struct mount *`; `None` for one that has no path to walk.
    pub(crate) walk_from: Option<(u64, u64)>,
}

/// Where a mount of a namespace stands, to begin a walk; `None` where no process can be in the namespace.
#[inline(always)]
pub(crate) fn stands_at(mount: u64, namespace: u64) -> Option<(u64, u64)> {
    (!is_anonymous(namespace)).then(|| (pointer(mount, &MOUNT_PARENT), pointer(mount, &MOUNT_MOUNTPOINT)))
}

/// The mount that a `struct path` leads to.
#[inline(always)]
pub(crate) fn mount_of(path: u64) -> u64 {
    pointer(path, &PATH_MNT).wrapping_sub(u64::from(MOUNT_VFSMOUNT.load()))
}

/// The mount that the running thread has for its root.
#[inline(always)]
pub(crate) fn own_root() -> u64 {
    mount_of(pointer(current(), &TASK_FS).wrapping_add(u64::from(FS_ROOT.load())))
}

/// What stands for a kernel object: bijective, so that equal ones are the same object, and 0 for none.
#[inline(always)]
pub(crate) fn identity_of(address: u64) -> u64 {
    address.wrapping_mul(IDENTITY.load())
}

/// What stands for a mount: the kernel's own number where it has one that is never used again.
#[inline(always)]
pub(crate) fn identity(mount: u64) -> u64 {
    if MOUNT_ID_UNIQUE.load() == ABSENT { identity_of(mount) } else { member(mount, &MOUNT_ID_UNIQUE) }
}

/// The next mount of the same peer group, itself when there is no other: `next_peer` of `fs/pnode.c`.
#[inline(always)]
pub(crate) fn next_peer(mount: u64) -> u64 {
    pointer(mount, &MOUNT_SHARE).wrapping_sub(u64::from(MOUNT_SHARE.load()))
}

/// `mnt_t_flags`, [`ABSENT`] where this kernel has none.
#[inline(always)]
pub(crate) fn t_flags(mount: u64) -> u32 {
    if MOUNT_T_FLAGS.load() == ABSENT { ABSENT } else { member(mount, &MOUNT_T_FLAGS) }
}

/// The peer group that it receives from, 0 for none.
#[inline(always)]
pub(crate) fn master_group(mount: u64) -> u32 {
    member(pointer(mount, &MOUNT_MASTER), &MOUNT_GROUP)
}

/// Fills the mount of the [`MountFact`] in scratch slot `number`; how many bytes the record has.
#[inline(always)]
pub(crate) fn fill(number: u32, slot: *mut Scratch, place: &Place) -> usize {
    let Place { mount, namespace, walk_from } = *place;
    let parent = pointer(mount, &MOUNT_PARENT);
    let vfsmount = mount + u64::from(MOUNT_VFSMOUNT.load());
    let superblock = pointer(vfsmount, &VFSMOUNT_SB);
    let root = pointer(vfsmount, &VFSMOUNT_ROOT);
    let end = size_of::<MountFact>();
    // SAFETY: the slot is the program's own and longer than the fixed part.
    let to = unsafe { &raw mut (*slot.cast::<MountFact>()).mount };
    // SAFETY: as above.
    unsafe {
        (*to).identity = identity(mount);
        (*to).parent = identity(parent);
        (*to).mountpoint = identity_of(pointer(mount, &MOUNT_MOUNTPOINT));
        (*to).root_dentry = identity_of(root);
        (*to).superblock = identity_of(superblock);
        (*to).next_peer = identity(next_peer(mount));
        (*to).id_unique = member(mount, &MOUNT_ID_UNIQUE);
        (*to).parent_id_unique = member(parent, &MOUNT_ID_UNIQUE);
        (*to).ns_id = namespace_id(namespace);
        (*to).ns_inum = member(namespace, &NS_INUM);
        (*to).id = member(mount, &MOUNT_ID);
        (*to).parent_id = member(parent, &MOUNT_ID);
        (*to).dev = member(superblock, &SB_DEV);
        (*to).rdev = block_device(pointer(root, &DENTRY_INODE));
        (*to).flags = member(vfsmount, &VFSMOUNT_FLAGS);
        (*to).t_flags = t_flags(mount);
        (*to).group = member(mount, &MOUNT_GROUP);
        (*to).master = master_group(mount);
        (*to).ns_mounts = mounts_in(namespace);
        (*to).reserved = 0;
        (*to).fstype = [0; FSTYPE_BYTES];
        let name = pointer(pointer(superblock, &SB_TYPE), &TYPE_NAME);
        string((&raw mut (*to).fstype).cast(), FSTYPE_BYTES as u32, name);
    }
    let not_walked = (Walk { bytes: 0, status: walk_status::NOT_WALKED }, end);
    let walk_path = |(mount, dentry)| walked(settled(number, mount, dentry, end), end);
    let (path, end) = walk_from.map_or(not_walked, walk_path);
    let walk_root = |_| walked(settled(number, 0, root, end), end);
    let (root, end) = walk_from.map_or(not_walked, walk_root);
    // SAFETY: the slot is as long as the mask allows plus more than a source.
    let source_bytes = unsafe {
        let source = slot.cast::<u8>().add(end & SCRATCH_MASK);
        string(source, SOURCE_BYTES as u32, pointer(mount, &MOUNT_DEVNAME))
    };
    // SAFETY: as above.
    unsafe {
        (*to).path = path;
        (*to).root = root;
        (*to).source_bytes = source_bytes as u32;
    }
    end + source_bytes
}

/// A walk, and once more if a directory was moved meanwhile.
#[inline(always)]
fn settled(number: u32, mount: u64, dentry: u64, start: usize) -> u64 {
    let first = walk(number, mount, dentry, start as u32);
    if (first >> 32) as u16 == walk_status::MOVED { walk(number, mount, dentry, start as u32) } else { first }
}

/// A walk's result as it stands in the record, and where the next string goes.
#[inline(always)]
fn walked(result: u64, start: usize) -> (Walk, usize) {
    let end = (result & 0xffff_ffff) as usize;
    (Walk { bytes: (end - start) as u16, status: (result >> 32) as u16 }, end)
}

#[inline(always)]
fn block_device(inode: u64) -> u32 {
    let mode: u16 = member(inode, &INODE_MODE);
    if mode & FILE_TYPE == BLOCK_DEVICE { member(inode, &INODE_RDEV) } else { 0 }
}
