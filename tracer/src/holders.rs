//! PURE: who holds a mount or a device, and what of that stands in the way of unmounting it: the answer to "device or resource busy".
//!
//! What the kernel asks before an unmount (`do_umount` and `propagate_mount_busy` of `fs/namespace.c`, `fs/pnode.c`): nothing may be mounted
//! below, and nobody may refer to the mount, nor to a copy of it that goes along because its parent receives from this one's parent.
//! Every other mount of the same file system stays, and keeps the file system and its device in use.

mod along;
mod remedy;
mod sorted;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::{
    device::Dev,
    listed::{Listed, MountTable, Task},
};

pub use self::remedy::remedy;
use self::sorted::{Placed, Sorted};

/// What somebody does with a file or a directory of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// Its working directory is there.
    WorkingDirectory,
    /// Its root directory is there.
    Root,
    /// It runs a program from there.
    Executable,
    /// It has a file of it open, and may write.
    Writing,
    /// It has a file or a directory of it open.
    Reading,
    /// It has mapped a file of it.
    Mapped,
}

impl How {
    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::WorkingDirectory => "cwd",
            Self::Root => "root",
            Self::Executable => "exe",
            Self::Writing => "writing",
            Self::Reading => "open",
            Self::Mapped => "mapped",
        }
    }
}

/// One thing by which a process keeps a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What it does.
    pub how: How,
    /// The mount's `mnt_id`.
    pub mount: u32,
    /// The device of the file's file system, as stat(2) has it.
    pub superblock: Dev,
    /// The block device that the file is the node of.
    pub node: Option<Dev>,
    /// The file, as the kernel names it to whoever looks.
    pub path: Vec<u8>,
}

/// A process or thread that keeps something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Who it is.
    pub task: Task,
    /// Its mount namespace, by inode number.
    pub namespace: Option<u32>,
    /// What it keeps.
    pub references: Vec<Reference>,
}

/// What the kernel itself does with a file or a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// A loop device has a file as its disk.
    Loop {
        /// Its name, `loop0`.
        name: String,
        /// The file, as pid 1 names it, and the device of its file system.
        file: (Vec<u8>, Option<Dev>),
    },
    /// It swaps there.
    Swap {
        /// The file or device, as pid 1 names it.
        path: Vec<u8>,
        /// The device of its file system, or its own.
        dev: Option<Dev>,
    },
    /// A device is made of this one: device mapper, md.
    Stacked {
        /// Its name, `dm-0`.
        name: String,
        /// The device below.
        below: Dev,
    },
}

/// What was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A mount, by `mnt_id`: it is to be unmounted.
    Mount(u32),
    /// Block devices, as a whole disk with its partitions, and file systems, which need not be on any: nobody may use them any more.
    Devices {
        /// The devices' own numbers.
        nodes: BTreeSet<Dev>,
        /// The numbers of their file systems.
        superblocks: BTreeSet<Dev>,
    },
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The mount tables.
    pub tables: Vec<MountTable>,
    /// Who keeps something of what was asked about.
    pub processes: Vec<Process>,
    /// What the kernel does itself.
    pub users: Vec<User>,
}

/// What a holder stands in the way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocks {
    /// Of unmounting: umount(2) fails with EBUSY.
    Unmount,
    /// Of taking the device away: the file system stays in use.
    Device,
    /// Of nothing: it goes along.
    Nothing,
}

impl Blocks {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unmount => "unmount",
            Self::Device => "device",
            Self::Nothing => "nothing",
        }
    }
}

/// Who or what it is.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// A process, by all that it does on one mount.
    Process(&'a Process),
    /// Another mount, in this table.
    Mount(&'a MountTable, &'a Listed),
    /// The kernel.
    Kernel(&'a User),
}

/// What a process does on a mount: how often, and the first file of each.
pub type Does<'a> = BTreeMap<How, (usize, &'a [u8])>;

/// One line of the answer.
#[derive(Clone, Debug)]
pub struct Holder<'a> {
    /// What it stands in the way of.
    pub blocks: Blocks,
    /// Who it is.
    pub who: Who<'a>,
    /// Why it counts.
    pub why: Why,
    /// The mount that it keeps, where that is in a table.
    pub mount: Option<(&'a MountTable, &'a Listed)>,
    /// What a process does there, and how often; the first path of each.
    pub does: Does<'a>,
}

