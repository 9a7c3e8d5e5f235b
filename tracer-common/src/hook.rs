//! The probes' own numbers: one each, used as the index of its drop counters.

use crate::arch::{compat_door, own_door};

/// A function by which a system call is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// Its symbol.
    pub function: &'static str,
    /// Which call, see [`crate::fact::syscall`].
    pub syscall: u32,
    /// Whether only 32-bit callers come in here: other registers may hold the arguments, and they are half as wide.
    pub compat: bool,
}

const fn door(function: &'static str, syscall: u32, compat: bool) -> Door {
    Door { function, syscall, compat }
}

/// How many doors there are.
pub const DOOR_COUNT: u32 = 19;

/// Every door, in the same order on every architecture; a kernel that lacks one lacks the system call, or takes no 32-bit callers
/// in there.
pub const DOORS: [Door; DOOR_COUNT as usize] = {
    use crate::fact::syscall::{
        FSCONFIG, FSMOUNT, MOUNT, MOUNT_SETATTR, MOVE_MOUNT, OLD_UMOUNT, OPEN_TREE, OPEN_TREE_ATTR, PIVOT_ROOT, UMOUNT,
    };
    [
        door(own_door!("mount"), MOUNT, false),
        door(compat_door!("mount"), MOUNT, true),
        door(own_door!("umount"), UMOUNT, false),
        door(compat_door!("umount"), UMOUNT, true),
        door(compat_door!("oldumount"), OLD_UMOUNT, true),
        door(own_door!("move_mount"), MOVE_MOUNT, false),
        door(compat_door!("move_mount"), MOVE_MOUNT, true),
        door(own_door!("fsmount"), FSMOUNT, false),
        door(compat_door!("fsmount"), FSMOUNT, true),
        door(own_door!("open_tree"), OPEN_TREE, false),
        door(compat_door!("open_tree"), OPEN_TREE, true),
        door(own_door!("mount_setattr"), MOUNT_SETATTR, false),
        door(compat_door!("mount_setattr"), MOUNT_SETATTR, true),
        door(own_door!("open_tree_attr"), OPEN_TREE_ATTR, false),
        door(compat_door!("open_tree_attr"), OPEN_TREE_ATTR, true),
        door(own_door!("fsconfig"), FSCONFIG, false),
        door(compat_door!("fsconfig"), FSCONFIG, true),
        door(own_door!("pivot_root"), PIVOT_ROOT, false),
        door(compat_door!("pivot_root"), PIVOT_ROOT, true),
    ]
};

/// A mount enters a namespace, with those below it (`commit_tree`) or alone (`mnt_add_to_ns`).
pub const ATTACH: u32 = 0;
/// `mnt_set_mountpoint`: a copy is put where a mount propagates to.
pub const COPY: u32 = 1;
/// A mount goes from one place to another (`make_visible`, `attach_recursive_mnt`).
pub const MOVE: u32 = 2;
/// Exit of `propagate_umount`: the list of all mounts that an unmount takes along is complete.
pub const DETACH: u32 = 3;
/// Exit of `change_mnt_propagation`: a mount became shared, private, slave or unbindable.
pub const CHANGE: u32 = 4;
/// `umount_tree`: a tree goes, and why: with its namespace, with its mount point, with its last descriptor.
pub const TREE_GOES: u32 = 5;
/// Exit of `mnt_change_mountpoint`, up to 6.16: what stood where a mount came, or below one that goes, stands on another.
pub const REPARENT: u32 = 6;
/// Entry of `change_mnt_propagation`: the last mount leaves its peer group.
pub const GROUP_END: u32 = 7;
/// Exit of `clone_mnt`: a mount of a tree that is being made.
pub const CLONE: u32 = 8;
/// `namespace_unlock`: a section ends.
pub const SECTION_END: u32 = 9;
/// Entry of `copy_mnt_ns`: mounts enter a namespace that is being made.
pub const NAMESPACE_COPY: u32 = 10;
/// Exit of `copy_mnt_ns`: a namespace was made.
pub const NAMESPACE_MADE: u32 = 11;
/// Exit of `path_mount`: what the kernel found at the path of mount(2).
pub const MOUNT_TARGET: u32 = 12;
/// Entry of `path_umount`: the mount that umount2(2) is to take away.
pub const UMOUNT_TARGET: u32 = 13;
/// Exit of `path_umount`: it is still there.
pub const UMOUNT_KEPT: u32 = 14;
/// The tracepoint `cgroup_mkdir`.
pub const CGROUP_MKDIR: u32 = 15;
/// The tracepoint `cgroup_rmdir`.
pub const CGROUP_RMDIR: u32 = 16;
/// `security_move_mount`: where `move_mount(2)` is to put something.
pub const MOVE_TARGET: u32 = 17;
/// `security_sb_pivotroot`: the new root of `pivot_root(2)`.
pub const PIVOT_TARGET: u32 = 18;
/// `show_vfsmnt`: the agent reads a mount table, and this mount is in it.
pub const SEED: u32 = 19;
/// `cleanup_mnt`: nothing refers to a mount any more.
pub const RELEASED: u32 = 20;
/// Exit of `user_path_at`: what the kernel found at the path of a call that sets attributes.
pub const SETATTR_TARGET: u32 = 21;
/// The tracepoint `cgroup_attach_task`.
pub const CGROUP_ENTERED: u32 = 22;
/// Entry of the first door; those of the others follow.
pub const CALL_ENTER: u32 = 23;
/// Exit of the first door; those of the others follow.
pub const CALL_EXIT: u32 = CALL_ENTER + DOOR_COUNT;

/// How many there are.
pub const COUNT: u32 = CALL_EXIT + DOOR_COUNT;

/// Why a record was dropped: the second index of a probe's drop counters.
pub mod reason {
    /// The ring had no room.
    pub const RING_FULL: u32 = 0;
    /// The ring had room, but its lock could not be had.
    pub const RING_BUSY: u32 = 1;
    /// The kernel's list was longer than a program may walk.
    pub const LIST_TOO_LONG: u32 = 2;
    /// How many there are.
    pub const COUNT: u32 = 3;
}
