//! The probes' own numbers: one each, used as the index of its scratch slot and of its drop counter.

/// Entry of `path_mount`: mount(2) begins, its target is resolved.
pub const MOUNT_ENTER: u32 = 0;
/// Exit of `path_mount`: mount(2) ends with its errno.
pub const MOUNT_EXIT: u32 = 1;
/// Entry of `path_umount`: umount2(2) begins, its target is resolved.
pub const UMOUNT_ENTER: u32 = 2;
/// Exit of `path_umount`: umount2(2) ends with its errno.
pub const UMOUNT_EXIT: u32 = 3;
/// Exit of `graft_tree`: a new mount or a bind stands where it was asked for, or failed to.
pub const GRAFT: u32 = 4;
/// Entry of `mnt_set_mountpoint`: a copy is put where a mount propagates to.
pub const COPY: u32 = 5;
/// Exit of `propagate_umount`: the list of all mounts that an unmount takes along is complete.
pub const DETACH: u32 = 6;
/// Entry of `namespace_unlock`: a section ends.
pub const SECTION_END: u32 = 7;
/// The tracepoint `cgroup_mkdir`.
pub const CGROUP_MKDIR: u32 = 8;
/// The tracepoint `cgroup_rmdir`.
pub const CGROUP_RMDIR: u32 = 9;

/// How many there are: the length of the per-probe maps.
pub const COUNT: u32 = 10;
