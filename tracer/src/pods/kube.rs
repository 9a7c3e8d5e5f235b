//! IN: the Kubernetes API server: which pods this node has, and what is behind their volumes. Reads; changes nothing.
//!
//! It is asked as little as 5,000 nodes can ask it: the pods of this node, the two kinds of classes, each claim that a pod here uses by its name, and
//! each volume once. No list is of other nodes' objects (`docs/kubernetes.md`).

pub mod api;
pub mod ask;
pub mod counts;
pub mod course;
pub mod envelope;
mod error;
pub mod follow;
pub mod lines;
pub mod plan;
pub mod tell;
pub mod wire;

pub use self::error::{Fault, KubeError};
