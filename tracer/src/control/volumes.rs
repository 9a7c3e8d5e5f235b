//! PURE: the volumes that pods use as an answer.

use serde::Serialize;

use super::Id;
use crate::{
    device::Dev,
    engine::{KnownPod, KnownUse},
    output::escape::escape,
    pods::{
        PodUid,
        view::{Claimed, Why},
    },
};

/// A volume that the kubelet has mounted for a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeRow {
    /// The pod.
    pub pod_uid: PodUid,
    /// Its namespace; `None` while nobody has told it.
    pub namespace: Option<String>,
    /// Its name.
    pub pod: Option<String>,
    /// As the kubelet's directory names it.
    pub volume: String,
    /// The plugin as that directory names it; `None` for a subpath.
    pub plugin: Option<String>,
    /// The claim that it is of.
    pub claim: Option<ClaimRow>,
    /// Why no claim is named; `None` where one is, and for a volume of the pod's own.
    pub no_claim: Option<&'static str>,
    /// `mnt_id`; the kernel uses it again.
    pub mount_id: u32,
    /// `mnt_id_unique`, from 6.8.
    pub mount_id_unique: Option<Id>,
    /// The superblock's device.
    pub dev: Dev,
    /// Its type.
    pub fstype: Option<String>,
    /// Where it is, in the kubelet's mount namespace.
    pub path: String,
}

/// A claim, as Kubernetes tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimRow {
    /// Its name; its namespace is the pod's.
    pub name: String,
    /// What the pod calls the volume.
    pub pod_volume: String,
    /// The PersistentVolume that it is bound to.
    pub persistent_volume: Option<String>,
    /// Its StorageClass.
    pub storage_class: Option<String>,
    /// The VolumeAttributesClass that is in force.
    pub attributes_class: Option<String>,
    /// Whether somebody else may use it too.
    pub shared: bool,
}

impl VolumeRow {
    /// Those of a pod.
    pub fn of_pod(pod: &KnownPod<'_>) -> Vec<Self> {
        pod.uses.iter().map(|used| Self::of(pod, used)).collect()
    }

    fn of(pod: &KnownPod<'_>, used: &KnownUse<'_>) -> Self {
        let sighting = used.sighting;
        let (namespace, name) = pod.named.clone().unzip();
        Self {
            pod_uid: pod.uid.clone(),
            namespace,
            pod: name,
            volume: sighting.volume.clone(),
            plugin: sighting.plugin.clone(),
            claim: used.claimed().map(ClaimRow::of),
            no_claim: used.why().map(Why::name),
            mount_id: sighting.mount.id,
            mount_id_unique: sighting.mount.id_unique.map(Id),
            dev: sighting.dev,
            fstype: sighting.fstype.clone(),
            path: escape(&sighting.path),
        }
    }
}

impl ClaimRow {
    fn of(claimed: Claimed<'_>) -> Self {
        let text = |text: &Option<Box<str>>| text.as_ref().map(ToString::to_string);
        Self {
            name: claimed.claim.key.name.to_string(),
            pod_volume: claimed.pod_volume.to_owned(),
            persistent_volume: text(&claimed.claim.volume),
            storage_class: text(&claimed.claim.storage_class),
            attributes_class: text(&claimed.claim.attributes_class),
            shared: claimed.shared,
        }
    }
}
