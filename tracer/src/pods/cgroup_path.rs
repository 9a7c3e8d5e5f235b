//! PURE: from a cgroup's path to the pod and the container whose it is. Touches nothing.
//!
//! A container may be given its own cgroups to create, and can then make `kubepods/pod<someone else's uid>` below its
//! own. So the whole path counts, from the top: what lies below a pod is never a pod, and what lies below a container is that container's,
//! whatever it is called: crun's `<scope>/container`, the slices of a systemd inside, the pods of a cluster inside (kind).

use super::{
    PodUid,
    runtimes::{self, ContainerCgroup},
};

/// The kubelet's name for the cgroup above all pods (pkg/kubelet/cm: `defaultNodeAllocatableCgroupName`).
const KUBEPODS: &str = "kubepods";
/// The classes that have a cgroup of their own; guaranteed pods lie directly below [`KUBEPODS`].
const QOS: [&str; 2] = ["besteffort", "burstable"];

/// A pod's class, by which the kubelet sorts cgroups (pkg/kubelet/cm: `qosContainerManager`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// Each container has limits that are its requests: directly below `kubepods`.
    Guaranteed,
    /// Some container has a request.
    Burstable,
    /// No container has any.
    BestEffort,
}

impl Qos {
    /// As `status.qosClass` of a pod says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    fn of(class: Option<&str>) -> Self {
        match class {
            Some("burstable") => Self::Burstable,
            Some("besteffort") => Self::BestEffort,
            _ => Self::Guaranteed,
        }
    }
}

/// A pod by the name of its cgroup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// Which one.
    pub uid: PodUid,
    /// Its class; `None` where nothing of it but its uid is told.
    pub qos: Option<Qos>,
}

/// Whose a cgroup is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The pod that it lies in, or is.
    pub pod: Option<PodName>,
    /// The container that it lies in, or is; the outermost one.
    pub container: Option<ContainerCgroup>,
}

impl Owner {
    /// Whether it is known.
    pub fn is_somebody(&self) -> bool {
        self.pod.is_some() || self.container.is_some()
    }

    /// Its container, where that lies in a pod: a runtime that can be asked has made it.
    pub fn container_in_pod(&self) -> Option<&ContainerCgroup> {
        self.container.as_ref().filter(|_| self.pod.is_some())
    }
}

/// Whose cgroup the path names, relative to the hierarchy's root and with a leading `/`, as the kernel prints it. Nobody's where neither is
/// known: a slice above pods, a service, a look-alike.
pub fn owner_of(path: &str) -> Owner {
    let components = components(path).unwrap_or_default();
    let Some((at, mut owner)) = outermost(&components) else { return Owner::default() };
    if owner.container.is_none() {
        owner.container = components.get(at + 1).and_then(|name| runtimes::in_pod(name));
    }
    owner
}

/// The path that says whose a task is, of its `/proc/PID/cgroup`, and whether it is of the v2 hierarchy: that one's line (`0::`) comes last,
/// and on a node with v1 hierarchies beside it others may say it, too.
pub fn of_task(cgroups: &str) -> Option<(bool, &str)> {
    let mut fields = cgroups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some((fields.next()? == "0", fields.nth(1)?))
    });
    fields.rfind(|(_, path)| owner_of(path).is_somebody())
}

/// The beginning of a path that is a pod's own cgroup. Who made that, made it a pod's: the kubelet, or somebody who was given a part of the
/// hierarchy and may give a cgroup there any name.
pub fn pod_part(path: &str) -> Option<&str> {
    let components = components(path)?;
    let (at, owner) = outermost(&components)?;
    owner.pod?;
    let bytes: usize = components[..=at].iter().map(|name| name.len() + 1).sum();
    path.get(..bytes)
}

/// The pod whose own cgroup the path names, relative to the hierarchy's root and with a leading `/`, as the kernel
/// prints it. `None` for everything else: a container, a slice above pods, a look-alike.
pub fn pod_of(path: &str) -> Option<PodUid> {
    let components = components(path)?;
    let (at, owner) = outermost(&components)?;
    owner.pod.filter(|_| owner.container.is_none() && at + 1 == components.len()).map(|pod| pod.uid)
}

/// The first name from the top that is a pod's, or a container's that is in no pod: which one, and whose.
fn outermost(components: &[&str]) -> Option<(usize, Owner)> {
    components.iter().enumerate().find_map(|(at, name)| Some((at, owned(name, &components[..at])?)))
}

fn owned(name: &str, parents: &[&str]) -> Option<Owner> {
    if let Some(pod) = pod(name, parents) {
        return Some(Owner { pod: Some(pod), container: None });
    }
    if let Some((slice, container)) = runtimes::mismatched(name) {
        return Some(Owner { pod: of_slice(slice).map(|(pod, _)| pod), container: Some(container) });
    }
    let alone = runtimes::named(name).or_else(|| runtimes::in_docker(parents.last().copied(), name))?;
    Some(Owner { pod: None, container: Some(alone) })
}

/// The names from the top down; `None` for a path that the kernel would not print.
fn components(path: &str) -> Option<Vec<&str>> {
    let components: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    (!components.iter().any(|name| matches!(*name, "" | "." | ".."))).then_some(components)
}

fn pod(name: &str, parents: &[&str]) -> Option<PodName> {
    systemd(name, parents).or_else(|| cgroupfs(name, parents))
}

/// `…/kubepods/burstable/pod<uid>`: the class is a directory, or missing.
fn cgroupfs(name: &str, parents: &[&str]) -> Option<PodName> {
    let uid = PodUid::parse(name.strip_prefix("pod")?)?;
    let (last, above) = parents.split_last()?;
    let class = QOS.contains(last).then_some(*last);
    let root = if class.is_some() { *above.last()? } else { *last };
    (root == KUBEPODS).then_some(PodName { uid, qos: Some(Qos::of(class)) })
}

/// `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice`: a slice's name holds all its parents'
/// names, joined with `-`, and its path must show each of them.
fn systemd(name: &str, parents: &[&str]) -> Option<PodName> {
    let (pod, parent) = of_slice(name.strip_suffix(".slice")?)?;
    is_chain(parent, parents).then_some(pod)
}

/// The pod by the whole name of its slice, and the name of the slice that it lies in.
fn of_slice(slice: &str) -> Option<(PodName, &str)> {
    let (parent, pod) = slice.rsplit_once('-')?;
    let uid = PodUid::parse_systemd(pod.strip_prefix("pod")?)?;
    let with_class = |class: &&'static str| Some((parent.strip_suffix(*class)?.strip_suffix('-')?, Some(*class)));
    let (root, class) = QOS.iter().find_map(with_class).unwrap_or((parent, None));
    let is_root = root == KUBEPODS || root.strip_suffix(KUBEPODS).is_some_and(|prefix| prefix.ends_with('-'));
    is_root.then_some((PodName { uid, qos: Some(Qos::of(class)) }, parent))
}

/// Whether the path ends in the slice and all the slices that its name says it lies in.
fn is_chain(slice: &str, path: &[&str]) -> bool {
    let mut slice = slice;
    let mut path = path.iter().rev();
    loop {
        let named = path.next().and_then(|name| name.strip_suffix(".slice"));
        if named != Some(slice) {
            return false;
        }
        match slice.rsplit_once('-') {
            Some((parent, _)) => slice = parent,
            None => return true,
        }
    }
}

#[cfg(test)]
mod tests;
