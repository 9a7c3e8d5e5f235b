//! Sequences that are easy to get wrong, each by itself: what no hook tells and the mirror has to derive.

use anyhow::{Result, ensure};

use super::Watched;
use super::run::{Bounded, Order, run};

/// A private tree that goes below a shared mount becomes shared, with a group for each of its mounts, and its copies are their peers.
const A_PRIVATE_TREE_BELOW_A_SHARED_MOUNT: &str = "
    0 unshare
    0 tmpfs a
    0 change a shared one mount
    0 bind a b
    1 enter 0
    1 unshare
    0 carry c a/a private
    1 carry c b/b private";

/// The slaves of a group whose last peer goes get its master, or none: by an unmount, by a change, by the end of a namespace.
const THE_LAST_PEER_GOES: &str = "
    0 unshare
    0 change . private rec mount
    0 tmpfs a
    0 change a shared one mount
    0 bind a b
    0 change b slave one mount
    0 change b shared one mount
    0 bind b c
    0 change c slave one mount
    1 enter 0
    1 unshare
    0 umount b plain
    1 umount b plain
    0 umount a plain
    1 change a private one mount
    0 tmpfs a/b
    1 tmpfs a
    1 change a shared one mount
    1 bind a b
    1 change b slave one mount
    0 enter 1
    1 enter 0
    1 unshare
    0 unshare";

/// The number of a group that ended is the next one's.
const A_GROUPS_NUMBER_IS_USED_AGAIN: &str = "
    0 unshare
    0 change . private rec mount
    0 tmpfs a
    0 change a shared one mount
    0 bind a b
    0 change b slave one mount
    0 umount a plain
    0 tmpfs c
    0 change c shared one mount
    0 bind c a
    0 change c private one mount
    0 change a private one mount
    0 change b shared one mount
    0 bind b d
    0 change b private one mount
    0 umount d plain
    0 change c shared one mount
    0 bind c d";

const SEQUENCES: [(&str, &str); 3] = [
    ("a private tree below a shared mount", A_PRIVATE_TREE_BELOW_A_SHARED_MOUNT),
    ("the last peer goes", THE_LAST_PEER_GOES),
    ("a group's number is used again", A_GROUPS_NUMBER_IS_USED_AGAIN),
];

/// In each of them the mirror equals the kernel, and nothing is read for it.
pub(super) fn what_no_hook_tells() -> Result<()> {
    let _bounded = Bounded::set()?;
    let mut watched = Watched::start(&[], SEQUENCES.len())?;
    for (name, sequence) in SEQUENCES {
        let outcome = run(&mut watched.mirror, &sequence.parse()?, Order::Serial)?;
        let failed = outcome.kinds.iter().filter(|(_, (succeeded, tried))| succeeded != tried);
        let failed: Vec<_> = failed.collect();
        ensure!(failed.is_empty(), "{name}: some operations failed: {failed:?}");
        ensure!(outcome.differences.is_empty(), "{name}: {:#?}", outcome.differences);
    }
    let (found, (end, lost)) = (watched.found, watched.stop()?);
    super::expect_reads(&end, found, lost, 0)
}
