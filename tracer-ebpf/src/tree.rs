//! The mounts of a tree, one after the other, as `next_mnt` of the kernel's `fs/namespace.c` goes.

use crate::{
    globals::{MOUNT_CHILD, MOUNT_MOUNTS, MOUNT_PARENT},
    read::{pointer, read},
};

/// In place of the mount behind the last one.
pub(crate) const END: u64 = 0;
/// Mounts above each other that the way back up may take.
const MAX_DEPTH: u32 = 128;

/// The mount behind `at` in the tree of `root`, parents first; [`END`] behind the last one, and where it is too deep. What
/// changes meanwhile may lead anywhere: who walks counts.
///
/// A global function, so that a walk costs the verifier one look and not one for each mount.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn next_mount(at: u64, root: u64) -> u64 {
    let (children, child) = (u64::from(MOUNT_MOUNTS.load()), u64::from(MOUNT_CHILD.load()));
    let first = read::<u64>(at.wrapping_add(children));
    if first == 0 {
        return END;
    }
    if first != at.wrapping_add(children) {
        return first.wrapping_sub(child);
    }
    let mut at = at;
    for _ in 0..MAX_DEPTH {
        if at == root {
            return END;
        }
        let parent = pointer(at, &MOUNT_PARENT);
        let sibling = read::<u64>(at.wrapping_add(child));
        if sibling == 0 || parent == 0 {
            return END;
        }
        if sibling != parent.wrapping_add(children) {
            return sibling.wrapping_sub(child);
        }
        at = parent;
    }
    END
}
