//! PURE: what probes say of one hold of the namespace semaphore: mounts by role, and the call that it belongs to.

use super::{Actor, CallId, Cause, Mount, Namespace, NamespaceChange, Syscall};
use crate::device::Dev;

/// What a probe saw of one mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It entered a namespace.
    Attach,
    /// It went to another place.
    Move,
    /// Its propagation was set.
    Change,
    /// It leaves its namespace.
    Detach,
}

/// By what the kernel tells a mount from others that are there at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountKey {
    /// `mnt_id_unique`, from 6.8.
    pub id_unique: Option<u64>,
    /// `mnt_id`.
    pub id: u32,
}

/// A mount that was made as a clone of another: it stands on the clone of its original's parent, at the same dentry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClonedMount {
    /// Its identity, as in [`super::Objects`].
    pub identity: u64,
    /// That of the original.
    pub original: u64,
    /// `mnt_id`.
    pub id: u32,
    /// `MNT_*` of `linux/mount.h`.
    pub flags: u32,
    /// The peer group, when shared.
    pub shared: Option<u32>,
    /// The master's peer group, when a slave.
    pub master: Option<u32>,
    /// It can not be bound.
    pub unbindable: bool,
}

/// Clones of one tree, parents before children. A tree may take several of these; the last one names its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clones {
    /// Where they are; `None` in a detached tree, and when it is not known yet.
    pub namespace: Option<Namespace>,
    /// Where their originals are.
    pub copied_from: Option<Namespace>,
    /// Mounts in their namespace.
    pub mounts: u32,
    /// They.
    pub clones: Vec<ClonedMount>,
}

/// A mount without its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BareMount {
    /// Its identity, as in [`super::Objects`].
    pub identity: u64,
    /// That of the mount that it stands on; itself for a root.
    pub parent: u64,
    /// That of the dentry that it stands on.
    pub mountpoint: u64,
    /// That of the dentry that it shows.
    pub root: u64,
    /// That of its superblock.
    pub superblock: u64,
    /// By what it is told from others.
    pub key: MountKey,
    /// The parent's `mnt_id`.
    pub parent_id: u32,
    /// The superblock's device.
    pub dev: Dev,
    /// `MNT_*` of `linux/mount.h`.
    pub flags: u32,
    /// The peer group, when shared.
    pub shared: Option<u32>,
    /// The master's peer group, when a slave.
    pub master: Option<u32>,
    /// It can not be bound.
    pub unbindable: bool,
}

/// A mount that leaves its namespace, without its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoneMount {
    /// Its identity, as in [`super::Objects`].
    pub identity: u64,
    /// That of the next mount of its peer group; its own when there is no other.
    pub next_peer: u64,
    /// By what it is told from others.
    pub key: MountKey,
    /// The parent's `mnt_id`.
    pub parent_id: u32,
    /// The peer group, when shared.
    pub shared: Option<u32>,
    /// The master's peer group, when a slave.
    pub master: Option<u32>,
}

/// Mounts of one namespace that a section tells without their names: those that nobody changed themselves, and what is behind its first ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bare {
    /// The namespace that they are in; `None` when they are in none.
    pub namespace: Option<Namespace>,
    /// When a probe began to look at the first of them, `CLOCK_BOOTTIME` in nanoseconds.
    pub told_ns: u64,
    /// Mounts in it, before the first one's change.
    pub ns_mounts: u32,
    /// They.
    pub mounts: BareMounts,
}

/// What is said of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BareMounts {
    /// They are there; the role is `None` where nobody changed them themselves, but what they stand on, or a peer of theirs.
    There(Option<Role>, Vec<BareMount>),
    /// They leave their namespace.
    Gone(Vec<GoneMount>),
}

impl BareMounts {
    /// What the probe saw of them, `None` where nobody changed them themselves.
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::There(role, _) => *role,
            Self::Gone(_) => Some(Role::Detach),
        }
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        match self {
            Self::There(_, mounts) => mounts.len(),
            Self::Gone(mounts) => mounts.len(),
        }
    }
}

/// A fact of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionFact {
    /// About one mount.
    Mount(Role, Box<Mount>),
    /// About mounts of one namespace, without their names.
    Bare(Bare),
    /// Mounts of a tree that is being made.
    Clones(Clones),
    /// The last mount left a peer group, and its slaves have another master, or none.
    GroupEnd {
        /// The group.
        group: u32,
        /// Who is their master now.
        heir: Option<u32>,
    },
    /// This mount is a copy that propagation made; it may be thrown away before it enters a namespace.
    Copy(MountKey),
    /// A namespace ends.
    NamespaceEnd(NamespaceChange),
}

/// One hold of the namespace semaphore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Counted from 1 since the probes were loaded.
    pub number: u64,
    /// The call that it belongs to.
    pub call: Option<CallId>,
    /// Who held the semaphore; `None` when its end was lost.
    pub actor: Option<Actor>,
    /// When it ended, `CLOCK_BOOTTIME` in nanoseconds.
    pub end_ns: u64,
    /// What happened in it, in order.
    pub facts: Vec<SectionFact>,
    /// Whether nothing of it was lost.
    pub complete: bool,
    /// What its call was asked for, when its call's beginning was seen.
    pub asked: Option<Asked>,
    /// What brought it about, when its end or its call says it.
    pub cause: Option<Cause>,
}

/// What a call was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which system call.
    pub syscall: Syscall,
    /// Its flags.
    pub flags: u64,
    /// `mnt_id` of the mount that an unmount is to take away.
    pub target_id: u32,
}
