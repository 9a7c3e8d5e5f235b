//! PURE: the API server's JSON -> the objects that are kept. Touches nothing.
//!
//! Only fields that somebody needs are named here, so all others are skipped while they are read. Of annotations those that are ours and the
//! kubelet's for static pods are kept; a class's parameters and a pod's environment are never looked at.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::pods::{
    PodUid,
    named::{LABEL_KEY, LABEL_VALUE, LABELS, NAME, cut},
    objects::{Claim, ClaimKey, Class, Container, Place, Pod, PodVolume, Source, Volume, Words},
};

/// The annotations by which limits are asked for: in front of them, and what comes behind.
const OURS: &str = "mount-tracer.io/";
const LIMITS: [&str; 4] = ["read-bps", "write-bps", "read-iops", "write-iops"];
/// Bytes of a limit's text: a quantity has a few digits and a suffix.
const LIMIT: usize = 64;
/// Bytes of a path, as Linux limits it (`PATH_MAX`).
const PATH: usize = 4096;
/// Bytes of a CSI volume's handle; its specification lets it have 128, and drivers do not hold to it.
const HANDLE: usize = 1024;
/// Volumes of one pod, containers of one pod and places of one container that are kept.
const MOST: usize = 512;

/// The hash of a static pod's file, which the kubelet takes for the pod's uid (pkg/kubelet/config/common.go).
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// What makes a pod the mirror of a static one (`types.ConfigMirrorAnnotationKey` of pkg/kubelet).
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
/// Where the kubelet has a pod from.
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    uid: Box<str>,
    name: Box<str>,
    namespace: Box<str>,
    labels: Option<BTreeMap<Box<str>, Box<str>>>,
    annotations: Option<BTreeMap<Box<str>, Box<str>>>,
    owner_references: Option<Vec<Owner>>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    uid: Box<str>,
    #[serde(default)]
    controller: bool,
}

impl Meta {
    fn labels(&mut self) -> Words {
        let fits = |(key, value): &(Box<str>, Box<str>)| key.len() <= LABEL_KEY && value.len() <= LABEL_VALUE;
        self.labels.take().unwrap_or_default().into_iter().filter(fits).take(LABELS).collect()
    }

    /// A text that is too long for a limit is cut: as one that cannot be read it is told of, and as none it would not be.
    fn ours(&self) -> Words {
        let is_limit = |key: &str| key.strip_prefix(OURS).is_some_and(|rest| LIMITS.contains(&rest));
        let annotations = self.annotations.iter().flatten().filter(|(key, _)| is_limit(key));
        annotations.map(|(key, value)| (key.clone(), short(value, LIMIT))).collect()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(|value| &**value)
    }

    /// Names are never cut: half of one would be another's.
    fn name(&self) -> Option<Box<str>> {
        whole(&self.name)
    }
}

fn whole(name: &str) -> Option<Box<str>> {
    (!name.is_empty() && name.len() <= NAME).then(|| name.into())
}

fn short(text: &str, most: usize) -> Box<str> {
    cut(text, most).into()
}

/// An object of the API server's.
pub trait Wire: for<'de> Deserialize<'de> {
    /// What is kept of it.
    type Kept;

    /// What is kept of it; `None` where it lacks what no object can be without.
    fn keep(self) -> Option<Self::Kept>;
}

