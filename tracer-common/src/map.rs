//! What lies in the maps that both sides use.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The key of `THROTTLED`, failing calls that are only counted: those of one kind in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Throttled {
    /// The callers' cgroup v2 id.
    pub cgroup_id: u64,
    /// Which second, `CLOCK_BOOTTIME`.
    pub second: u64,
    /// See [`crate::fact::syscall`].
    pub syscall: u32,
    /// Why they failed.
    pub errno: u32,
}

/// The key of `DIRTY`, namespaces whose facts were lost. All zero stands for detached trees, up to 6.17.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Dirty {
    /// Its 64-bit id.
    pub id: u64,
    /// Its inode number.
    pub inum: u64,
}

/// The value of `READING`: which thread reads a mount table, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Reading {
    /// `tgid << 32 | tid`, 0 when none does; the agent writes it.
    pub thread: u64,
    /// The last mount that was told: `struct mount *`.
    pub last: u64,
}
