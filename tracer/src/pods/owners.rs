//! PURE: whose each cgroup is, and whose each mount namespace, as the kernel's facts tell it.
//!
//! A namespace belongs to the container in whose cgroup it was made: runc enters its container's cgroup before it makes the namespace. Who
//! makes it first and enters later, as crun does, is known when the process that is in it is put into a container's cgroup. A process
//! that goes into a namespace of somebody else changes nothing: whose it is stays what it was, also when all of its processes and their
//! cgroups are gone.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    cgroup_path::{self, Owner, owner_of},
    runtimes::ContainerId,
};
use crate::operation::Namespace;

/// Cgroups that are known at most: more than any node has. What is forgotten is asked for again.
const MOST_CGROUPS: usize = 1 << 16;

/// How a mount namespace belongs to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is the container's own.
    Container,
    /// Something in the container has made it: `unshare`, or a container inside.
    Nested,
    /// It is of something in a pod that is no container.
    Pod,
    /// Not a namespace: it is a mount of the kubelet's for the pod.
    Volume,
}

impl Role {
    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Nested => "nested",
            Self::Pod => "pod",
            Self::Volume => "volume",
        }
    }

    /// What a process is whose cgroup is somebody's.
    pub fn of_cgroup(owner: &Owner) -> Self {
        if owner.container.is_some() { Self::Container } else { Self::Pod }
    }
}

/// Whose a mount namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Whose.
    pub owner: Arc<Owner>,
    /// And how.
    pub role: Role,
}

/// Who was found in a mount namespace that was there before anybody looked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inhabitant {
    /// The namespace's inode number.
    pub inum: u32,
    /// Its 64-bit id; 0 where the kernel does not tell it.
    pub id: u64,
    /// The cgroup of the oldest process in it, if that is somebody's.
    pub cgroup: Option<String>,
    /// When that process began, in ticks since the boot.
    pub since: u64,
}

/// What is known of a namespace.
#[derive(Debug)]
struct Known {
    /// 0 when nobody has told it yet.
    id: u64,
    home: Option<Home>,
}

/// What is known.
#[derive(Debug, Default)]
pub struct Owners {
    /// By the cgroup's id; `None` for one that is nobody's.
    cgroups: HashMap<u64, Option<Arc<Owner>>>,
    /// The pods' own cgroups that root has made, by their paths.
    pods: HashMap<String, u64>,
    /// By the namespace's inode number.
    namespaces: HashMap<u32, Known>,
}

impl Owners {
    /// A cgroup was made by the user `uid`. A pod's is made by root: a user who was given a part of the hierarchy may give a cgroup any name.
    pub fn cgroup_made(&mut self, path: &str, id: u64, uid: u32) {
        let Some(pod) = cgroup_path::pod_part(path) else { return self.know(id, owner_of(path)) };
        if pod == path && uid == 0 {
            self.pods.insert(path.to_owned(), id);
        }
        if self.pods.contains_key(pod) {
            self.know(id, owner_of(path));
        } else if pod == path {
            self.know(id, Owner::default());
        }
    }

    /// A cgroup was removed. What is a namespace's stays.
    pub fn cgroup_removed(&mut self, id: u64) {
        self.cgroups.remove(&id);
        self.pods.retain(|_, pod| *pod != id);
    }

    /// The node says where a cgroup is; `None` for one that is gone, or a pod's by its name alone.
    pub fn cgroup_found(&mut self, id: u64, path: Option<&str>) {
        self.know(id, path.map(owner_of).unwrap_or_default());
    }

    /// Whether nobody has told whose this cgroup is.
    pub fn must_ask(&self, cgroup: u64) -> bool {
        !self.cgroups.contains_key(&cgroup)
    }

    /// The containers that have a cgroup or a namespace.
    pub fn containers(&self) -> HashSet<ContainerId> {
        let owners = self.cgroups.values().flatten().chain(self.homes().map(|home| &home.owner));
        owners.filter_map(|owner| Some(owner.container.as_ref()?.id.clone())).collect()
    }

    /// Whose the mount namespaces are that are somebody's.
    pub fn homes(&self) -> impl Iterator<Item = &Home> {
        self.namespaces.values().filter_map(|known| known.home.as_ref())
    }

    /// Whose a cgroup is.
    pub fn of_cgroup(&self, cgroup: u64) -> Option<&Arc<Owner>> {
        self.cgroups.get(&cgroup)?.as_ref()
    }

    /// A mount namespace was made as a copy of another, by somebody in this cgroup.
    pub fn namespace_made(&mut self, namespace: Namespace, from: Option<Namespace>, cgroup: u64) {
        let home = self.of_cgroup(cgroup).cloned().map(|owner| self.home(owner, from));
        self.namespaces.insert(namespace.inum, Known { id: namespace.id, home });
    }

    /// A process that is in another namespace than its parent was put into this cgroup.
    pub fn entered(&mut self, namespace: Namespace, cgroup: u64) {
        let Some(owner) = self.of_cgroup(cgroup).filter(|owner| owner.container.is_some()).cloned() else { return };
        if self.of_namespace(namespace).is_none() {
            let home = Some(self.home(owner, None));
            self.namespaces.insert(namespace.inum, Known { id: namespace.id, home });
        }
    }

    /// Who is in the namespaces that are there. What is known already stays.
    pub fn inhabited(&mut self, mut found: Vec<Inhabitant>) {
        found.sort_by_key(|one| one.since);
        for one in found {
            let namespace = Namespace { inum: one.inum, id: one.id };
            if self.known(namespace).is_none() {
                let owner = one.cgroup.as_deref().map(owner_of).filter(Owner::is_somebody);
                let home = owner.map(|owner| self.home(Arc::new(owner), None));
                self.namespaces.insert(one.inum, Known { id: one.id, home });
            }
        }
    }

    /// Something was lost: a namespace of which only the number is known may have ended, and another one have that number.
    pub fn lost(&mut self) {
        self.namespaces.retain(|_, known| known.id != 0);
    }

    /// A namespace has ended.
    pub fn namespace_ended(&mut self, namespace: Namespace) {
        if self.known(namespace).is_some() {
            self.namespaces.remove(&namespace.inum);
        }
    }

    /// Whose a mount namespace is.
    pub fn of_namespace(&self, namespace: Namespace) -> Option<&Home> {
        self.known(namespace)?.home.as_ref()
    }

    fn known(&self, namespace: Namespace) -> Option<&Known> {
        let is_it = |known: &&Known| known.id == namespace.id || known.id == 0 || namespace.id == 0;
        self.namespaces.get(&namespace.inum).filter(is_it)
    }

    /// The first namespace of a container that is no copy of one of its own is its own.
    fn home(&self, owner: Arc<Owner>, from: Option<Namespace>) -> Home {
        let mut role = Role::of_cgroup(&owner);
        let copied_inside = from.and_then(|from| self.of_namespace(from)).is_some_and(|home| home.owner == owner);
        let has_one = || self.homes().any(|home| home.owner.container == owner.container);
        if role == Role::Container && (copied_inside || has_one()) {
            role = Role::Nested;
        }
        Home { owner, role }
    }

    fn know(&mut self, id: u64, owner: Owner) {
        if self.cgroups.len() >= MOST_CGROUPS {
            let pods: HashSet<u64> = self.pods.values().copied().collect();
            self.cgroups.retain(|id, _| pods.contains(id));
        }
        self.cgroups.insert(id, owner.is_somebody().then(|| Arc::new(owner)));
    }
}

#[cfg(test)]
mod tests;
