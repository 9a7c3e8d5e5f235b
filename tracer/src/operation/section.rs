//! PURE: what probes say of one hold of the namespace semaphore: mounts by role, and the call that it belongs to.

use super::{Actor, CallId, Cause, Mount, NamespaceChange, Syscall};

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

/// A fact of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionFact {
    /// About one mount.
    Mount(Role, Box<Mount>),
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
