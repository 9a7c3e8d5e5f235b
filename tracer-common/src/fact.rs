//! The records of the ring: what one probe saw, as bytes.
//!
//! Every record is a fixed part, whose `Header.kind` tells which one, followed by `Header.bytes - size_of(fixed)`
//! bytes of tail. A tail holds the strings whose lengths the fixed part names, in the order in which they are declared,
//! with nothing between them.
//!
//! It is one room, because it is one wire: who reads a record looks for all of it here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `Header.kind`. Numbered by hand, with gaps so that kin can stand together; a retired number stays retired.
/// 11 and 12 were a copy and an attach with the whole mount and an errno, before facts were written when they are certain.
pub mod kind {
    /// A mount enters a namespace ([`super::MountFact`]): nothing can undo it in this section.
    pub const ATTACH: u16 = 13;
    /// A copy was put where a mount propagates to ([`super::CopyFact`]); it may still be thrown away.
    pub const COPY: u16 = 14;
    /// A mount went to another place ([`super::MountFact`]).
    pub const MOVE: u16 = 15;
    /// A mount's propagation was set ([`super::MountFact`]).
    pub const CHANGE: u16 = 16;
    /// Only in [`super::Bare::what`]: how mounts stand, which a change elsewhere may have changed; nobody changed them themselves.
    pub const STATE: u16 = 17;
    /// Mounts of one namespace of which the same is to be said, by numbers alone ([`super::Bare`]).
    pub const BARE: u16 = 18;
    /// Mounts that leave one namespace, by numbers alone ([`super::Bare`]).
    pub const GONE: u16 = 19;
    /// A mount leaves its namespace ([`super::MountFact`]).
    pub const DETACH: u16 = 20;
    /// A mount is in a table that the agent reads just now ([`super::MountFact`]).
    pub const SEED: u16 = 21;
    /// Mounts of a namespace or of a detached tree that is being made, each a clone ([`super::Clones`]).
    pub const CLONES: u16 = 22;
    /// The last mount leaves a peer group, and its slaves have another master ([`super::GroupEnd`]).
    pub const GROUP_END: u16 = 23;
    /// The namespace semaphore is about to be released ([`super::SectionEnd`]).
    pub const SECTION_END: u16 = 30;
    /// A system call ended ([`super::CallEnd`]).
    pub const CALL_END: u16 = 40;
    /// The mount that a call is about, where no section says it ([`super::MountFact`]).
    pub const TARGET: u16 = 41;
    /// Nothing refers to a mount any more ([`super::Released`]).
    pub const RELEASED: u16 = 42;
    /// A cgroup was made ([`super::Cgroup`]).
    pub const CGROUP_MKDIR: u16 = 50;
    /// A cgroup was removed ([`super::Cgroup`]).
    pub const CGROUP_RMDIR: u16 = 51;
    /// A process was put into a cgroup ([`super::CgroupEntered`]).
    pub const CGROUP_ENTERED: u16 = 52;
    /// A mount namespace was made ([`super::NamespaceFact`]).
    pub const NAMESPACE_MADE: u16 = 60;
    /// A mount namespace ends ([`super::NamespaceFact`]).
    pub const NAMESPACE_END: u16 = 61;
}

/// `CallEnd.syscall`.
pub mod syscall {
    /// mount(2).
    pub const MOUNT: u32 = 1;
    /// umount2(2).
    pub const UMOUNT: u32 = 2;
    /// umount(2) of i386: no flags.
    pub const OLD_UMOUNT: u32 = 3;
    /// `move_mount(2)`.
    pub const MOVE_MOUNT: u32 = 4;
    /// fsmount(2).
    pub const FSMOUNT: u32 = 5;
    /// `open_tree(2)` with `OPEN_TREE_CLONE`.
    pub const OPEN_TREE: u32 = 6;
    /// `mount_setattr(2)`.
    pub const MOUNT_SETATTR: u32 = 7;
    /// `pivot_root(2)`.
    pub const PIVOT_ROOT: u32 = 8;
    /// `fsconfig(2)` with `FSCONFIG_CMD_RECONFIGURE`.
    pub const FSCONFIG: u32 = 9;
    /// `open_tree_attr(2)` with `OPEN_TREE_CLONE` or with attributes.
    pub const OPEN_TREE_ATTR: u32 = 10;
    /// clone(2), which made a namespace ([`super::NamespaceFact`]).
    pub const CLONE: u32 = 11;
    /// clone3(2), likewise.
    pub const CLONE3: u32 = 12;
    /// unshare(2), likewise.
    pub const UNSHARE: u32 = 13;
    /// Not a record's: the programs' own mark of a thread that copies a namespace.
    pub const COPY_NAMESPACE: u32 = 100;
}

