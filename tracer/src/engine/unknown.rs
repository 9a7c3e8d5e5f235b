//! PURE: calls that change what no record tells.

use crate::operation::{CallEnd, Found, Syscall};

/// `MS_REMOUNT` of `uapi/linux/mount.h`.
const REMOUNT: u64 = 32;

/// Whether a call changed attributes of mounts that nothing tells: one whose record is missing because a return probe was skipped, or
/// because a remount's path ran into an automount. What is gone needs no telling, nor what was moved from below it meanwhile: the
/// move told its attributes.
pub(super) fn sets_attributes_of_unknown(end: &CallEnd) -> bool {
    let sets = match end.syscall {
        // What its caller claims another thread may have rewritten since.
        Syscall::MountSetattr | Syscall::OpenTreeAttr => end.sections == 0,
        Syscall::Mount => end.claimed.flags & REMOUNT != 0,
        _ => false,
    };
    sets && end.errno == 0 && !matches!(end.found, Found::Some | Found::Gone)
}
