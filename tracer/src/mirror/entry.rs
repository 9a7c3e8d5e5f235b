//! PURE: what the mirror holds of one mount.

use crate::{
    device::Dev,
    operation::{BareMount, ClonedMount, Mount},
};

/// `MNT_*` of `linux/mount.h` that users see: the lowest eight bits. The others are the kernel's own.
const PUBLIC_FLAGS: u32 = 0xff;

/// A mount, without names: these belong to directories, which are renamed without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `mnt_id`.
    pub id: u32,
    /// `mnt_id_unique`, from 6.8.
    pub id_unique: Option<u64>,
    /// The identity of the mount that it stands on; its own for a root.
    pub parent: u64,
    /// That mount's `mnt_id`.
    pub parent_id: u32,
    /// The identity of the dentry that it stands on.
    pub mountpoint: u64,
    /// The identity of the dentry that it shows.
    pub root: u64,
    /// The identity of its superblock.
    pub superblock: u64,
    /// The superblock's device.
    pub dev: Dev,
    /// `MNT_*` of `linux/mount.h` that users see.
    pub flags: u32,
    /// When a probe began to look at these, `CLOCK_BOOTTIME` in nanoseconds.
    pub flags_ns: u64,
    /// The peer group, when shared.
    pub shared: Option<u32>,
    /// The master's peer group, when a slave.
    pub master: Option<u32>,
    /// It can not be bound.
    pub unbindable: bool,
    /// When that was told, `CLOCK_BOOTTIME` in nanoseconds.
    pub at_ns: u64,
}

impl Entry {
    /// As a fact has it.
    pub fn of(mount: &Mount, at_ns: u64) -> Self {
        Self::bare(&mount.bare(), mount.told_ns, at_ns)
    }

    /// As a fact without names has it, that was told at `told_ns`.
    pub(super) fn bare(mount: &BareMount, told_ns: u64, at_ns: u64) -> Self {
        Self {
            id: mount.key.id,
            id_unique: mount.key.id_unique,
            parent: mount.parent,
            parent_id: mount.parent_id,
            mountpoint: mount.mountpoint,
            root: mount.root,
            superblock: mount.superblock,
            dev: mount.dev,
            flags: mount.flags & PUBLIC_FLAGS,
            flags_ns: told_ns,
            shared: mount.shared,
            master: mount.master,
            unbindable: mount.unbindable,
            at_ns,
        }
    }

    /// A clone of it, which stands on `parent` (identity and `mnt_id`).
    pub(super) fn cloned(&self, clone: &ClonedMount, parent: (u64, u32), at_ns: u64) -> Self {
        Self {
            id: clone.id,
            id_unique: self.id_unique.map(|_| clone.identity),
            parent: parent.0,
            parent_id: parent.1,
            flags: clone.flags & PUBLIC_FLAGS,
            flags_ns: 0,
            shared: clone.shared,
            master: clone.master,
            unbindable: clone.unbindable,
            at_ns,
            ..*self
        }
    }

    /// It when it has left its table: the kernel makes it private.
    pub(super) fn left(self) -> Self {
        Self { shared: None, master: None, ..self }
    }

    /// The attributes that a mount has, unless it is known what they were later.
    pub(super) fn set_flags(&mut self, mount: &Mount) {
        if mount.told_ns >= self.flags_ns {
            (self.flags, self.flags_ns) = (mount.flags & PUBLIC_FLAGS, mount.told_ns);
        }
    }

    /// Attributes change outside of sections too, and who changes them tells it afterwards: a fact that was told before and is put in
    /// later knows less.
    pub(super) fn keep_newer_flags(&mut self, known: &Self) {
        if known.flags_ns > self.flags_ns {
            (self.flags, self.flags_ns) = (known.flags, known.flags_ns);
        }
    }

    /// In what two differ, as words with both values; what says when is no difference.
    pub(super) fn differences(&self, kernel: &Self) -> Vec<String> {
        let fields = [
            ("id", u64::from(self.id), u64::from(kernel.id)),
            ("parent", self.parent, kernel.parent),
            ("parent_id", self.parent_id.into(), kernel.parent_id.into()),
            ("mountpoint", self.mountpoint, kernel.mountpoint),
            ("root", self.root, kernel.root),
            ("superblock", self.superblock, kernel.superblock),
            ("flags", self.flags.into(), kernel.flags.into()),
            ("group", self.shared.unwrap_or(0).into(), kernel.shared.unwrap_or(0).into()),
            ("master", self.master.unwrap_or(0).into(), kernel.master.unwrap_or(0).into()),
            ("unbindable", self.unbindable.into(), kernel.unbindable.into()),
        ];
        let differing = fields.into_iter().filter(|(_, mirror, kernel)| mirror != kernel);
        differing.map(|(name, mirror, kernel)| format!("{name}: mirror {mirror}, kernel {kernel}")).collect()
    }
}
