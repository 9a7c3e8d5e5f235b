//! PURE: the copies of a mount that go when it is unmounted: what is mounted at the same place of a mount that receives from its parent.

use std::collections::{HashMap, HashSet};

use super::Placed;
use crate::{
    device::Dev,
    listed::{Listed, MountTable},
};

/// A directory of a file system: two mounts that stand on it are at one mount point.
type Place = (Dev, Vec<u8>);

/// The copies, by `mnt_id`.
pub(super) fn copies(meant: Placed<'_>, tables: &[MountTable], placed: &HashMap<u32, Placed<'_>>) -> HashSet<u32> {
    let parent = |listed: &Listed| {
        let of = placed.get(&listed.mount.parent_id).map(|(_, parent)| *parent);
        of.filter(|parent| parent.mount.id != listed.mount.id)
    };
    let Some(above) = parent(meant.1) else { return HashSet::new() };
    let Some(place) = place(meant.1, above) else { return HashSet::new() };
    let receivers = receivers(above, tables);
    let all = tables.iter().flat_map(|table| &table.mounts);
    let is_copy = |listed: &&Listed| {
        parent(listed)
            .is_some_and(|on| receivers.contains(&on.mount.id) && self::place(listed, on).as_ref() == Some(&place))
    };
    all.filter(is_copy).map(|listed| listed.mount.id).collect()
}

/// Where a mount stands, by the file system of the mount below it.
fn place(listed: &Listed, parent: &Listed) -> Option<Place> {
    let (path, below) = (listed.mount.path.as_ref().ok()?, parent.mount.path.as_ref().ok()?);
    let rest = path.strip_prefix(below.strip_suffix(b"/").unwrap_or(below).as_ref())?;
    let root = parent.mount.root.as_ref().ok()?;
    let root = root.strip_suffix(b"/").unwrap_or(root);
    Some((parent.mount.dev, [root, rest].concat()))
}

/// The mounts that receive what happens on this one: its peers, their slaves, and the peers of those.
fn receivers(from: &Listed, tables: &[MountTable]) -> HashSet<u32> {
    let Some(group) = from.mount.shared else { return HashSet::new() };
    let all: Vec<&Listed> = tables.iter().flat_map(|table| &table.mounts).collect();
    let mut groups = HashSet::from([group]);
    loop {
        let slaves = all.iter().filter(|one| one.mount.master.is_some_and(|master| groups.contains(&master)));
        let more: Vec<u32> =
            slaves.filter_map(|one| one.mount.shared).filter(|group| !groups.contains(group)).collect();
        if more.is_empty() {
            break;
        }
        groups.extend(more);
    }
    let receives = |one: &&&Listed| [one.mount.shared, one.mount.master].iter().flatten().any(|id| groups.contains(id));
    all.iter().filter(receives).map(|one| one.mount.id).collect()
}
