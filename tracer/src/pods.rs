//! Pods as the node shows them: their cgroups' names and the kubelet's directories. Pure tables and parsers.

pub mod cgroup_path;
pub mod kubelet_path;
pub mod pod_uid;

pub use pod_uid::PodUid;