/// `CallEnd.target`: whether a record of [`kind::TARGET`](super::kind::TARGET) came before.
pub mod target {
    /// There is none: the call's sections say what it is about, or its path led nowhere.
    pub const NONE: u32 = 0;
    /// It was written to the ring.
    pub const SENT: u32 = 1;
    /// It found no room in the ring.
    pub const LOST: u32 = 2;
    /// Not a record's: its cgroup has too many failures, and the call is only counted ([`crate::map::Throttled`]).
    pub const NOT_TOLD: u32 = 3;
    /// The mount that the call was about is gone: unmounted by somebody else before the call ended.
    pub const GONE: u32 = 4;
}

/// `SectionEnd.how`: how trees went in it, the flags of all `umount_tree` calls together.
pub mod how {
    /// `UMOUNT_SYNC` of `fs/namespace.c`.
    pub const SYNC: u32 = 1;
    /// `UMOUNT_PROPAGATE`.
    pub const PROPAGATE: u32 = 2;
    /// `UMOUNT_CONNECTED`.
    pub const CONNECTED: u32 = 4;
    /// A whole namespace went.
    pub const NAMESPACE: u32 = 0x100;
    /// It was in no namespace that a process can be in.
    pub const DETACHED: u32 = 0x200;
    /// By a thread of the kernel's.
    pub const KERNEL_THREAD: u32 = 0x400;
}

/// Why a path is not there: `Walk.status`.
pub mod walk {
    /// The path is whole.
    pub const WHOLE: u16 = 0;
    /// More than [`super::MANY_NAMES`] names, or before 5.17 more than [`super::FEW_NAMES`].
    pub const TOO_DEEP: u16 = 1;
    /// More than [`super::MAX_MOUNTS`] mounts above each other.
    pub const TOO_MANY_MOUNTS: u16 = 2;
    /// More than [`super::MAX_WALK_BYTES`] bytes.
    pub const TOO_LONG: u16 = 3;
    /// The walk met a dentry without a parent below its mount's root: it is not below it, or deleted.
    pub const UNREACHABLE: u16 = 4;
    /// Kernel memory could not be read.
    pub const UNREADABLE: u16 = 5;
    /// Nobody walked.
    pub const NOT_WALKED: u16 = 6;
    /// A directory was moved while it was walked, each time that it was tried.
    pub const MOVED: u16 = 7;
}

/// Names that a walk may take before 5.17, where the verifier follows each of them.
pub const FEW_NAMES: u32 = 40;
/// Names that a walk may take from 5.17 on: each costs time while nobody else can mount.
pub const MANY_NAMES: u32 = 256;
/// Mounts a walk may cross.
pub const MAX_MOUNTS: u32 = 64;
/// Bytes that a walk may fill: `PATH_MAX` of `linux/limits.h`.
pub const MAX_WALK_BYTES: u32 = 4096;
/// Bytes of one name with its NUL: `NAME_MAX + 1` of `linux/limits.h`.
pub const NAME_BYTES: usize = 256;
/// Bytes that a copied source string may have, NUL included; longer ones are cut.
pub const SOURCE_BYTES: usize = 256;
/// Bytes that a copied target string may have, NUL included; longer ones are not copied, because a part of a path is
/// another path.
pub const TARGET_BYTES: usize = 1024;
/// Bytes of a file system type's name, NUL included; the longest in the kernel has 15.
pub const FSTYPE_BYTES: usize = 32;
/// Bytes of `task_struct.comm`: `TASK_COMM_LEN` of `linux/sched.h`.
pub const COMM_BYTES: usize = 16;
/// Bytes of a cgroup's path, NUL included; longer ones are cut.
pub const CGROUP_PATH_BYTES: usize = 1024;

/// `FSMOUNT_NAMESPACE` and `OPEN_TREE_NAMESPACE` of `uapi/linux/mount.h`, from 7.0 on, in [`CallEnd::flags`]: the descriptor is
/// of a new mount namespace.
pub const MAKES_NAMESPACE: u64 = 2;

