//! PURE: what the node is asked before something is shown: where mounts are whose path was cut, and whose cgroup one is that nobody has told.

use std::{collections::VecDeque, sync::Arc};

use super::{Effect, Engine, naming::Naming};
use crate::{
    control::NamespaceOwner,
    decode::Fact,
    operation::{Namespace, NamespaceChange, Op, Operation, Volume, Whereabouts, Whose},
    pods::{
        cgroup_path::{Owner, PodName},
        kubelet_path::volume_of,
        owners::{Home, Inhabitant, Owners, Role},
    },
};

/// A question; the answer is a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Where a mount is now.
    Mount(Whereabouts),
    /// The path of the cgroup with this id, where no look-alike of a pod's: below the root of the hierarchy, and beginning with a slash.
    Cgroup(u64),
}

/// What waits for answers.
#[derive(Debug)]
enum Waits {
    /// An operation, which is then shown.
    Show(u64, Box<Operation>),
    /// An operation that is shown to nobody.
    Pass(u64, Box<Operation>),
    /// A namespace was made by somebody in this cgroup.
    Made(NamespaceChange, u64),
    /// A process in this namespace was put into this cgroup.
    Entered(Namespace, u64),
}

/// Whose everything is, and what waits to be told.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// In the order in which it was asked.
    waits: VecDeque<(Vec<Ask>, Waits)>,
    pub(super) owners: Owners,
    pub(super) naming: Naming,
    /// The kubelet's directory; empty when nobody looks for volumes.
    pub(super) kubelet_dir: Vec<u8>,
}

impl Asking {
    /// A namespace was made.
    pub(super) fn made(&mut self, change: NamespaceChange, cgroup: u64, now_ns: u64) -> Vec<Effect> {
        self.about(cgroup, Waits::Made(change, cgroup), now_ns)
    }

    /// A process was put into a cgroup.
    pub(super) fn entered(&mut self, namespace: Namespace, cgroup: u64, now_ns: u64) -> Vec<Effect> {
        self.about(cgroup, Waits::Entered(namespace, cgroup), now_ns)
    }

    /// Who is in the namespaces that are there. Their names are asked for before anything of them happens.
    pub(super) fn inhabited(&mut self, found: Vec<Inhabitant>, now_ns: u64) -> Vec<Effect> {
        self.owners.inhabited(found);
        let Self { owners, naming, .. } = self;
        owners.homes().flat_map(|home| naming.meet(&home.owner, now_ns)).collect()
    }

    /// A cgroup was made. The name of a container is asked for before anything of it happens.
    pub(super) fn cgroup_made(&mut self, path: &str, id: u64, uid: u32, now_ns: u64) -> Vec<Effect> {
        self.owners.cgroup_made(path, id, uid);
        let Self { owners, naming, .. } = self;
        naming.keep(|| owners.containers());
        owners.of_cgroup(id).map(|owner| naming.meet(owner, now_ns)).unwrap_or_default()
    }

    /// An operation is to be shown.
    pub(super) fn show(&mut self, seq: u64, operation: Box<Operation>, now_ns: u64) -> Vec<Effect> {
        let cgroup = cgroup_of(&operation).filter(|cgroup| self.owners.must_ask(*cgroup));
        let asks = operation.cut().into_iter().map(Ask::Mount).chain(cgroup.map(Ask::Cgroup)).collect();
        self.ask(asks, Waits::Show(seq, operation), now_ns)
    }

    /// An operation that is shown to nobody: nothing is asked for it.
    pub(super) fn pass(&mut self, seq: u64, operation: Box<Operation>, now_ns: u64) -> Vec<Effect> {
        self.ask(Vec::new(), Waits::Pass(seq, operation), now_ns)
    }

    /// Whose a mount namespace is, and what that is called.
    pub(super) fn whose(&self, namespace: Namespace) -> Option<NamespaceOwner> {
        let home = self.owners.of_namespace(namespace)?.clone();
        Some(NamespaceOwner { named: self.naming.name_of(&home.owner), home })
    }

    /// The answers to what was asked first.
    pub(super) fn answered(&mut self, paths: Vec<Option<Vec<u8>>>, now_ns: u64) -> Vec<Effect> {
        let Some((asks, mut waits)) = self.waits.pop_front() else { return Vec::new() };
        let mut paths = paths.into_iter();
        let mut later = Vec::new();
        for ask in asks {
            match (ask, paths.next().flatten()) {
                (Ask::Mount(of), path) => later.extend(path.map(|path| (of.mount, path))),
                (Ask::Cgroup(id), path) => {
                    self.owners.cgroup_found(id, path.as_deref().and_then(|path| str::from_utf8(path).ok()));
                }
            }
        }
        if let Waits::Show(_, operation) = &mut waits {
            operation.later = later.into_iter().collect();
        }
        self.goes_on(waits, now_ns)
    }

