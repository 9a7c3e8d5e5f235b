//! PURE: why a mount lies on no disk that `io.max` takes, and which file systems say so by their type alone.

/// Why. The first ones are of the file system; the last three say that it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoDisk {
    /// Its files are in memory, or swapped out.
    Memory,
    /// It has no files but what the kernel tells and takes.
    Kernel,
    /// A server keeps its files.
    Network,
    /// The machine that this virtual machine runs on keeps its files.
    Outside,
    /// A process serves it, and does its I/O in a cgroup of its own, also where it has a block device (`fuseblk`).
    Process,
    /// Its files are those of other file systems; writes go to the disk of its upper layer.
    Layers,
    /// It spreads its files over disks that only it knows.
    Pool,
    /// Flash without a block device.
    Flash,
    /// A number that no device has, of a file system that is not known here.
    Anonymous,
    /// It has disks, and its mount could not be reached to ask which.
    Unreached,
    /// The device is not there any more.
    Gone,
    /// The node's description of the device could not be read or understood.
    Unreadable,
}

/// The file systems that have no disk whatever their device's number is, by the names that they register (without a
/// subtype, `sshfs` of `fuse.sshfs`).
const BY_TYPE: [(NoDisk, &[&str]); 8] = [
    (NoDisk::Memory, &["tmpfs", "ramfs", "rootfs", "devtmpfs", "hugetlbfs"]),
    (
        NoDisk::Kernel,
        &[
            "autofs",
            "binder",
            "binfmt_misc",
            "bpf",
            "cgroup",
            "cgroup2",
            "configfs",
            "cpuset",
            "debugfs",
            "devpts",
            "efivarfs",
            "fusectl",
            "mqueue",
            "nfsd",
            "nsfs",
            "proc",
            "pstore",
            "resctrl",
            "rpc_pipefs",
            "securityfs",
            "selinuxfs",
            "smackfs",
            "sysfs",
            "tracefs",
        ],
    ),
    (
        NoDisk::Network,
        &["afs", "beegfs", "ceph", "cifs", "coda", "gpfs", "lustre", "nfs", "nfs4", "orangefs", "pvfs2", "smb3"],
    ),
    (NoDisk::Outside, &["9p", "prl_fs", "vboxsf", "virtiofs"]),
    (NoDisk::Process, &["fuse", "fuseblk"]),
    (NoDisk::Layers, &["aufs", "ecryptfs", "overlay", "shiftfs"]),
    (NoDisk::Pool, &["bcachefs", "zfs"]),
    (NoDisk::Flash, &["jffs2", "ubifs"]),
];

impl NoDisk {
    /// Every reason, for the manual.
    pub const ALL: [Self; 12] = [
        Self::Memory,
        Self::Kernel,
        Self::Network,
        Self::Outside,
        Self::Process,
        Self::Layers,
        Self::Pool,
        Self::Flash,
        Self::Anonymous,
        Self::Unreached,
        Self::Gone,
        Self::Unreadable,
    ];

    /// Why a file system of this type has no disk; `None` for one that may have some.
    pub fn of_type(fstype: &[u8]) -> Option<Self> {
        let name = fstype.split(|byte| *byte == b'.').next()?;
        BY_TYPE.iter().find(|(_, names)| names.iter().any(|one| one.as_bytes() == name)).map(|(why, _)| *why)
    }

    /// Whether there may be a disk that is not known.
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::Unreached | Self::Gone | Self::Unreadable)
    }

    /// As JSON and the manual have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Kernel => "kernel",
            Self::Network => "network",
            Self::Outside => "outside",
            Self::Process => "process",
            Self::Layers => "layers",
            Self::Pool => "pool",
            Self::Flash => "flash",
            Self::Anonymous => "anonymous",
            Self::Unreached => "unreached",
            Self::Gone => "gone",
            Self::Unreadable => "unreadable",
        }
    }

    /// In words, as an end of `there is no disk to limit: `.
    pub fn words(self) -> &'static str {
        match self {
            Self::Memory => "its files are in memory",
            Self::Kernel => "it has no files of its own, only what the kernel tells",
            Self::Network => "a server keeps its files; limit it there",
            Self::Outside => "the machine outside of this virtual one keeps its files; limit it there",
            Self::Process => "a process serves it (FUSE) and does its I/O; limit that process's cgroup",
            Self::Layers => "its files are those of other file systems; limit the disk of its upper layer",
            Self::Pool => "it spreads its files over disks that only it knows; limit it by its own means",
            Self::Flash => "it is on flash without a block device",
            Self::Anonymous => "its number is no device's, as that of NFS, tmpfs, overlay or FUSE",
            Self::Unreached => "its mount could not be reached to ask which disks it has",
            Self::Gone => "the device is not there any more",
            Self::Unreadable => "the node's description of the device could not be read",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_type_alone_tells() {
        for (fstype, why) in [
            ("tmpfs", Some(NoDisk::Memory)),
            ("cgroup2", Some(NoDisk::Kernel)),
            ("nfs4", Some(NoDisk::Network)),
            ("ceph", Some(NoDisk::Network)),
            ("virtiofs", Some(NoDisk::Outside)),
            ("fuse", Some(NoDisk::Process)),
            ("fuse.sshfs", Some(NoDisk::Process)),
            ("fuseblk.ntfs", Some(NoDisk::Process)),
            ("overlay", Some(NoDisk::Layers)),
            ("zfs", Some(NoDisk::Pool)),
            ("bcachefs", Some(NoDisk::Pool)),
            ("ubifs", Some(NoDisk::Flash)),
            ("ext4", None),
            ("btrfs", None),
            ("", None),
            ("fusefs", None),
        ] {
            assert_eq!(NoDisk::of_type(fstype.as_bytes()), why, "{fstype}");
        }
    }

    #[test]
    fn each_type_and_each_name_is_there_once() {
        let mut types: Vec<&str> = BY_TYPE.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut names: Vec<&str> = NoDisk::ALL.iter().map(|why| why.as_str()).collect();
        for list in [&mut types, &mut names] {
            list.sort_unstable();
            assert!(list.windows(2).all(|pair| pair[0] != pair[1]), "{list:?}");
        }
    }

    #[test]
    fn the_manual_lists_every_reason() {
        let manual = include_str!("../../../../docs/list.md");
        for why in NoDisk::ALL {
            assert!(manual.contains(&format!("\n| `{}` |", why.as_str())), "{}", why.as_str());
        }
    }

    proptest! {
        /// Nothing but a name of the table, alone or before a point, is taken for one.
        #[test]
        fn any_bytes_are_a_type_of_the_table_or_none(fstype: Vec<u8>) {
            let known = |name: &&str| fstype == name.as_bytes() || fstype.starts_with(format!("{name}.").as_bytes());
            let wanted = BY_TYPE.iter().find(|(_, names)| names.iter().any(known)).map(|(why, _)| *why);
            prop_assert_eq!(NoDisk::of_type(&fstype), wanted);
        }

        #[test]
        fn a_subtype_changes_nothing(at in 0..BY_TYPE.len(), subtype: Vec<u8>) {
            let (why, names) = BY_TYPE[at];
            for name in names {
                let fstype = [name.as_bytes(), b".", &subtype].concat();
                prop_assert_eq!(NoDisk::of_type(&fstype), Some(why));
            }
        }
    }
}
