//! Whose a mount namespace or a process is, as JSON: names where they are known, ids else.

use serde::Serialize;

use crate::{
    operation::{Operation, Whose},
    output::escape::escape,
    pods::{
        PodUid,
        cgroup_path::{Owner, Qos},
        named::Named,
        owners::{Home, Role},
        runtimes::Runtime,
    },
};

/// A pod, a container, or both.
#[derive(Serialize)]
pub(crate) struct OwnerObject<'a> {
    pod_uid: Option<&'a PodUid>,
    namespace: Option<String>,
    pub(super) pod: Option<String>,
    pub(super) container: Option<String>,
    container_id: Option<&'a str>,
    image: Option<String>,
    role: &'static str,
    runtime: Option<&'static str>,
    qos_class: Option<&'static str>,
}

impl<'a> OwnerObject<'a> {
    /// Whose a process is, by its cgroup; `None` where it is nobody's.
    pub(super) fn of_process(owner: &'a Owner, named: Option<&Named>) -> Option<Self> {
        owner.is_somebody().then(|| Self::of(owner, Role::of_cgroup(owner), named))
    }

    /// Whose the actor's cgroup is.
    pub(super) fn of_actor(operation: &'a Operation) -> Option<Self> {
        let owner = operation.whose.actor.as_deref()?;
        Self::of_process(owner, operation.whose.named(owner))
    }

    /// Whose a mount namespace is.
    pub(super) fn of_namespace(home: &'a Home, whose: &Whose) -> Self {
        Self::of(&home.owner, home.role, whose.named(&home.owner))
    }

    /// The same, of whatever it is whose.
    pub(crate) fn of(owner: &'a Owner, role: Role, named: Option<&Named>) -> Self {
        let (pod, container) = (owner.pod.as_ref(), owner.container.as_ref());
        let of_container = named.filter(|_| container.is_some());
        let is_sandbox = of_container.is_some_and(|named| named.container.is_none());
        Self {
            pod_uid: pod.map(|pod| &pod.uid),
            namespace: named.map(|named| escape(named.namespace.as_bytes())),
            pod: named.map(|named| escape(named.pod.as_bytes())),
            container: of_container.and_then(|named| named.container.as_ref()).map(|name| escape(name.as_bytes())),
            image: of_container.and_then(|named| named.image.as_ref()).map(|image| escape(image.as_bytes())),
            container_id: container.map(|container| container.id.as_str()),
            role: if is_sandbox && role == Role::Container { "sandbox" } else { role.name() },
            runtime: container.and_then(|container| container.runtime).map(Runtime::name),
            qos_class: pod.and_then(|pod| pod.qos).map(Qos::name),
        }
    }
}
