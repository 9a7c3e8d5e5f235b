//! PURE: what each mount, reference and use is to what was asked about.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Blocks, Does, Holder, Process, Reference, Target, User, Who, Why, along};
use crate::{
    device::Dev,
    listed::{Listed, MountTable},
};

/// A mount and the table that it stands in.
pub(super) type Placed<'a> = (&'a MountTable, &'a Listed);

/// What the mounts of all tables are to what was asked about.
pub(super) struct Sorted<'a> {
    pub(super) placed: HashMap<u32, Placed<'a>>,
    /// The mounts that are meant.
    pub(super) meant: HashSet<u32>,
    pub(super) below: HashSet<u32>,
    /// Copies that go along, and those that would, had they nothing below.
    pub(super) along: HashSet<u32>,
    stay: HashSet<u32>,
    /// The file systems that are meant.
    pub(super) superblocks: BTreeSet<Dev>,
    pub(super) nodes: BTreeSet<Dev>,
    /// All is to go, not a mount alone.
    all: bool,
}

impl<'a> Sorted<'a> {
    pub(super) fn of(target: &Target, tables: &'a [MountTable]) -> Self {
        let placed: HashMap<u32, Placed<'a>> = tables
            .iter()
            .flat_map(|table| table.mounts.iter().map(move |listed| (listed.mount.id, (table, listed))))
            .collect();
        match target {
            Target::Mount(id) => Self::of_mount(*id, placed, tables),
            Target::Devices { nodes, superblocks } => {
                let on = |(_, listed): &Placed<'_>| superblocks.contains(&listed.mount.dev);
                let meant: HashSet<u32> = placed.iter().filter(|(_, placed)| on(placed)).map(|(id, _)| *id).collect();
                let below = below(&meant, &placed);
                let (nodes, superblocks) = (nodes.clone(), superblocks.clone());
                Self {
                    placed,
                    meant,
                    below,
                    along: HashSet::new(),
                    stay: HashSet::new(),
                    superblocks,
                    nodes,
                    all: true,
                }
            }
        }
    }

    fn of_mount(id: u32, placed: HashMap<u32, Placed<'a>>, tables: &'a [MountTable]) -> Self {
        let meant = HashSet::from([id]);
        let below = below(&meant, &placed);
        let copies = placed.get(&id).map(|meant| along::copies(*meant, tables, &placed)).unwrap_or_default();
        // What stands on its very root covers it as a whole, and the kernel looks through it (`find_topper` of `fs/pnode.c`).
        let covers = |listed: &Listed, id: u32| {
            placed.get(&id).is_some_and(|(_, below)| below.mount.path.is_ok() && below.mount.path == listed.mount.path)
        };
        let has_children = |id: &u32| placed.values().any(|(_, listed)| is_child(listed, *id) && !covers(listed, *id));
        let (stay, along) = copies.into_iter().filter(|id| !meant.contains(id)).partition(has_children);
        let superblocks = placed.get(&id).map(|(_, listed)| listed.mount.dev).into_iter().collect();
        Self { placed, meant, below, along, stay, superblocks, nodes: BTreeSet::new(), all: false }
    }

    pub(super) fn is_meant(&self, dev: Dev) -> bool {
        self.superblocks.contains(&dev)
    }