/// A field of an optional struct member that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// What every record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// See [`kind`].
    pub kind: u16,
    /// See [`crate::hook`].
    pub hook: u16,
    /// The record's whole length in bytes.
    pub bytes: u32,
    /// `tgid << 32 | tid`, in the initial pid namespace.
    pub thread: u64,
    /// When the thread's open call began ([`CallEnd::start_ns`]), 0 without one. With `thread` it names the call.
    pub call: u64,
    /// Which hold of the namespace semaphore, counted from 1 since the programs were loaded; 0 outside of one.
    pub section: u64,
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub boot_ns: u64,
}

/// What a walk left in the tail: names, leaf first, each ended by a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Walk {
    /// Bytes in the tail.
    pub bytes: u16,
    /// See [`walk`].
    pub status: u16,
}

/// A mount as the kernel's objects say it is. Tail: `path`, `root`, the source.
///
/// An *identity* stands for a kernel object as long as that lives: equal ones are the same object, and 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Mount {
    /// The mount's identity: `mnt_id_unique`, or before 6.8 one of its `struct mount`.
    pub identity: u64,
    /// That of the mount that it stands on; a root's is its own.
    pub parent: u64,
    /// That of the dentry that it stands on.
    pub mountpoint: u64,
    /// That of the dentry that it shows.
    pub root_dentry: u64,
    /// That of its superblock.
    pub superblock: u64,
    /// That of the next mount in its peer group: its own when there is no other.
    pub next_peer: u64,
    /// `mnt_id_unique`, 0 before 6.8.
    pub id_unique: u64,
    /// The parent's `mnt_id_unique`, 0 before 6.8.
    pub parent_id_unique: u64,
    /// The namespace's 64-bit id: `ns.ns_id` (6.18), before that `seq`.
    pub ns_id: u64,
    /// The namespace's inode number, as in `/proc/PID/ns/mnt`; 0 when the mount is in none.
    pub ns_inum: u32,
    /// `mnt_id`, the first field of mountinfo; the kernel uses it again.
    pub id: u32,
    /// The parent's `mnt_id`.
    pub parent_id: u32,
    /// `super_block.s_dev`: major << 20 | minor.
    pub dev: u32,
    /// The root inode's `i_rdev` in the same encoding when it is a block device, else 0.
    pub rdev: u32,
    /// `vfsmount.mnt_flags`, `MNT_*` of `linux/mount.h`.
    pub flags: u32,
    /// `mnt_t_flags`, `T_*` of `fs/mount.h`; [`ABSENT`] before 6.17.
    pub t_flags: u32,
    /// `mnt_group_id`: the peer group, 0 when not shared.
    pub group: u32,
    /// The master's peer group, 0 when not a slave.
    pub master: u32,
    /// Mounts in its namespace, before the section's change if this is the section's first fact about it.
    pub ns_mounts: u32,
    /// Zero; keeps what follows at a multiple of eight bytes.
    pub reserved: u32,
    /// Bytes of the source in the tail.
    pub source_bytes: u32,
    /// Where it is mounted, seen from its namespace's root.
    pub path: Walk,
    /// Which directory of its file system it shows.
    pub root: Walk,
    /// The file system type's name, ended by a NUL.
    pub fstype: [u8; FSTYPE_BYTES],
}

/// [`kind::ATTACH`], [`kind::MOVE`], [`kind::CHANGE`], [`kind::DETACH`]: a mount in a section. [`kind::TARGET`]: a mount
/// that the thread's open call is about; its path is the caller's, resolved. Only what sets attributes has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MountFact {
    /// What every record begins with.
    pub header: Header,
    /// The mount.
    pub mount: Mount,
}

/// [`kind::COPY`]: which mount is a copy that propagation made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CopyFact {
    /// What every record begins with.
    pub header: Header,
    /// `mnt_id_unique`, 0 before 6.8.
    pub id_unique: u64,
    /// `mnt_id`.
    pub id: u32,
    /// Zero; keeps the record a multiple of eight bytes.
    pub reserved: u32,
}

/// One mount that was made as a clone of another. It stands on the clone of its original's parent, at the same dentry, and shows
/// the same dentry of the same superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ClonedMount {
    /// Its identity, see [`Mount`].
    pub identity: u64,
    /// That of the original.
    pub original: u64,
    /// `mnt_id`.
    pub id: u32,
    /// `vfsmount.mnt_flags`.
    pub flags: u32,
    /// `mnt_t_flags`; [`ABSENT`] before 6.17.
    pub t_flags: u32,
    /// `mnt_group_id`: the peer group, 0 when not shared.
    pub group: u32,
    /// The master's peer group, 0 when not a slave.
    pub master: u32,
    /// Zero; keeps the entry a multiple of eight bytes.
    pub reserved: u32,
}