/// A pod as the API server writes it.
#[derive(Debug, Deserialize)]
pub struct WirePod {
    metadata: Meta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    volumes: Option<Vec<WireVolume>>,
    containers: Option<Vec<WireContainer>>,
    init_containers: Option<Vec<WireContainer>>,
    ephemeral_containers: Option<Vec<WireContainer>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: Box<str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireVolume {
    name: Box<str>,
    persistent_volume_claim: Option<ClaimSource>,
    /// Its template is not needed.
    ephemeral: Option<Something>,
    csi: Option<CsiSource>,
    host_path: Option<HostPathSource>,
}

#[derive(Debug, Deserialize)]
struct Something {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimSource {
    claim_name: Box<str>,
}

#[derive(Debug, Deserialize)]
struct CsiSource {
    driver: Box<str>,
}

#[derive(Debug, Deserialize)]
struct HostPathSource {
    path: Box<str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireContainer {
    name: Box<str>,
    volume_mounts: Option<Vec<VolumeMount>>,
    volume_devices: Option<Vec<VolumeDevice>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeMount {
    name: Box<str>,
    mount_path: Box<str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeDevice {
    name: Box<str>,
    device_path: Box<str>,
}

impl WireVolume {
    fn keep(self) -> Option<PodVolume> {
        let source = if let Some(claim) = self.persistent_volume_claim {
            Source::Claim { name: whole(&claim.claim_name)? }
        } else if self.ephemeral.is_some() {
            Source::Ephemeral
        } else if let Some(csi) = self.csi {
            Source::Csi { driver: short(&csi.driver, NAME) }
        } else if let Some(host_path) = self.host_path {
            Source::HostPath { path: short(&host_path.path, PATH) }
        } else {
            Source::Other
        };
        Some(PodVolume { name: whole(&self.name)?, source })
    }
}

impl WireContainer {
    fn keep(self) -> Option<Container> {
        let place = |volume: &str, path: &str| Some(Place { volume: whole(volume)?, path: short(path, PATH) });
        let mounts = self.volume_mounts.unwrap_or_default().into_iter().take(MOST);
        let devices = self.volume_devices.unwrap_or_default().into_iter().take(MOST);
        Some(Container {
            name: whole(&self.name)?,
            mounts: mounts.filter_map(|mount| place(&mount.name, &mount.mount_path)).collect(),
            devices: devices.filter_map(|device| place(&device.name, &device.device_path)).collect(),
        })
    }
}

impl Wire for WirePod {
    type Kept = Pod;

    fn keep(mut self) -> Option<Pod> {
        let mirror = self.metadata.annotation(CONFIG_MIRROR).is_some()
            && self.metadata.annotation(CONFIG_SOURCE).is_some_and(|source| source != "api");
        // A hash has no dashes: what looks like a pod's own uid is none.
        let hash = self.metadata.annotation(CONFIG_HASH).filter(|hash| mirror && !hash.contains('-'));
        let containers = [self.spec.init_containers, self.spec.containers, self.spec.ephemeral_containers];
        Some(Pod {
            uid: PodUid::parse(&self.metadata.uid)?,
            config_hash: hash.and_then(PodUid::parse),
            namespace: whole(&self.metadata.namespace)?,
            name: self.metadata.name()?,
            labels: self.metadata.labels(),
            over: matches!(&*self.status.phase, "Succeeded" | "Failed"),
            volumes: self.spec.volumes.into_iter().flatten().take(MOST).filter_map(WireVolume::keep).collect(),
            containers: (containers.into_iter().flatten().flatten().take(MOST))
                .filter_map(WireContainer::keep)
                .collect(),
        })
    }
}

/// A claim as the API server writes it.
#[derive(Debug, Deserialize)]
pub struct WireClaim {
    metadata: Meta,
    #[serde(default)]
    spec: ClaimSpec,
    #[serde(default)]
    status: ClaimStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClaimSpec {
    access_modes: Option<Vec<Box<str>>>,
    storage_class_name: Option<Box<str>>,
    volume_name: Option<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClaimStatus {
    current_volume_attributes_class_name: Option<Box<str>>,
    phase: Box<str>,
}

impl Wire for WireClaim {
    type Kept = Claim;

    fn keep(mut self) -> Option<Claim> {
        let owners = self.metadata.owner_references.take().unwrap_or_default();
        let name = |name: Option<Box<str>>| name.and_then(|name| whole(&name));
        Some(Claim {
            key: ClaimKey { namespace: whole(&self.metadata.namespace)?, name: self.metadata.name()? },
            uid: whole(&self.metadata.uid)?,
            owner_uid: owners.into_iter().find(|owner| owner.controller).map(|owner| owner.uid),
            labels: self.metadata.labels(),
            annotations: self.metadata.ours(),
            storage_class: name(self.spec.storage_class_name),
            attributes_class: name(self.status.current_volume_attributes_class_name),
            // Anybody may write there which volume is wanted; which one it is the control plane says.
            volume: name(self.spec.volume_name).filter(|_| *self.status.phase == *"Bound"),
            write_many: self.spec.access_modes.into_iter().flatten().any(|mode| *mode == *"ReadWriteMany"),
        })
    }
}

/// A volume as the API server writes it.
#[derive(Debug, Deserialize)]
pub struct WirePersistentVolume {
    metadata: Meta,
    #[serde(default)]
    spec: VolumeSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeSpec {
    claim_ref: Option<ClaimRef>,
    csi: Option<CsiVolume>,
    storage_class_name: Option<Box<str>>,
    volume_mode: Option<Box<str>>,
}

#[derive(Debug, Deserialize)]
struct ClaimRef {
    uid: Option<Box<str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CsiVolume {
    driver: Box<str>,
    volume_handle: Box<str>,
}

impl Wire for WirePersistentVolume {
    type Kept = Volume;

    fn keep(self) -> Option<Volume> {
        let (driver, handle) = self.spec.csi.map(|csi| (csi.driver, csi.volume_handle)).unzip();
        Some(Volume {
            name: self.metadata.name()?,
            claim_uid: self.spec.claim_ref.and_then(|claim| claim.uid),
            annotations: self.metadata.ours(),
            storage_class: self.spec.storage_class_name.and_then(|name| whole(&name)),
            driver: driver.map(|driver| short(&driver, NAME)),
            handle: handle.map(|handle| short(&handle, HANDLE)),
            block: self.spec.volume_mode.as_deref() == Some("Block"),
        })
    }
}

/// A class of either kind as the API server writes it.
#[derive(Debug, Deserialize)]
pub struct WireClass {
    metadata: Meta,
}

impl Wire for WireClass {
    type Kept = Class;

    fn keep(self) -> Option<Class> {
        Some(Class { name: self.metadata.name()?, annotations: self.metadata.ours() })
    }
}

#[cfg(test)]
mod tests;
