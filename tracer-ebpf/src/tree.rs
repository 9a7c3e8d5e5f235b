//! The mounts of a tree, one after the other, as `next_mnt` of the kernel's `fs/namespace.c` goes.

use crate::{
    globals::{MOUNT_CHILD, MOUNT_MOUNTS, MOUNT_PARENT},
    read::{pointer, read},
    steps::Steps,
};

/// In place of the mount behind the last one.
pub(crate) const END: u64 = 0;
/// In place of the mount behind one that is in the tree no more: it was taken out by somebody else meanwhile.
pub(crate) const LEFT: u64 = 1;
/// Mounts above each other that the way back up may take where the verifier follows it.
const MAX_DEPTH: u32 = 128;

/// The mount behind `at` in the tree of `root`, parents first; [`END`] behind the last one, and where it is too deep; [`LEFT`] where
/// the way back does not lead to the root. What changes meanwhile may lead anywhere: who walks counts.
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
    let mut back = Back { at, root, children, child, next: END };
    back.walk();
    back.next
}

/// The way back up, to the first mount that has a sibling behind it.
struct Back {
    at: u64,
    root: u64,
    children: u64,
    child: u64,
    next: u64,
}

impl Steps for Back {
    const FEW: u32 = MAX_DEPTH;
    const MANY: u32 = 8 * MAX_DEPTH;

    #[inline(always)]
    fn step(&mut self) -> bool {
        if self.at == self.root {
            return true;
        }
        let parent = pointer(self.at, &MOUNT_PARENT);
        let sibling = read::<u64>(self.at.wrapping_add(self.child));
        if sibling == 0 || parent == 0 {
            return true;
        }
        // What is taken out of a tree is its own parent (`umount_tree`), and so is the root of a namespace.
        if parent == self.at {
            self.next = LEFT;
            return true;
        }
        let has_sibling = sibling != parent.wrapping_add(self.children);
        if has_sibling {
            self.next = sibling.wrapping_sub(self.child);
        }
        self.at = parent;
        has_sibling
    }
}