/// Why somebody is a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It keeps the mount itself.
    Keeps,
    /// It keeps a mount that stands below.
    KeepsBelow,
    /// It keeps a copy that would go along.
    KeepsCopy,
    /// It keeps the file system by another mount.
    KeepsElsewhere,
    /// It keeps the file system by a mount that is in no table: unmounted lazily, or never mounted.
    KeepsDetached,
    /// It has the device itself open.
    KeepsDevice,
    /// The kernel uses a file there, or the device.
    Uses,
    /// It is mounted below.
    Below,
    /// It shows the same file system.
    SameFileSystem,
    /// It is a copy that has something mounted below, and so stays.
    CopyStays,
    /// It is a copy that goes along.
    GoesAlong,
}

impl Why {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Keeps => "uses it",
            Self::KeepsBelow => "uses a mount below it",
            Self::KeepsCopy => "uses a copy that goes along",
            Self::KeepsElsewhere => "uses the file system by another mount",
            Self::KeepsDetached => "uses the file system by a mount that no table shows",
            Self::KeepsDevice => "has the device open",
            Self::Uses => "the kernel uses it",
            Self::Below => "is mounted below it",
            Self::SameFileSystem => "shows the same file system",
            Self::CopyStays => "is a copy that stays, since something is mounted below it",
            Self::GoesAlong => "is a copy that goes along",
        }
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keeps => "keeps",
            Self::KeepsBelow => "keeps_below",
            Self::KeepsCopy => "keeps_copy",
            Self::KeepsElsewhere => "keeps_elsewhere",
            Self::KeepsDetached => "keeps_detached",
            Self::KeepsDevice => "keeps_device",
            Self::Uses => "uses",
            Self::Below => "below",
            Self::SameFileSystem => "same_file_system",
            Self::CopyStays => "copy_stays",
            Self::GoesAlong => "goes_along",
        }
    }
}

/// The file systems and mounts to which references are of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// By `mnt_id`.
    pub mounts: HashSet<u32>,
    /// By the number of the file system.
    pub superblocks: HashSet<Dev>,
    /// Block devices, by their nodes.
    pub nodes: HashSet<Dev>,
}

/// Which references have to be looked for.
pub fn wanted(target: &Target, tables: &[MountTable]) -> Wanted {
    let sorted = Sorted::of(target, tables);
    let of_file_system = sorted.placed.iter().filter(|(_, (_, listed))| sorted.is_meant(listed.mount.dev));
    let near = sorted.meant.iter().chain(&sorted.below).chain(&sorted.along);
    let mounts = of_file_system.map(|(id, _)| id).chain(near).copied().collect();
    Wanted { mounts, superblocks: sorted.superblocks.into_iter().collect(), nodes: sorted.nodes.into_iter().collect() }
}

/// Everybody who holds it, by what to do first: what stands in the way of unmounting before what keeps the device; processes and the kernel
/// before mounts, and what stands deepest before what is above it.
pub fn holders<'a>(target: &Target, seen: &'a Seen) -> Vec<Holder<'a>> {
    let sorted = Sorted::of(target, &seen.tables);
    let mut holders: Vec<Holder<'a>> = seen.processes.iter().flat_map(|process| sorted.of_process(process)).collect();
    holders.extend(seen.users.iter().filter_map(|user| sorted.of_user(user)));
    holders.extend(sorted.mounts());
    holders.sort_by_cached_key(|holder| {
        let depth = holder.mount.map_or(0, |(_, listed)| listed.mount.path.as_ref().map_or(0, |path| components(path)));
        let (kind, number) = match holder.who {
            Who::Process(process) => (0, process.task.tid),
            Who::Kernel(_) => (1, 0),
            Who::Mount(table, listed) => (2 + u64::from(table.namespace.inum), listed.mount.id),
        };
        (holder.blocks, kind.min(2), std::cmp::Reverse(depth), kind, number)
    });
    holders
}

fn components(path: &[u8]) -> usize {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count()
}
