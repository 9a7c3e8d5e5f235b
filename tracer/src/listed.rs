//! PURE: the vocabulary of mount tables: what is mounted in a namespace now.

use crate::{
    host::disk::Behind,
    operation::{Mount, Namespace},
    options::Options,
    pods::{cgroup_path::Owner, named::Named},
};

/// A mount as a table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is; a mount table does not tell `rdev`.
    pub mount: Mount,
    /// Its files' owners are mapped.
    pub idmapped: bool,
    /// Its options, as far as they may be seen.
    pub options: Options,
    /// The disks that it lies on; `None` where nobody asked.
    pub behind: Option<Behind>,
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its process.
    pub pid: u32,
    /// Its own id.
    pub tid: u32,
    /// Its name.
    pub comm: Vec<u8>,
    /// Whose its cgroup is.
    pub owner: Owner,
    /// What that is called, where the runtime has said it.
    pub named: Option<Named>,
}

/// The mount table of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountTable {
    /// Whose.
    pub namespace: Namespace,
    /// The thread that it was read through; `None` when no thread is in the namespace.
    pub task: Option<Task>,
    /// Processes with a thread in it, where they were counted.
    pub processes: Option<usize>,
    /// The mounts, as the kernel orders them.
    pub mounts: Vec<Listed>,
}
