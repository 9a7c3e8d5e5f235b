//! What differs from kernel to kernel: filled by the agent from BTF before loading, constant for the verifier, which
//! prunes what a sentinel switches off. The symbols are named in `tracer_common::offset`.

use aya_ebpf::Global;
use tracer_common::fact::ABSENT;

macro_rules! globals {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) static $name: Global<u32> = Global::new(ABSENT);
        )*
    };
}

globals! {
    MOUNT_SHARE MOUNT_SLAVES MOUNT_PARENT MOUNT_MOUNTPOINT MOUNT_VFSMOUNT MOUNT_DEVNAME MOUNT_LIST MOUNT_MASTER MOUNT_NS MOUNT_ID MOUNT_GROUP
    MOUNT_ID_UNIQUE MOUNT_T_FLAGS VFSMOUNT_ROOT VFSMOUNT_SB VFSMOUNT_FLAGS NS_INUM NS_ID NS_SEQ NS_ROOT NS_NR_MOUNTS
    NS_MOUNTS NS_IS_ANON SB_DEV SB_TYPE TYPE_NAME DENTRY_PARENT DENTRY_SEQ DENTRY_NAME DENTRY_NAME_618 DENTRY_INODE INODE_MODE
    INODE_RDEV PATH_MNT PATH_DENTRY TASK_NSPROXY TASK_FILES FILES_TABLE TABLE_FILES FILE_PATH NSPROXY_MNT_NS CGROUP_KN
    KERNFS_ID CGROUP_ROOT ROOT_HIERARCHY ATTACH_RECURSIVE_MNT_ARGUMENTS COPY_MNT_NS_ARGUMENTS MAKE_VISIBLE_ARGUMENTS
    MOUNT_MOUNTS MOUNT_CHILD TASK_FS TASK_MM FS_ROOT FS_PWD FILE_DATA CONTEXT_TYPE CONTEXT_ROOT DENTRY_SB
    TASK_PT_REGS_ARGUMENTS TASK_STACK REGISTERS_CALL_NUMBER NS_COMMON INODE_PRIVATE INODE_NUMBER TASK_PARENT
}

/// `tracer_common::offset::IDENTITY`.
#[unsafe(no_mangle)]
pub(crate) static IDENTITY: Global<u64> = Global::new(1);
