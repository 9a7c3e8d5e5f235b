//! PURE: what a container's runtime calls it and its pod. Touches nothing.
//!
//! The words are the runtime's and are shown, never opened. They are not longer than Kubernetes lets them be: what is longer is cut where
//! it is a name, and left out where it is a label, which must not match by half of itself.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{PodUid, cgroup_path::Owner, runtimes::ContainerId};

/// Bytes of a name: a DNS subdomain (RFC 1123), which is what a pod's may be at most.
pub const NAME: usize = 253;
/// Bytes of an image: a host, a path of at most 255, a tag of 128 and a digest, with room.
pub const IMAGE: usize = 1024;
/// Bytes of a label's key: a DNS subdomain, a slash and 63.
pub const LABEL_KEY: usize = 253 + 1 + 63;
/// Bytes of a label's value, as the API server limits it.
pub const LABEL_VALUE: usize = 63;
/// Labels of one pod; Kubernetes has no limit of its own, and nobody has so many.
pub const LABELS: usize = 256;

/// One container, or the sandbox of one pod, by the word of its runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its own id, by which its cgroup is called too.
    pub id: ContainerId,
    /// Of the pod's sandbox; its own where it is that.
    pub sandbox: ContainerId,
    /// The pod's uid; `None` where the runtime's word is none, as for pods that no kubelet made.
    pub pod_uid: Option<PodUid>,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name; `None` for a sandbox.
    pub container: Option<String>,
    /// As whoever made the pod called it, if the runtime still knows that; `None` for a sandbox.
    pub image: Option<String>,
    /// The pod's labels, without those that the kubelet adds for itself.
    pub labels: BTreeMap<String, String>,
    /// How often it was made anew in the same pod, or the sandbox for the same pod.
    pub attempt: u32,
    /// What it is at.
    pub state: State,
    /// The runtime, as it calls itself.
    pub runtime: Arc<str>,
}

impl Named {
    /// Whether it is what this owner is called: its container, or for one that is in none any of its pod. A runtime that puts another pod's
    /// name on a container than the container's cgroup says is not believed.
    pub fn is_of(&self, owner: &Owner) -> bool {
        let is_pods = owner.pod.as_ref().is_some_and(|pod| self.pod_uid.as_ref() == Some(&pod.uid));
        is_pods && owner.container.as_ref().is_none_or(|container| container.id == self.id)
    }
}

/// What a container is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, not started.
    Created,
    /// Started; of a sandbox: ready.
    Running,
    /// Ended; of a sandbox: not ready.
    Exited,
    /// The runtime does not know.
    Unknown,
}

impl State {
    /// For people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Unknown => "unknown",
        }
    }
}

/// All of a text that is short enough, else its beginning and `…`, together not longer than that.
pub fn cut(text: &str, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most.saturating_sub(MARK.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        assert_eq!(cut("web-0", 5), "web-0");
        assert_eq!(cut("web-00", 5), "we…");
        assert_eq!(cut("wéb-00", 5), "w…", "not within a character");
    }

    proptest! {
        #[test]
        fn nothing_is_longer_than_it_may_be(text in ".*", most in 3_usize..64) {
            prop_assert!(cut(&text, most).len() <= most);
        }
    }
}