    fn about(&mut self, cgroup: u64, waits: Waits, now_ns: u64) -> Vec<Effect> {
        let asks = if self.owners.must_ask(cgroup) { vec![Ask::Cgroup(cgroup)] } else { Vec::new() };
        self.ask(asks, waits, now_ns)
    }

    fn ask(&mut self, asks: Vec<Ask>, waits: Waits, now_ns: u64) -> Vec<Effect> {
        // What comes later may depend on what waits.
        if asks.is_empty() && self.waits.is_empty() {
            return self.goes_on(waits, now_ns);
        }
        self.waits.push_back((asks.clone(), waits));
        vec![Effect::Ask(asks)]
    }

    fn goes_on(&mut self, waits: Waits, now_ns: u64) -> Vec<Effect> {
        match waits {
            Waits::Made(change, cgroup) => self.owners.namespace_made(change.namespace, change.copied_from, cgroup),
            Waits::Entered(namespace, cgroup) => self.owners.entered(namespace, cgroup),
            Waits::Show(seq, mut operation) => {
                operation.whose = whose(&self.owners, &self.kubelet_dir, &operation);
                self.namespace_ended(&operation);
                return self.naming.show(seq, operation, now_ns);
            }
            Waits::Pass(seq, operation) => {
                self.namespace_ended(&operation);
                return vec![Effect::Emit { seq, operation }];
            }
        }
        Vec::new()
    }

    fn namespace_ended(&mut self, operation: &Operation) {
        if let (Op::NamespaceDestroyed, Some(change)) = (operation.op, operation.namespace) {
            self.owners.namespace_ended(change.namespace);
        }
    }
}

impl Engine {
    /// The same that knows volumes by their paths below the kubelet's directory.
    #[must_use]
    pub fn with_kubelet_dir(mut self, kubelet_dir: Vec<u8>) -> Self {
        self.asking.kubelet_dir = kubelet_dir;
        self
    }

    /// A namespace that a fact says was made.
    pub(super) fn made(&mut self, fact: &Fact, now_ns: u64) -> Vec<Effect> {
        match fact {
            Fact::NamespaceMade { actor, change, .. } => self.asking.made(*change, actor.cgroup_id, now_ns),
            _ => Vec::new(),
        }
    }

    /// A cgroup was made or removed.
    pub(super) fn cgroup(&mut self, made: bool, path: &[u8], id: u64, uid: u32, now_ns: u64) -> Vec<Effect> {
        let mut effects = match str::from_utf8(path) {
            Ok(path) if made => self.asking.cgroup_made(path, id, uid, now_ns),
            _ => {
                self.asking.owners.cgroup_removed(id);
                Vec::new()
            }
        };
        effects.extend(self.limit(|limiter| {
            if made { limiter.cgroup_made(path, id, uid, now_ns) } else { limiter.cgroup_removed(id) }
        }));
        effects
    }
}

/// Who acts, or acted as often as it was counted.
fn cgroup_of(operation: &Operation) -> Option<u64> {
    let actor = operation.actor.as_ref().map(|actor| actor.cgroup_id);
    actor.or_else(|| operation.throttled.map(|throttled| throttled.cgroup_id))
}

fn whose(owners: &Owners, kubelet_dir: &[u8], operation: &Operation) -> Whose {
    let of_mounts = operation.mounts().chain(operation.target()).filter_map(|mount| mount.namespace);
    let of_change = operation.namespace.map(|change| change.namespace);
    Whose {
        actor: cgroup_of(operation).and_then(|cgroup| owners.of_cgroup(cgroup)).cloned(),
        namespaces: of_mounts
            .chain(of_change)
            .filter_map(|namespace| Some((namespace.inum, owners.of_namespace(namespace)?.clone())))
            .collect(),
        volumes: operation
            .mounts()
            .filter(|mount| mount.namespace.is_some_and(|namespace| owners.of_namespace(namespace).is_none()))
            .filter_map(|mount| Some((mount.objects.mount, volume(mount.path.as_ref().ok()?, kubelet_dir)?)))
            .collect(),
        names: Vec::new(),
    }
}

/// What the kubelet mounts lies in nobody's namespace: a container may choose such a path in its own.
fn volume(path: &[u8], kubelet_dir: &[u8]) -> Option<Volume> {
    let path = volume_of(kubelet_dir, path)?;
    let pod = PodName { uid: path.pod_uid.clone(), qos: None };
    let owner = Arc::new(Owner { pod: Some(pod), container: None });
    Some(Volume { home: Home { owner, role: Role::Volume }, path })
}