/// Clones that one record holds at most.
pub const MAX_CLONES: usize = 64;

/// [`kind::CLONES`]. Tail: as many [`ClonedMount`] as `count` says. A tree's clones come in one or several records of a section,
/// parents before children; the last one names the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Clones {
    /// What every record begins with.
    pub header: Header,
    /// The 64-bit id of the namespace that they are in; 0 when it has none or is not known yet.
    pub ns_id: u64,
    /// The 64-bit id of the namespace that the originals are in.
    pub from_id: u64,
    /// The inode number of the namespace that they are in; 0 in a detached tree, and when it is not known yet.
    pub ns_inum: u32,
    /// The inode number of the namespace that the originals are in.
    pub from_inum: u32,
    /// Mounts in the namespace.
    pub mounts: u32,
    /// Clones in the tail.
    pub count: u32,
}

/// Mounts of one section that are told each with its names; what is behind them is told by numbers alone. More than any
/// operation lists.
pub const NAMED_MOUNTS: u64 = 1024;
/// Mounts that one record by numbers alone holds at most.
pub const MAX_BARE: usize = 64;

/// [`kind::BARE`]. Tail: as many [`BareMount`] as `count` says. [`kind::GONE`]. Tail: as many [`GoneMount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Bare {
    /// What every record begins with.
    pub header: Header,
    /// The 64-bit id of the namespace that they are in.
    pub ns_id: u64,
    /// Its inode number; 0 when they are in none.
    pub ns_inum: u32,
    /// Mounts in it, before the first one's change.
    pub ns_mounts: u32,
    /// What is said of them: [`kind::ATTACH`], [`kind::MOVE`], [`kind::CHANGE`], [`kind::STATE`] or [`kind::DETACH`].
    pub what: u32,
    /// 1 where identities are `mnt_id_unique`, 0 before 6.8.
    pub unique: u32,
    /// Mounts in the tail.
    pub count: u32,
    /// Zero; keeps what follows at a multiple of eight bytes.
    pub reserved: u32,
}

/// A mount, without names: as in [`Mount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BareMount {
    /// The mount's identity.
    pub identity: u64,
    /// That of the mount that it stands on; a root's is its own.
    pub parent: u64,
    /// That of the dentry that it stands on.
    pub mountpoint: u64,
    /// That of the dentry that it shows.
    pub root_dentry: u64,
    /// That of its superblock.
    pub superblock: u64,
    /// `mnt_id`.
    pub id: u32,
    /// The parent's `mnt_id`.
    pub parent_id: u32,
    /// `super_block.s_dev`: major << 20 | minor.
    pub dev: u32,
    /// `vfsmount.mnt_flags`.
    pub flags: u32,
    /// `mnt_t_flags`; [`ABSENT`] before 6.17.
    pub t_flags: u32,
    /// `mnt_group_id`: the peer group, 0 when not shared.
    pub group: u32,
    /// The master's peer group, 0 when not a slave.
    pub master: u32,
    /// Zero; keeps the entry a multiple of eight bytes.
    pub reserved: u32,
}

/// A mount that leaves its namespace, without names: as in [`Mount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GoneMount {
    /// The mount's identity.
    pub identity: u64,
    /// That of the next mount in its peer group: its own when there is no other.
    pub next_peer: u64,
    /// `mnt_id`.
    pub id: u32,
    /// The parent's `mnt_id`.
    pub parent_id: u32,
    /// `mnt_group_id`: the peer group, 0 when not shared.
    pub group: u32,
    /// The master's peer group, 0 when not a slave.
    pub master: u32,
}

/// [`kind::GROUP_END`]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GroupEnd {
    /// What every record begins with.
    pub header: Header,
    /// The peer group's number, which the kernel uses again.
    pub group: u32,
    /// The group that is master of its slaves now; 0 when they have none.
    pub heir: u32,
}

/// [`kind::RELEASED`]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Released {
    /// What every record begins with.
    pub header: Header,
    /// Who it was, as in [`Mount`].
    pub identity: u64,
}

