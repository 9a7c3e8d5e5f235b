//! PURE: lists as trees. The effects of an operation: each below the one whose mount it stands on, copies that propagation
//! made below the mount that they are copies of. A mount table: each mount below its parent.

use std::collections::HashMap;

use crate::{
    device::Dev,
    listed::Listed,
    operation::{Effect, Mount},
};

/// Bytes of lines before a branch, some 50 levels. What is deeper stands below each other: whoever may mount can stack mounts
/// by the ten thousand, and the lines before them would take more memory than the node has.
const MAX_LINES: usize = 256;

/// An item of a list and the lines that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Its place in the list.
    pub index: usize,
    /// What stands before its path: `├─ `, `└─ `, and `│  ` of those above.
    pub lines: String,
}

/// The first effects as they come, without lines.
pub fn flat(effects: &[Effect], limit: usize) -> Vec<Branch> {
    (0..effects.len().min(limit)).map(|index| Branch { index, lines: String::new() }).collect()
}

/// The first branches of the tree; without a limit, each effect once.
pub fn grown(effects: &[Effect], limit: usize) -> Vec<Branch> {
    Growth::of(Soil::new(effects).parents(), limit)
}

/// The mounts of one namespace, each once.
pub fn of_table(mounts: &[Listed]) -> Vec<Branch> {
    let places: HashMap<u32, usize> = mounts.iter().enumerate().map(|(index, one)| (one.mount.id, index)).collect();
    let parent =
        |(index, one): (usize, &Listed)| places.get(&one.mount.parent_id).copied().filter(|parent| *parent != index);
    Growth::of(mounts.iter().enumerate().map(parent).collect(), usize::MAX)
}

/// The tree as far as it has grown.
struct Growth {
    children: Vec<Vec<usize>>,
    branches: Vec<Branch>,
    /// No more branches than this.
    limit: usize,
}

impl Growth {
    /// The first branches of what stands below these.
    fn of(mut parents: Vec<Option<usize>>, limit: usize) -> Vec<Branch> {
        open_rings(&mut parents);
        let mut growth = Self { children: vec![Vec::new(); parents.len()], branches: Vec::new(), limit };
        for (index, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent {
                growth.children[*parent].push(index);
            }
        }
        for (root, _) in parents.iter().enumerate().filter(|(_, parent)| parent.is_none()) {
            growth.grow(root);
        }
        growth.branches
    }

    /// A root and all that grows from it.
    fn grow(&mut self, root: usize) {
        // Not by recursion: a tree may be as deep as an operation has effects.
        let mut waiting = vec![(root, String::new(), "")];
        while let Some((index, above, fork)) = waiting.pop() {
            if self.branches.len() == self.limit {
                return;
            }
            self.branches.push(Branch { index, lines: format!("{above}{fork}") });
            let below = match fork {
                _ if above.len() > MAX_LINES => above,
                "" => above,
                "└─ " => above + "   ",
                _ => above + "│  ",
            };
            for (place, child) in self.children[index].iter().rev().enumerate() {
                waiting.push((*child, below.clone(), if place == 0 { "└─ " } else { "├─ " }));
            }
        }
    }
}

/// Ids that are used again may make a ring; it is opened where it is found, so that following parents comes to an end.
fn open_rings(parents: &mut [Option<usize>]) {
    let mut seen_from = vec![usize::MAX; parents.len()];
    for start in 0..parents.len() {
        let mut at = start;
        while seen_from[at] == usize::MAX {
            seen_from[at] = start;
            match parents[at] {
                Some(parent) if seen_from[parent] == start => parents[at] = None,
                Some(parent) => at = parent,
                None => {}
            }
        }
    }
}

/// By what a mount is found.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Unique(u64),
    /// The kernel uses the number again, but not within a namespace for two mounts that are there at the same time.
    Reused(u32, Option<u32>),
}

/// What the effects can grow from.
struct Soil<'a> {
    effects: &'a [Effect],
    /// The first effect of each mount.
    mounts: HashMap<Key, usize>,
    /// The first direct effect that shows this directory of this device.
    originals: HashMap<(Dev, &'a [u8]), usize>,
    first_direct: Option<usize>,
}

impl<'a> Soil<'a> {
    fn new(effects: &'a [Effect]) -> Self {
        let (mut mounts, mut originals) = (HashMap::new(), HashMap::new());
        for (index, effect) in effects.iter().enumerate() {
            mounts.entry(key(&effect.mount, effect.mount.id_unique, effect.mount.id)).or_insert(index);
            if let (true, Some(root)) = (is_direct(effect), root(&effect.mount)) {
                originals.entry((effect.mount.dev, root)).or_insert(index);
            }
        }
        Self { effects, mounts, originals, first_direct: effects.iter().position(is_direct) }
    }

    /// What each effect stands below.
    fn parents(&self) -> Vec<Option<usize>> {
        self.effects.iter().enumerate().map(|(index, effect)| self.parent(index, effect)).collect()
    }

