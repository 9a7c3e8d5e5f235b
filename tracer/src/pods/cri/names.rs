//! PURE: from a runtime's answers to the names of containers. Touches nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::api::{Container, ContainerState, PodSandbox, PodSandboxState};
use crate::pods::{
    PodUid,
    named::{IMAGE, LABEL_KEY, LABEL_VALUE, LABELS, NAME, Named, State, cut},
    runtimes::ContainerId,
};

/// What the kubelet writes on every container and sandbox for itself (pkg/kubelet/types: `labels.go`).
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_UID: &str = "io.kubernetes.pod.uid";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// All that a runtime has, and how much of it has an id that is none.
pub fn all(sandboxes: &[PodSandbox], containers: &[Container], runtime: &Arc<str>) -> (Vec<Named>, usize) {
    let by_id: HashMap<&str, &PodSandbox> = sandboxes.iter().map(|sandbox| (sandbox.id.as_str(), sandbox)).collect();
    let of_pods = sandboxes.iter().map(|sandbox| of_sandbox(sandbox, runtime));
    let of_containers = containers
        .iter()
        .map(|container| of_container(container, by_id.get(container.pod_sandbox_id.as_str()).copied(), runtime));
    let named: Vec<Named> = of_pods.chain(of_containers).flatten().collect();
    let nameless = sandboxes.len() + containers.len() - named.len();
    (named, nameless)
}

/// `None` where the id is none.
pub fn of_sandbox(sandbox: &PodSandbox, runtime: &Arc<str>) -> Option<Named> {
    let id = ContainerId::parse(&sandbox.id)?;
    let pod = Pod::of(sandbox);
    let state = match PodSandboxState::try_from(sandbox.state) {
        Ok(PodSandboxState::SandboxReady) => State::Running,
        Ok(PodSandboxState::SandboxNotready) => State::Exited,
        Err(_) => State::Unknown,
    };
    let attempt = sandbox.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
    let own = Own { sandbox: id.clone(), id, container: None, image: None, attempt, state };
    Some(named(own, &pod, runtime))
}

/// `None` where the id is none. A container whose sandbox is gone is known by what the kubelet wrote on it.
pub fn of_container(container: &Container, sandbox: Option<&PodSandbox>, runtime: &Arc<str>) -> Option<Named> {
    let state = match ContainerState::try_from(container.state) {
        Ok(ContainerState::ContainerCreated) => State::Created,
        Ok(ContainerState::ContainerRunning) => State::Running,
        Ok(ContainerState::ContainerExited) => State::Exited,
        Ok(ContainerState::ContainerUnknown) | Err(_) => State::Unknown,
    };
    let metadata = container.metadata.as_ref();
    let own = Own {
        id: ContainerId::parse(&container.id)?,
        sandbox: ContainerId::parse(&container.pod_sandbox_id)?,
        container: metadata.map(|metadata| cut(&metadata.name, NAME)),
        image: image(container),
        attempt: metadata.map_or(0, |metadata| metadata.attempt),
        state,
    };
    let pod = sandbox.map_or_else(|| Pod::by_labels(&container.labels), Pod::of);
    Some(named(own, &pod, runtime))
}

/// What is the container's, and not its pod's.
struct Own {
    id: ContainerId,
    sandbox: ContainerId,
    container: Option<String>,
    image: Option<String>,
    attempt: u32,
    state: State,
}

/// What is the pod's.
struct Pod<'a> {
    uid: &'a str,
    namespace: &'a str,
    name: &'a str,
    labels: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Pod<'a> {
    fn of(sandbox: &'a PodSandbox) -> Self {
        let labels = Some(&sandbox.labels);
        match &sandbox.metadata {
            Some(metadata) => Self { uid: &metadata.uid, namespace: &metadata.namespace, name: &metadata.name, labels },
            None => Self { labels, ..Self::by_labels(&sandbox.labels) },
        }
    }

    /// Of a container's labels none is the pod's own.
    fn by_labels(labels: &'a BTreeMap<String, String>) -> Self {
        let word = |key| labels.get(key).map_or("", String::as_str);
        Self { uid: word(POD_UID), namespace: word(POD_NAMESPACE), name: word(POD_NAME), labels: None }
    }
}

fn named(own: Own, pod: &Pod<'_>, runtime: &Arc<str>) -> Named {
    Named {
        id: own.id,
        sandbox: own.sandbox,
        pod_uid: PodUid::parse(pod.uid),
        namespace: cut(pod.namespace, NAME),
        pod: cut(pod.name, NAME),
        container: own.container,
        image: own.image,
        labels: pod.labels.map(labels).unwrap_or_default(),
        attempt: own.attempt,
        state: own.state,
        runtime: Arc::clone(runtime),
    }
}

fn labels(all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = [POD_NAME, POD_NAMESPACE, POD_UID, CONTAINER_NAME];
    let fits = |key: &str, value: &str| key.len() <= LABEL_KEY && value.len() <= LABEL_VALUE;
    let kept = all.iter().filter(|(key, value)| fits(key, value) && !own.contains(&key.as_str()));
    kept.take(LABELS).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The user's own word first: the kubelet gives the runtime an image's id, and that beside it.
fn image(container: &Container) -> Option<String> {
    let spec = container.image.as_ref();
    let words = [
        spec.map_or("", |spec| spec.user_specified_image.as_str()),
        spec.map_or("", |spec| spec.image.as_str()),
        container.image_ref.as_str(),
    ];
    words.into_iter().find(|word| !word.is_empty()).map(|word| cut(word, IMAGE))
}

#[cfg(test)]
mod tests;
