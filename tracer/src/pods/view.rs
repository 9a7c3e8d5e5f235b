//! PURE: the pods of this node, and of claims, volumes and classes what these pods use: put together from what the API server tells, in
//! whatever order it tells it. Touches nothing.
//!
//! Nothing is joined by a name alone where there is a uid: a volume counts for a claim only if it is bound to that claim's uid, and a claim of
//! an ephemeral volume only if its pod owns it. What no pod uses is not kept.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    PodUid,
    objects::{Claim, ClaimKey, Class, ClassKind, Pod, PodVolume, Source, Volume, Words},
};

/// Pods that are kept at most: a kubelet runs 110 by default, and nobody has it run more than 2,500.
pub const MOST_PODS: usize = 4096;
/// Classes of one kind that are kept at most.
pub const MOST_CLASSES: usize = 1024;

/// What the API server told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// These are all pods of the node.
    Pods(Vec<Pod>),
    /// A pod is new or has changed.
    Pod(Box<Pod>),
    /// The pod with this uid is gone.
    PodGone(PodUid),
    /// A claim is new or has changed.
    Claim(Box<Claim>),
    /// There is no claim of this name.
    ClaimGone(ClaimKey),
    /// A volume.
    Volume(Box<Volume>),
    /// There is no volume of this name.
    VolumeGone(Box<str>),
    /// These are all classes of a kind.
    Classes(ClassKind, Vec<Class>),
    /// A class is new or has changed.
    Class(ClassKind, Class),
    /// There is no class of this name.
    ClassGone(ClassKind, Box<str>),
}

/// Whose a volume of a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// A claim's.
    Claim(Claimed<'a>),
    /// The pod's own; no claim is behind it.
    Pod(&'a PodVolume),
}

/// A claim, and what is known of what it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed<'a> {
    /// What the pod calls the volume.
    pub pod_volume: &'a str,
    /// The claim.
    pub claim: &'a Claim,
    /// The volume that it is bound to; `None` until it was fetched.
    pub volume: Option<&'a Volume>,
    /// The annotations of its StorageClass; `None` for one that nobody has told of.
    pub storage_class: Option<&'a Words>,
    /// The annotations of its VolumeAttributesClass; `None` for one that nobody has told of.
    pub attributes_class: Option<&'a Words>,
    /// Whether somebody else may use it too: another pod of the node, or pods of other nodes.
    pub shared: bool,
}

/// Why nothing can be said of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Nobody has told of such a pod (yet).
    PodUnknown,
    /// Two pods say that they are the same static one.
    PodAmbiguous,
    /// The pod has claims of which nobody has told (yet) what they are bound to: it may be one of theirs.
    ClaimUnknown,
    /// The pod's spec has no such volume.
    NotInSpec,
    /// The directory's name is that of a claim's volume and of another volume of the pod.
    VolumeAmbiguous,
}

impl Why {
    /// All that there are.
    pub const ALL: [Self; 5] =
        [Self::PodUnknown, Self::PodAmbiguous, Self::ClaimUnknown, Self::NotInSpec, Self::VolumeAmbiguous];

    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::PodUnknown => "pod_unknown",
            Self::PodAmbiguous => "pod_ambiguous",
            Self::ClaimUnknown => "claim_unknown",
            Self::NotInSpec => "not_in_spec",
            Self::VolumeAmbiguous => "volume_ambiguous",
        }
    }

    /// Whether waiting may help.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::PodUnknown | Self::ClaimUnknown)
    }
}

/// What is known.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PodView {
    pods: HashMap<PodUid, Pod>,
    claims: HashMap<ClaimKey, Claim>,
    volumes: HashMap<Box<str>, Volume>,
    storage_classes: HashMap<Box<str>, Words>,
    attributes_classes: HashMap<Box<str>, Words>,
    /// Pods and classes for which there was no room.
    refused: u64,
}

/// How much is known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Pods.
    pub pods: usize,
    /// Claims.
    pub claims: usize,
    /// Volumes.
    pub volumes: usize,
    /// Classes of both kinds.
    pub classes: usize,
    /// Pods and classes for which there was no room.
    pub refused: u64,
}

impl PodView {
    /// Takes what the API server told.
    pub fn apply(&mut self, update: Update) {
        match update {
            Update::Pods(pods) => {
                self.pods.clear();
                for pod in pods {
                    self.put(pod);
                }
            }
            Update::Pod(pod) => self.put(*pod),
            Update::PodGone(uid) => drop(self.pods.remove(&uid)),
            Update::Claim(claim) => {
                if self.pods.values().any(|pod| pod.uses(&claim.key)) {
                    self.claims.insert(claim.key.clone(), *claim);
                }
                return self.forget_volumes();
            }
            Update::ClaimGone(key) => {
                self.claims.remove(&key);
                return self.forget_volumes();
            }
            Update::Volume(volume) => {
                if self.claims.values().any(|claim| claim.volume.as_ref() == Some(&volume.name)) {
                    self.volumes.insert(volume.name.clone(), *volume);
                }
                return;
            }
            Update::VolumeGone(name) => return drop(self.volumes.remove(&name)),
            Update::Classes(kind, classes) => {
                self.classes(kind).clear();
                for class in classes {
                    self.put_class(kind, class);
                }
                return;
            }
            Update::Class(kind, class) => return self.put_class(kind, class),
            Update::ClassGone(kind, name) => return drop(self.classes(kind).remove(&name)),
        }
        self.forget();
    }

    /// How much is known.
    pub fn known(&self) -> Known {
        Known {
            pods: self.pods.len(),
            claims: self.claims.len(),
            volumes: self.volumes.len(),
            classes: self.storage_classes.len() + self.attributes_classes.len(),
            refused: self.refused,
        }
    }

