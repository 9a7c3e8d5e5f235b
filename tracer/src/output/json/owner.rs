//! Whose a mount namespace or a process is, as JSON: names where they are known, ids else.

use serde::Serialize;

use crate::pods::{
    PodUid,
    cgroup_path::Owner,
    owners::{Home, Role},
    runtimes::Runtime,
};

/// A pod, a container, or both.
#[derive(Serialize)]
pub(super) struct OwnerObject<'a> {
    pod_uid: Option<&'a PodUid>,
    /// The names are the cluster's or the runtime's to tell, and neither is asked yet.
    namespace: (),
    pod: (),
    container: (),
    container_id: Option<&'a str>,
    role: &'static str,
    runtime: Option<&'static str>,
    qos_class: Option<&'static str>,
}

impl<'a> OwnerObject<'a> {
    /// Whose a process is, by its cgroup; `None` where it is nobody's.
    pub(super) fn of_process(owner: &'a Owner) -> Option<Self> {
        owner.is_somebody().then(|| Self::of(owner, Role::of_cgroup(owner)))
    }

    /// Whose a mount namespace is.
    pub(super) fn of_namespace(home: &'a Home) -> Self {
        Self::of(&home.owner, home.role)
    }

    fn of(owner: &'a Owner, role: Role) -> Self {
        let (pod, container) = (owner.pod.as_ref(), owner.container.as_ref());
        Self {
            pod_uid: pod.map(|pod| &pod.uid),
            namespace: (),
            pod: (),
            container: (),
            container_id: container.map(|container| container.id.as_str()),
            role: role.name(),
            runtime: container.and_then(|container| container.runtime).map(Runtime::name),
            qos_class: pod.map(|pod| pod.qos.name()),
        }
    }
}