    /// A line for each mount of which a process keeps something.
    pub(super) fn of_process(&self, process: &'a Process) -> Vec<Holder<'a>> {
        let mut lines: BTreeMap<(Why, Option<u32>), Does<'a>> = BTreeMap::new();
        for reference in &process.references {
            let Some(why) = self.why(reference) else { continue };
            let mount = Some(reference.mount).filter(|id| self.placed.contains_key(id));
            let does = lines.entry((why, mount)).or_default();
            does.entry(reference.how).or_insert((0, &reference.path)).0 += 1;
        }
        let line = |((why, mount), does): ((Why, Option<u32>), _)| Holder {
            blocks: self.blocks(why),
            who: Who::Process(process),
            why,
            mount: mount.and_then(|id| self.placed.get(&id).copied()),
            does,
        };
        lines.into_iter().map(line).collect()
    }

    fn why(&self, reference: &Reference) -> Option<Why> {
        let id = reference.mount;
        Some(if self.meant.contains(&id) {
            Why::Keeps
        } else if self.below.contains(&id) {
            Why::KeepsBelow
        } else if self.along.contains(&id) {
            Why::KeepsCopy
        } else if let Some((_, listed)) = self.placed.get(&id)
            && self.is_meant(listed.mount.dev)
        {
            Why::KeepsElsewhere
        } else if reference.node.is_some_and(|node| self.nodes.contains(&node)) {
            Why::KeepsDevice
        } else if !self.placed.contains_key(&id) && self.is_meant(reference.superblock) {
            Why::KeepsDetached
        } else {
            return None;
        })
    }

    fn blocks(&self, why: Why) -> Blocks {
        match why {
            Why::GoesAlong => Blocks::Nothing,
            // The device is asked about: each of its mounts is in the way.
            _ if self.all => Blocks::Device,
            Why::Keeps | Why::KeepsBelow | Why::KeepsCopy | Why::Below | Why::Uses => Blocks::Unmount,
            Why::KeepsElsewhere | Why::KeepsDetached | Why::KeepsDevice | Why::SameFileSystem | Why::CopyStays => {
                Blocks::Device
            }
        }
    }

    /// A file's user keeps the mount by which the file was opened: the deepest one above its path, as far as that can be told.
    pub(super) fn of_user(&self, user: &'a User) -> Option<Holder<'a>> {
        let (path, dev) = match user {
            User::Loop { file: (path, dev), .. } | User::Swap { path, dev } => (Some(path), (*dev)?),
            User::Stacked { below, .. } => (None, *below),
        };
        let is_device = self.nodes.contains(&dev);
        if !is_device && !self.is_meant(dev) {
            return None;
        }
        let above = |listed: &Listed| {
            path.is_some_and(|path| listed.mount.path.as_ref().is_ok_and(|above| is_at_or_below(path, above)))
        };
        let meant = self.meant.iter().filter_map(|id| self.placed.get(id).copied());
        let mount = meant.into_iter().find(|(_, listed)| above(listed));
        let blocks = if self.all || mount.is_none() { Blocks::Device } else { Blocks::Unmount };
        Some(Holder { blocks, who: Who::Kernel(user), why: Why::Uses, mount, does: BTreeMap::new() })
    }

    pub(super) fn mounts(&self) -> impl Iterator<Item = Holder<'a>> {
        self.placed.values().filter_map(|placed| {
            let (table, listed) = *placed;
            let id = listed.mount.id;
            let why = if self.meant.contains(&id) {
                self.all.then_some(Why::SameFileSystem)?
            } else if self.below.contains(&id) {
                Why::Below
            } else if self.along.contains(&id) {
                Why::GoesAlong
            } else if self.stay.contains(&id) {
                Why::CopyStays
            } else if self.is_meant(listed.mount.dev) {
                Why::SameFileSystem
            } else {
                return None;
            };
            let (blocks, who) = (self.blocks(why), Who::Mount(table, listed));
            Some(Holder { blocks, who, why, mount: Some(*placed), does: BTreeMap::new() })
        })
    }
}

/// Whether a mount stands on that one. The lowest of a namespace is its own parent.
fn is_child(listed: &Listed, parent: u32) -> bool {
    listed.mount.parent_id == parent && listed.mount.id != parent
}

/// All that stands on these, and on that.
fn below(meant: &HashSet<u32>, placed: &HashMap<u32, Placed<'_>>) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (_, listed) in placed.values().filter(|(_, listed)| listed.mount.parent_id != listed.mount.id) {
        children.entry(listed.mount.parent_id).or_default().push(listed.mount.id);
    }
    let mut waiting: Vec<u32> = meant.iter().copied().collect();
    let mut found = HashSet::new();
    while let Some(id) = waiting.pop() {
        for child in children.get(&id).into_iter().flatten() {
            if !meant.contains(child) && found.insert(*child) {
                waiting.push(*child);
            }
        }
    }
    found
}

/// Whether a path is that of this directory, or leads through it.
fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