    /// The pod that a cgroup or a directory of the kubelet's has this uid of: its own, or a static one's hash. A pod writes its annotations
    /// itself, so a hash never stands for a pod that has that very uid, nor one that two pods have for either of them.
    pub fn pod(&self, uid: &PodUid) -> Result<&Pod, Why> {
        if let Some(pod) = self.pods.get(uid) {
            return Ok(pod);
        }
        let mut mirrors = self.pods.values().filter(|pod| pod.config_hash.as_ref() == Some(uid));
        match (mirrors.next(), mirrors.next()) {
            (Some(pod), None) => Ok(pod),
            (None, _) => Err(Why::PodUnknown),
            (Some(_), Some(_)) => Err(Why::PodAmbiguous),
        }
    }

    /// Whose the volume is that the kubelet has mounted in a directory of this name for the pod with this uid: the PersistentVolume's name
    /// for a claim, else what the pod calls it (`spec.Name()` of kubernetes/pkg/volume).
    pub fn claim_of(&self, pod: &PodUid, directory: &str) -> Result<Whose<'_>, Why> {
        let pod = self.pod(pod)?;
        let own = pod.volumes.iter().find(|volume| *volume.name == *directory && pod.claim_of(volume).is_none());
        let mut claimed = pod.volumes.iter().filter_map(|volume| {
            let claim = self.claim(pod, volume)?;
            (claim.volume.as_deref() == Some(directory)).then_some((volume, claim))
        });
        match (claimed.next(), own) {
            (Some((volume, claim)), None) => Ok(Whose::Claim(self.claimed(pod, volume, claim))),
            (Some(_), Some(_)) => Err(Why::VolumeAmbiguous),
            (None, Some(volume)) => Ok(Whose::Pod(volume)),
            (None, None) if pod.volumes.iter().any(|volume| self.is_open(pod, volume)) => Err(Why::ClaimUnknown),
            (None, None) => Err(Why::NotInSpec),
        }
    }

    /// What is known of the volume that a pod's spec calls so, if it is a claim's and that is known.
    pub fn by_spec(&self, pod: &Pod, volume: &str) -> Option<Claimed<'_>> {
        let pod = self.pods.get(&pod.uid)?;
        let volume = pod.volumes.iter().find(|one| *one.name == *volume)?;
        Some(self.claimed(pod, volume, self.claim(pod, volume)?))
    }

    /// All pods, in no order.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    fn put(&mut self, pod: Pod) {
        if self.pods.len() >= MOST_PODS && !self.pods.contains_key(&pod.uid) {
            self.refused += 1;
        } else {
            self.pods.insert(pod.uid.clone(), pod);
        }
    }

    fn put_class(&mut self, kind: ClassKind, class: Class) {
        let classes = self.classes(kind);
        if classes.len() >= MOST_CLASSES && !classes.contains_key(&class.name) {
            self.refused += 1;
        } else {
            classes.insert(class.name, class.annotations);
        }
    }

    fn classes(&mut self, kind: ClassKind) -> &mut HashMap<Box<str>, Words> {
        match kind {
            ClassKind::Storage => &mut self.storage_classes,
            ClassKind::Attributes => &mut self.attributes_classes,
        }
    }

    /// The claim of a pod's volume, if it is the right one.
    fn claim(&self, pod: &Pod, volume: &PodVolume) -> Option<&Claim> {
        let claim = self.claims.get(&pod.claim_of(volume)?)?;
        // Somebody else may have made one of that name before; the kubelet does not take it either.
        let is_right = volume.source != Source::Ephemeral || claim.owner_uid.as_deref() == Some(pod.uid.as_str());
        is_right.then_some(claim)
    }

    /// Whether a volume of the pod is of a claim of which it is not known what it is bound to.
    fn is_open(&self, pod: &Pod, volume: &PodVolume) -> bool {
        pod.claim_of(volume).is_some() && self.claim(pod, volume).is_none_or(|claim| claim.volume.is_none())
    }

    fn claimed<'a>(&'a self, pod: &'a Pod, volume: &'a PodVolume, claim: &'a Claim) -> Claimed<'a> {
        let class = claim.storage_class.as_ref().and_then(|name| self.storage_classes.get(name));
        let attributes = claim.attributes_class.as_ref().and_then(|name| self.attributes_classes.get(name));
        Claimed {
            pod_volume: &volume.name,
            claim,
            volume: self.volume(claim),
            storage_class: class,
            attributes_class: attributes,
            shared: claim.write_many || self.others_use(pod, &claim.key),
        }
    }

    /// The volume that the claim is bound to, if that is bound to this very claim.
    fn volume(&self, claim: &Claim) -> Option<&Volume> {
        let volume = self.volumes.get(claim.volume.as_ref()?)?;
        (volume.claim_uid.as_ref() == Some(&claim.uid)).then_some(volume)
    }

    fn others_use(&self, pod: &Pod, claim: &ClaimKey) -> bool {
        let mut others = self.pods.values().filter(|other| other.uid != pod.uid && !other.over);
        others.any(|other| other.uses(claim))
    }

    /// Forgets what no pod uses.
    fn forget(&mut self) {
        let Self { pods, claims, .. } = self;
        if !claims.is_empty() {
            let used: HashSet<ClaimKey> = pods.values().flat_map(Pod::claims).collect();
            claims.retain(|key, _| used.contains(key));
        }
        self.forget_volumes();
    }

    /// Forgets what no claim is bound to.
    fn forget_volumes(&mut self) {
        let Self { claims, volumes, .. } = self;
        if !volumes.is_empty() {
            let bound: HashSet<&str> = claims.values().filter_map(|claim| claim.volume.as_deref()).collect();
            volumes.retain(|name, _| bound.contains(&**name));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
