//! Pods as the node shows them: their cgroups' names, the kubelet's directories, what the container runtime calls them, and what Kubernetes
//! knows of their volumes. Pure tables and parsers, but for the runtime's socket and the connection to the API server.

pub mod asked;
pub mod cgroup_path;
pub mod cri;
#[cfg(feature = "kubernetes")]
pub mod kube;
pub mod kubelet_path;
pub mod named;
pub mod objects;
pub mod owners;
pub mod pod_uid;
pub mod runtimes;
pub mod view;

pub use pod_uid::PodUid;

/// A pod's own cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodCgroup {
    /// Its path, as the kernel prints it.
    pub path: String,
    /// Its id, which no other cgroup gets in this boot.
    pub id: u64,
}
