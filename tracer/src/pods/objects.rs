//! PURE: of Kubernetes' objects what this program needs, and no more. Touches nothing.
//!
//! All words in them are other people's: they are shown and matched, never opened. What is longer than Kubernetes lets it be is cut or left
//! out where the objects are made (`kube/wire.rs`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PodUid;

/// Words by their keys: labels, or the annotations that are read.
pub type Words = BTreeMap<Box<str>, Box<str>>;

/// A pod of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// The uid that the API server gave it.
    pub uid: PodUid,
    /// Of the mirror of a static pod: the hash of its file, which the kubelet takes for its uid, so that cgroup and directory have it.
    pub config_hash: Option<PodUid>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its labels.
    pub labels: Words,
    /// Whether all of its containers have ended for good (`Succeeded`, `Failed`).
    pub over: bool,
    /// Its volumes, as its spec lists them.
    pub volumes: Vec<PodVolume>,
    /// Its containers, init and ephemeral ones too.
    pub containers: Vec<Container>,
}

impl Pod {
    /// The claims that its volumes are of, each once for each volume.
    pub fn claims(&self) -> impl Iterator<Item = ClaimKey> {
        self.volumes.iter().filter_map(|volume| self.claim_of(volume))
    }

    /// Whether one of its volumes is of this claim.
    pub fn uses(&self, claim: &ClaimKey) -> bool {
        self.namespace == claim.namespace && self.volumes.iter().any(|volume| self.is_called(volume, &claim.name))
    }

    /// Whether a volume's claim has this name.
    fn is_called(&self, volume: &PodVolume, claim: &str) -> bool {
        match &volume.source {
            Source::Claim { name } => **name == *claim,
            Source::Ephemeral => {
                let rest = claim.strip_prefix(&*self.name).and_then(|rest| rest.strip_prefix('-'));
                rest == Some(&*volume.name)
            }
            Source::Csi { .. } | Source::HostPath { .. } | Source::Other => false,
        }
    }

    /// The claim of one of its volumes. That of an ephemeral one has a name that is made up of both names (`ephemeral.VolumeClaimName` of
    /// k8s.io/component-helpers).
    pub fn claim_of(&self, volume: &PodVolume) -> Option<ClaimKey> {
        let name = match &volume.source {
            Source::Claim { name } => name.clone(),
            Source::Ephemeral => format!("{}-{}", self.name, volume.name).into(),
            Source::Csi { .. } | Source::HostPath { .. } | Source::Other => return None,
        };
        Some(ClaimKey { namespace: self.namespace.clone(), name })
    }
}

/// A volume by its pod's spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodVolume {
    /// What the pod calls it.
    pub name: Box<str>,
    /// Where it is from.
    pub source: Source,
}

/// Where a pod's volume is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A claim in the pod's namespace.
    Claim {
        /// Its name.
        name: Box<str>,
    },
    /// A claim that is made for this pod and ends with it.
    Ephemeral,
    /// A driver, without a claim.
    Csi {
        /// The driver's name.
        driver: Box<str>,
    },
    /// A path of the node.
    HostPath {
        /// Which.
        path: Box<str>,
    },
    /// `emptyDir`, `configMap`, and all that this program asks nothing about.
    Other,
}

/// A container by its pod's spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: Box<str>,
    /// The volumes that it wants mounted.
    pub mounts: Vec<Place>,
    /// The volumes that it wants as block devices.
    pub devices: Vec<Place>,
}

/// Where a container wants a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What the pod calls the volume.
    pub volume: Box<str>,
    /// The path in the container.
    pub path: Box<str>,
}

/// The name of a claim, which another claim may have had before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClaimKey {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// A PersistentVolumeClaim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its name.
    pub key: ClaimKey,
    /// Its uid.
    pub uid: Box<str>,
    /// The uid of what made it and ends it; of an ephemeral volume's claim that is the pod.
    pub owner_uid: Option<Box<str>>,
    /// Its labels.
    pub labels: Words,
    /// Its annotations of ours.
    pub annotations: Words,
    /// Its StorageClass.
    pub storage_class: Option<Box<str>>,
    /// The VolumeAttributesClass that is in force (`status`, not `spec`: that is only wanted).
    pub attributes_class: Option<Box<str>>,
    /// The PersistentVolume that it is bound to.
    pub volume: Option<Box<str>>,
    /// Whether many nodes may write to it at once (`ReadWriteMany`).
    pub write_many: bool,
}

/// A PersistentVolume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name, by which the kubelet calls the directory.
    pub name: Box<str>,
    /// The uid of the claim that it is bound to.
    pub claim_uid: Option<Box<str>>,
    /// Its annotations of ours.
    pub annotations: Words,
    /// Its StorageClass.
    pub storage_class: Option<Box<str>>,
    /// The CSI driver; `None` for a volume of another kind.
    pub driver: Option<Box<str>>,
    /// What the CSI driver calls it.
    pub handle: Option<Box<str>>,
    /// Whether it is a block device (`volumeMode: Block`) and no file system.
    pub block: bool,
}

/// The kinds of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassKind {
    /// StorageClass.
    Storage,
    /// VolumeAttributesClass, which clusters have from Kubernetes 1.34 on.
    Attributes,
}

/// A class. Its parameters belong to the driver and are not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Its name.
    pub name: Box<str>,
    /// Its annotations of ours.
    pub annotations: Words,
}
