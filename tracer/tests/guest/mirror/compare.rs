//! Compares what the mirror holds with what the kernel tells, field by field, and says each difference in one line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::kernel_tables::{KernelMount, KernelTable, Place};
use super::socket::{Held, HeldTable};

/// What was compared so far, over all namespaces that were at rest at the same time.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) mounts: u64,
    pub(crate) differences: Vec<String>,
    /// Which directory the mirror calls how; a mount's root and a mount point by themselves.
    roots: Identities<Place>,
    points: Identities<Place>,
    superblocks: Identities<String>,
}

/// Names of one object each, and objects of one name each.
#[derive(Debug)]
struct Identities<T> {
    of_object: BTreeMap<T, String>,
    of_name: BTreeMap<String, T>,
}

impl<T> Default for Identities<T> {
    fn default() -> Self {
        Self { of_object: BTreeMap::new(), of_name: BTreeMap::new() }
    }
}

impl<T: Ord + Clone + Debug> Identities<T> {
    /// Notes that an object has this name; what contradicts an earlier note.
    fn note(&mut self, object: &T, name: &str) -> Option<String> {
        let before = self.of_object.entry(object.clone()).or_insert_with(|| name.to_owned());
        if before != name {
            return Some(format!("{object:?} is {name} and elsewhere {before}"));
        }
        let before = self.of_name.entry(name.to_owned()).or_insert_with(|| object.clone());
        (before != object).then(|| format!("{name} is {object:?} and elsewhere {before:?}"))
    }
}

impl Comparison {
    /// Compares the tables of one namespace.
    pub(crate) fn add(&mut self, held: &HeldTable, kernel: &KernelTable) {
        let mntns = kernel.mntns;
        if held.state != "exact" {
            self.differences.push(format!("mntns {mntns}: the mirror's state is {}", held.state));
        }
        let by_id: BTreeMap<u64, &Held> = held.mounts.iter().map(|mount| (mount.id, mount)).collect();
        if by_id.len() != held.mounts.len() {
            self.differences.push(format!("mntns {mntns}: the mirror has a mount twice"));
        }
        for (id, told) in &kernel.mounts {
            self.mounts += 1;
            let name = format!("mntns {mntns} mount {id}");
            match by_id.get(id) {
                Some(mount) => self.add_mount(&name, mount, told, &by_id),
                None => self.differences.push(format!("{name}: only the kernel has it: {told:?}")),
            }
        }
        for mount in held.mounts.iter().filter(|mount| !kernel.mounts.contains_key(&mount.id)) {
            if kernel.whole || is_below(&by_id, mount.id, kernel.root) {
                self.differences.push(format!("mntns {mntns} mount {}: only the mirror has it: {mount:?}", mount.id));
            }
        }
    }

    fn add_mount(&mut self, name: &str, held: &Held, told: &KernelMount, table: &BTreeMap<u64, &Held>) {
        let mut found = Vec::new();
        let first_of_namespace = told.parent == held.id && !table.contains_key(&held.parent);
        if !first_of_namespace {
            differ(&mut found, "parent_id", &held.parent, &told.parent);
        }
        if let Some(unique) = told.unique {
            differ(&mut found, "mount_id_unique", &held.unique, &Some(unique.to_string()));
        }
        differ(&mut found, "dev", &held.dev, &told.dev);
        differ(&mut found, "attributes", &options(&held.attributes), &told.attributes);
        differ(&mut found, "unbindable", &held.unbindable, &told.unbindable);
        differ(&mut found, "group", &held.group, &told.group);
        differ(&mut found, "master", &held.master, &told.master);
        let identities = [
            ("superblock", self.superblocks.note(&told.dev, &held.superblock)),
            ("root", told.root.as_ref().and_then(|root| self.roots.note(root, &held.root))),
            ("mountpoint", told.point.as_ref().and_then(|point| self.points.note(point, &held.point))),
        ];
        found.extend(identities.into_iter().filter_map(|(field, wrong)| Some(format!("{field}: {}", wrong?))));
        self.differences.extend(found.into_iter().map(|difference| format!("{name} {difference}")));
    }
}

fn differ<T: PartialEq + Debug>(found: &mut Vec<String>, field: &str, held: &T, told: &T) {
    if held != told {
        found.push(format!("{field}: the mirror has {held:?}, the kernel {told:?}"));
    }
}

/// mountinfo's words for the public names of attributes.
fn options(attributes: &BTreeSet<String>) -> BTreeSet<String> {
    let word = |name: &String| match name.as_str() {
        "MOUNT_ATTR_RDONLY" => Some("ro".to_owned()),
        "MOUNT_ATTR_IDMAP" => Some("idmapped".to_owned()),
        // mountinfo says so by none of the others.
        "MOUNT_ATTR_STRICTATIME" => None,
        name => Some(name.strip_prefix("MOUNT_ATTR_").unwrap_or(name).to_lowercase()),
    };
    attributes.iter().filter_map(word).collect()
}

/// Whether a mount of the mirror is another one or below it: then mountinfo of a process whose root that is must show it.
fn is_below(table: &BTreeMap<u64, &Held>, mount: u64, root: u64) -> bool {
    let parents = std::iter::successors(Some(mount), |id| table.get(id).map(|held| held.parent));
    // A table whose parents form a circle has no more steps than mounts.
    parents.take(table.len() + 1).any(|id| id == root)
}
