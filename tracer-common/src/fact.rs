//! The records of the ring: what one probe saw, as bytes.
//!
//! Every record is a fixed part, whose `Header.kind` tells which one, followed by `Header.bytes - size_of(fixed)`
//! bytes of tail. A tail holds the strings whose lengths the fixed part names, in the order in which they are declared,
//! with nothing between them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `Header.kind`. Numbered by hand, with gaps so that kin can stand together; a retired number stays retired.
pub mod kind {
    /// A mount stands where its call asked for it ([`super::MountFact`]); `error` tells whether it really does.
    pub const ATTACH: u16 = 10;
    /// A copy was put where a mount propagates to ([`super::MountFact`]); undone when the section's attach failed.
    pub const COPY: u16 = 11;
    /// A mount leaves its namespace ([`super::MountFact`]).
    pub const DETACH: u16 = 20;
    /// The namespace semaphore is about to be released ([`super::SectionEnd`]).
    pub const SECTION_END: u16 = 30;
    /// A system call ended ([`super::CallEnd`]).
    pub const CALL_END: u16 = 40;
    /// A cgroup was made ([`super::Cgroup`]).
    pub const CGROUP_MKDIR: u16 = 50;
    /// A cgroup was removed ([`super::Cgroup`]).
    pub const CGROUP_RMDIR: u16 = 51;
}

/// `CallEnd.syscall`.
pub mod syscall {
    /// mount(2).
    pub const MOUNT: u32 = 1;
    /// umount2(2).
    pub const UMOUNT: u32 = 2;
}

/// Why a path is not there: `Walk.status`.
pub mod walk {
    /// The path is whole.
    pub const WHOLE: u16 = 0;
    /// More than [`super::MAX_DENTRIES`] names.
    pub const TOO_DEEP: u16 = 1;
    /// More than [`super::MAX_MOUNTS`] mounts above each other.
    pub const TOO_MANY_MOUNTS: u16 = 2;
    /// More than [`super::MAX_WALK_BYTES`] bytes.
    pub const TOO_LONG: u16 = 3;
    /// The walk met a dentry without a parent below its mount's root: deleted, or moved while it was walked.
    pub const UNREACHABLE: u16 = 4;
    /// Kernel memory could not be read.
    pub const UNREADABLE: u16 = 5;
    /// Nobody walked.
    pub const NOT_WALKED: u16 = 6;
}

/// Names a walk may take, as many as the verifier of 5.10 takes within its million instructions with room to spare.
pub const MAX_DENTRIES: u32 = 40;
/// Mounts a walk may cross.
pub const MAX_MOUNTS: u32 = 8;
/// Bytes that a walk may fill: `PATH_MAX` of `linux/limits.h`.
pub const MAX_WALK_BYTES: u32 = 4096;
/// Bytes of one name with its NUL: `NAME_MAX + 1` of `linux/limits.h`.
pub const NAME_BYTES: usize = 256;
/// Bytes that a copied source string may have, NUL included; longer ones are cut.
pub const SOURCE_BYTES: usize = 256;
/// Bytes of a file system type's name, NUL included; the longest in the kernel has 15.
pub const FSTYPE_BYTES: usize = 32;
/// Bytes of `task_struct.comm`: `TASK_COMM_LEN` of `linux/sched.h`.
pub const COMM_BYTES: usize = 16;
/// Bytes of a cgroup's path, NUL included; longer ones are cut.
pub const CGROUP_PATH_BYTES: usize = 1024;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Mount {
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
    /// Bytes of the source in the tail.
    pub source_bytes: u32,
    /// Where it is mounted, seen from its namespace's root.
    pub path: Walk,
    /// Which directory of its file system it shows.
    pub root: Walk,
    /// The file system type's name, ended by a NUL.
    pub fstype: [u8; FSTYPE_BYTES],
}

/// [`kind::ATTACH`], [`kind::COPY`], [`kind::DETACH`]: a mount, and what the function made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MountFact {
    /// What every record begins with.
    pub header: Header,
    /// 0, or a negative errno.
    pub error: i32,
    /// Zero; keeps the next field aligned.
    pub reserved: u32,
    /// The mount.
    pub mount: Mount,
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
    /// The open call's target, as in [`CallEnd::target_id`].
    pub target_id: u32,
    /// Who held the semaphore.
    pub actor: Actor,
}

/// [`kind::CALL_END`]: a system call that changes mount tables has ended.
/// Tail: `target.path`, `target.root`, the target's source, then the claimed source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CallEnd {
    /// What every record begins with.
    pub header: Header,
    /// `CLOCK_BOOTTIME` in nanoseconds at which the call began.
    pub start_ns: u64,
    /// The call's flags: `MS_*` of mount(2), or `MNT_*`/`UMOUNT_*` of umount2(2).
    pub flags: u64,
    /// 0, or a negative errno.
    pub error: i32,
    /// See [`syscall`].
    pub syscall: u32,
    /// 1 when `target` was filled: the call failed, or none of its sections wrote a fact.
    pub has_target: u32,
    /// Bytes of the claimed source in the tail, 0 when the caller gave none.
    pub claimed_source_bytes: u32,
    /// `mnt_id` of the mount that the caller's path led to when the call began.
    pub target_id: u32,
    /// Zero; keeps the next field aligned.
    pub reserved: u32,
    /// Who called.
    pub actor: Actor,
    /// The file system type that the caller named, ended by a NUL; empty when none.
    pub claimed_fstype: [u8; FSTYPE_BYTES],
    /// The mount that the kernel found at the caller's path. Its path is the caller's, resolved.
    pub target: Mount,
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
