//! Pods as the node shows them: their cgroups' names and the kubelet's directories. Pure tables and parsers.

pub mod cgroup_path;
pub mod cri;
pub mod kubelet_path;
pub mod named;
pub mod owners;
pub mod pod_uid;
pub mod runtimes;

pub use pod_uid::PodUid;

/// A pod's own cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodCgroup {
    /// Its path, as the kernel prints it.
    pub path: String,
    /// Its id, which no other cgroup gets in this boot.
    pub id: u64,
}
