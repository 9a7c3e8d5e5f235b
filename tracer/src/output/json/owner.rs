//! Whose a mount namespace or a process is, as JSON: names where they are known, ids else.

use serde::Serialize;

use crate::pods::{PodUid, cgroup_path::Owner, runtimes::Runtime};

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
    /// `None` where it is nobody's.
    pub(super) fn of(owner: &'a Owner) -> Option<Self> {
        let (pod, container) = (owner.pod.as_ref(), owner.container.as_ref());
        (pod.is_some() || container.is_some()).then(|| Self {
            pod_uid: pod.map(|pod| &pod.uid),
            namespace: (),
            pod: (),
            container: (),
            container_id: container.map(|container| container.id.as_str()),
            role: if container.is_some() { "container" } else { "pod" },
            runtime: container.and_then(|container| container.runtime).map(Runtime::name),
            qos_class: pod.map(|pod| pod.qos.name()),
        })
    }
}
