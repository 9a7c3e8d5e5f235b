//! The numbers that differ from kernel to kernel: one global of the eBPF object each, filled from the running kernel's
//! BTF before the programs are loaded.

use crate::arch::CALL_NUMBER;

/// A global of the object, and the struct member whose byte offset goes into it.
#[derive(Clone, Copy, Debug)]
pub struct Offset {
    /// The global's symbol.
    pub symbol: &'static str,
    /// The struct that the member is in.
    pub base: &'static str,
    /// The members to go through, each in the struct of the one before.
    pub members: &'static [&'static str],
    /// False: the programs prune what needs it when a kernel does not have it.
    pub required: bool,
}

/// A global of the object, and the function whose number of arguments goes into it.
///
/// A trampoline's context holds the arguments and behind them, on exit, the result.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// The global's symbol.
    pub symbol: &'static str,
    /// The function.
    pub function: &'static str,
}

const fn required(symbol: &'static str, base: &'static str, members: &'static [&'static str]) -> Offset {
    Offset { symbol, base, members, required: true }
}

const fn optional(symbol: &'static str, base: &'static str, members: &'static [&'static str]) -> Offset {
    Offset { symbol, base, members, required: false }
}

/// Every offset that the programs use.
pub const OFFSETS: &[Offset] = &[
    required("MOUNT_PARENT", "mount", &["mnt_parent"]),
    required("MOUNT_MOUNTPOINT", "mount", &["mnt_mountpoint"]),
    required("MOUNT_VFSMOUNT", "mount", &["mnt"]),
    required("MOUNT_DEVNAME", "mount", &["mnt_devname"]),
    required("MOUNT_LIST", "mount", &["mnt_list"]),
    required("MOUNT_SHARE", "mount", &["mnt_share"]),
    required("MOUNT_SLAVES", "mount", &["mnt_slave_list"]),
    required("MOUNT_MASTER", "mount", &["mnt_master"]),
    required("MOUNT_NS", "mount", &["mnt_ns"]),
    required("MOUNT_ID", "mount", &["mnt_id"]),
    required("MOUNT_GROUP", "mount", &["mnt_group_id"]),
    required("MOUNT_MOUNTS", "mount", &["mnt_mounts"]),
    required("MOUNT_CHILD", "mount", &["mnt_child"]),
    // 6.8 and newer.
    optional("MOUNT_ID_UNIQUE", "mount", &["mnt_id_unique"]),
    // 6.17 and newer; before that the flags are in vfsmount.mnt_flags.
    optional("MOUNT_T_FLAGS", "mount", &["mnt_t_flags"]),
    required("VFSMOUNT_ROOT", "vfsmount", &["mnt_root"]),
    required("VFSMOUNT_SB", "vfsmount", &["mnt_sb"]),
    required("VFSMOUNT_FLAGS", "vfsmount", &["mnt_flags"]),
    required("NS_COMMON", "mnt_namespace", &["ns"]),
    required("NS_INUM", "mnt_namespace", &["ns", "inum"]),
    // 6.18 and newer have ns_id; up to 6.17 the same number is seq.
    optional("NS_ID", "mnt_namespace", &["ns", "ns_id"]),
    optional("NS_SEQ", "mnt_namespace", &["seq"]),
    required("NS_ROOT", "mnt_namespace", &["root"]),
    // 6.8 and newer have nr_mounts; before that `mounts` was the number, and then became the tree.
    optional("NS_NR_MOUNTS", "mnt_namespace", &["nr_mounts"]),
    optional("NS_MOUNTS", "mnt_namespace", &["mounts"]),
    // 7.0 and newer; before that an anonymous namespace has the id 0.
    optional("NS_IS_ANON", "mnt_namespace", &["is_anon"]),
    required("SB_DEV", "super_block", &["s_dev"]),
    required("SB_TYPE", "super_block", &["s_type"]),
    required("TYPE_NAME", "file_system_type", &["name"]),
    required("DENTRY_PARENT", "dentry", &["d_parent"]),
    // Since 5.9 a `seqcount_spinlock_t`, whose first member is the count.
    required("DENTRY_SEQ", "dentry", &["d_seq"]),
    // Up to 6.17 d_name, from 6.18 __d_name in an anonymous union.
    optional("DENTRY_NAME", "dentry", &["d_name", "name"]),
    optional("DENTRY_NAME_618", "dentry", &["__d_name", "name"]),
    required("DENTRY_INODE", "dentry", &["d_inode"]),
    required("DENTRY_SB", "dentry", &["d_sb"]),
    required("INODE_MODE", "inode", &["i_mode"]),
    required("INODE_RDEV", "inode", &["i_rdev"]),
    required("INODE_NUMBER", "inode", &["i_ino"]),
    // Of a namespace's file: the namespace.
    required("INODE_PRIVATE", "inode", &["i_private"]),
    required("PATH_MNT", "path", &["mnt"]),
    required("PATH_DENTRY", "path", &["dentry"]),
    required("TASK_NSPROXY", "task_struct", &["nsproxy"]),
    required("TASK_PARENT", "task_struct", &["real_parent"]),
    required("TASK_FILES", "task_struct", &["files"]),
    required("TASK_FS", "task_struct", &["fs"]),
    required("TASK_MM", "task_struct", &["mm"]),
    required("TASK_STACK", "task_struct", &["stack"]),
    required("REGISTERS_CALL_NUMBER", "pt_regs", &[CALL_NUMBER]),
    required("FS_ROOT", "fs_struct", &["root"]),
    required("FS_PWD", "fs_struct", &["pwd"]),
    required("FILES_TABLE", "files_struct", &["fdt"]),
    required("TABLE_FILES", "fdtable", &["fd"]),
    required("FILE_PATH", "file", &["f_path"]),
    required("FILE_DATA", "file", &["private_data"]),
    required("CONTEXT_TYPE", "fs_context", &["fs_type"]),
    required("CONTEXT_ROOT", "fs_context", &["root"]),
    required("NSPROXY_MNT_NS", "nsproxy", &["mnt_ns"]),
    required("CGROUP_KN", "cgroup", &["kn"]),
    required("KERNFS_ID", "kernfs_node", &["id"]),
    required("CGROUP_ROOT", "cgroup", &["root"]),
    required("ROOT_HIERARCHY", "cgroup_root", &["hierarchy_id"]),
];

/// The global whose value makes identities of addresses: an odd number that nobody outside knows, so that what the agent shows and
/// records tells nothing about where the kernel keeps things.
pub const IDENTITY: &str = "IDENTITY";

/// Every argument count that the programs use: where the result stands on exit.
pub const ARGUMENTS: &[Arguments] = &[
    // Gone as a symbol from 6.18 on, where another function says what moved.
    Arguments { symbol: "ATTACH_RECURSIVE_MNT_ARGUMENTS", function: "attach_recursive_mnt" },
    Arguments { symbol: "COPY_MNT_NS_ARGUMENTS", function: "copy_mnt_ns" },
    // A helper since 5.15.
    Arguments { symbol: "TASK_PT_REGS_ARGUMENTS", function: "bpf_task_pt_regs" },
    // 6.17 and newer: it tells by itself what pivot_root(2) moves.
    Arguments { symbol: "MAKE_VISIBLE_ARGUMENTS", function: "make_visible" },
];