    fn parent(&self, index: usize, effect: &Effect) -> Option<usize> {
        let mount = &effect.mount;
        let carries = self.mounts.get(&key(mount, mount.parent_id_unique, mount.parent_id)).copied();
        let original = || root(mount).and_then(|root| self.originals.get(&(mount.dev, root)).copied());
        let direct = || if is_direct(effect) { None } else { original().or(self.first_direct) };
        carries.filter(|carries| *carries != index).or_else(direct)
    }
}

fn key(mount: &Mount, unique: Option<u64>, id: u32) -> Key {
    unique.map_or_else(|| Key::Reused(id, mount.namespace.map(|namespace| namespace.inum)), Key::Unique)
}

fn root(mount: &Mount) -> Option<&[u8]> {
    mount.root.as_deref().ok()
}

fn is_direct(effect: &Effect) -> bool {
    effect.propagated != Some(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        operation::{EffectKind, tests::mount},
        options::Options,
    };

    fn effect(id: u32, parent: u32, propagated: bool) -> Effect {
        let ids = Mount {
            parent_id: parent,
            parent_id_unique: Some(u64::from(parent) + 1000),
            root: Ok(format!("/{}", id % 10).into_bytes()),
            ..mount(id)
        };
        Effect { kind: EffectKind::Attach, propagated: Some(propagated), section: None, mount: ids }
    }

    fn drawn(effects: &[Effect]) -> Vec<String> {
        let line = |branch: &Branch| format!("{}{}", branch.lines, effects[branch.index].mount.id);
        grown(effects, usize::MAX).iter().map(line).collect()
    }

    #[test]
    fn a_tree_that_was_bound_stands_there_with_its_copies_below() {
        // 11 with 12 in it and 13 in that; 21, 22, 23 are their copies in another namespace, 31 is a lone copy of 11.
        let effects = [
            effect(11, 1, false),
            effect(12, 11, false),
            effect(13, 12, false),
            effect(21, 2, true),
            effect(22, 21, true),
            effect(23, 22, true),
            effect(31, 3, true),
        ];
        let expected = ["11", "├─ 12", "│  └─ 13", "├─ 21", "│  └─ 22", "│     └─ 23", "└─ 31"];
        assert_eq!(drawn(&effects), expected);
    }

    #[test]
    fn a_copy_stands_below_the_mount_that_it_is_a_copy_of() {
        let effects = [effect(11, 1, false), effect(12, 1, false), effect(22, 2, true)];
        assert_eq!(drawn(&effects), ["11", "12", "└─ 22"]);
    }

    #[test]
    fn a_tree_is_the_same_when_its_leaves_come_first() {
        let effects = [effect(11, 1, false), effect(13, 12, false), effect(12, 11, false)];
        assert_eq!(drawn(&effects), ["11", "└─ 12", "   └─ 13"]);
    }

    #[test]
    fn no_more_branches_than_asked_for() {
        let chain: Vec<Effect> = (2..200_000).map(|id| effect(id, id - 1, false)).collect();
        let branches = grown(&chain, 3);
        assert_eq!(branches.last().map(|last| last.lines.as_str()), Some("   └─ "));
        assert_eq!((branches.len(), flat(&chain, 3).len()), (3, 3));
    }

    #[test]
    fn a_table_is_a_tree_and_a_stack_of_thousands_stays_small() {
        let listed = |id, parent| Listed {
            mount: Mount { parent_id: parent, ..mount(id) },
            idmapped: false,
            options: Options::default(),
            behind: None,
        };
        let table = [listed(5, 1), listed(6, 5), listed(7, 6), listed(8, 5), listed(9, 9)];
        let lines: Vec<String> =
            of_table(&table).iter().map(|b| format!("{}{}", b.lines, table[b.index].mount.id)).collect();
        assert_eq!(lines, ["5", "├─ 6", "│  └─ 7", "└─ 8", "9"]);
        let stack: Vec<Listed> = (2..50_000).map(|id| listed(id, id - 1)).collect();
        let branches = of_table(&stack);
        assert_eq!(branches.len(), stack.len());
        assert!(branches.iter().all(|branch| branch.lines.len() < MAX_LINES + 16));
    }

    #[test]
    fn a_mount_that_stands_on_itself_is_a_root() {
        assert_eq!(drawn(&[effect(1, 1, false), effect(1, 1, false)]), ["1", "└─ 1"]);
    }

    proptest! {
        #[test]
        fn each_effect_stands_there_once(ids in proptest::collection::vec((0_u32..6, 0_u32..6, any::<bool>()), 0..30)) {
            let effects: Vec<Effect> = ids.into_iter().map(|(id, on, copy)| effect(id, on, copy)).collect();
            let mut seen: Vec<usize> = grown(&effects, usize::MAX).iter().map(|branch| branch.index).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..effects.len()).collect::<Vec<_>>());
        }
    }
}