/// [`kind::NAMESPACE_MADE`], [`kind::NAMESPACE_END`]: a mount namespace begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NamespaceFact {
    /// What every record begins with.
    pub header: Header,
    /// Its 64-bit id.
    pub id: u64,
    /// The 64-bit id of the one that it was made from, 0 at an end.
    pub from_id: u64,
    /// Its inode number.
    pub inum: u32,
    /// The inode number of the one that it was made from, 0 at an end.
    pub from_inum: u32,
    /// Mounts in it.
    pub mounts: u32,
    /// Which call made it, see [`syscall`]; 0 at an end, and when it was another.
    pub syscall: u32,
    /// Who did it; all zero at an end, where the section's end says it.
    pub actor: Actor,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Actor {
    /// The cgroup's id in the v2 hierarchy.
    pub cgroup_id: u64,
    /// The 64-bit id of the task's mount namespace.
    pub ns_id: u64,
    /// The inode number of the task's mount namespace; 0 when it has none.
    pub ns_inum: u32,
    /// The user id in the initial user namespace.
    pub uid: u32,
    /// The task's name, ended by a NUL.
    pub comm: [u8; COMM_BYTES],
}

/// [`kind::SECTION_END`]: all facts of `header.section` have been written, or counted as dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SectionEnd {
    /// What every record begins with.
    pub header: Header,
    /// Facts of this section that were written to the ring.
    pub facts: u32,
    /// Facts of this section that were not: the ring was full, or a list was longer than a probe may walk.
    pub lost: u32,
    /// The open call's flags, as in [`CallEnd::flags`]: the call's own end may be missed.
    pub flags: u64,
    /// The open call, see [`syscall`]; 0 without one.
    pub syscall: u32,
    /// As in [`CallEnd::target_id`].
    pub target_id: u32,
    /// See [`how`]; 0 when no tree went.
    pub how: u32,
    /// Zero; keeps what follows at a multiple of eight bytes.
    pub reserved: u32,
    /// Who held the semaphore.
    pub actor: Actor,
}

/// [`kind::CALL_END`]: a system call that changes mount tables has ended.
/// Tail: the claimed source, then the claimed target; both with their NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CallEnd {
    /// What every record begins with.
    pub header: Header,
    /// `CLOCK_BOOTTIME` in nanoseconds at which the call began; 0 when its beginning was missed.
    pub start_ns: u64,
    /// The call's flags.
    pub flags: u64,
    /// `MOUNT_ATTR_*` of fsmount(2), or those that `mount_setattr(2)` sets.
    pub attributes: u64,
    /// `MOUNT_ATTR_*` that `mount_setattr(2)` clears.
    pub cleared: u64,
    /// `MS_SHARED` and its kin, of `mount_setattr(2)`.
    pub propagation: u64,
    /// The call's result: 0 or a descriptor, or a negative errno.
    pub result: i32,
    /// See [`syscall`].
    pub syscall: u32,
    /// See [`target`].
    pub target: u32,
    /// `mnt_id` of the mount that umount2(2) was to take away.
    pub target_id: u32,
    /// Bytes of the claimed source in the tail, 0 when it could not be read.
    pub source_bytes: u32,
    /// Bytes of the claimed target in the tail, 0 when it could not be read.
    pub target_bytes: u32,
    /// Sections of it that changed something: as many [`SectionEnd`]s came before, less those that were lost.
    pub sections: u32,
    /// For `fsconfig(2)`: `super_block.s_dev` of what was reconfigured, major << 20 | minor; else 0.
    pub dev: u32,
    /// Who called.
    pub actor: Actor,
    /// The file system type that the caller named, ended by a NUL; empty when none. For `fsconfig(2)` that of what was
    /// reconfigured.
    pub fstype: [u8; FSTYPE_BYTES],
}

/// [`kind::CGROUP_MKDIR`], [`kind::CGROUP_RMDIR`]: a cgroup of the v2 hierarchy was made or removed. Tail: its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Cgroup {
    /// What every record begins with.
    pub header: Header,
    /// The cgroup's id.
    pub cgroup_id: u64,
    /// Bytes of the path in the tail.
    pub path_bytes: u32,
    /// Who did it: the user id in the initial user namespace.
    pub uid: u32,
}

/// [`kind::CGROUP_ENTERED`]: a process that is in another mount namespace than its parent was put into a cgroup of the v2 hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CgroupEntered {
    /// What every record begins with; `thread` is who put it there.
    pub header: Header,
    /// The cgroup's id.
    pub cgroup_id: u64,
    /// The process's mount namespace, by its 64-bit id.
    pub ns_id: u64,
    /// The same by its inode number.
    pub ns_inum: u32,
    /// 0.
    pub reserved: u32,
}
