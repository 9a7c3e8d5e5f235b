//! A mount, and what became of it, as parts of an operation's object.

use serde::Serialize;

use super::{MAX_EFFECTS, Text, id, inum, owner::OwnerObject};
use crate::{
    device::Dev,
    operation::{Effect, Mount, Operation, Volume},
    output::{
        escape::{escape, escape_source},
        flags::attributes,
    },
};

#[derive(Serialize)]
pub(super) struct EffectObject<'a> {
    #[serde(flatten)]
    mount: MountObject,
    path_later: Option<String>,
    kind: &'static str,
    propagated: Option<bool>,
    section: Option<Text<u64>>,
    owner: Option<OwnerObject<'a>>,
    volume: Option<VolumeObject<'a>>,
}

/// A volume as the kubelet's directory names it.
#[derive(Serialize)]
struct VolumeObject<'a> {
    name: String,
    plugin: Option<&'a str>,
}

impl<'a> VolumeObject<'a> {
    fn of(volume: &'a Volume) -> Self {
        Self { name: escape(volume.path.volume.as_bytes()), plugin: volume.path.plugin.as_deref() }
    }
}

impl<'a> EffectObject<'a> {
    /// Those of an operation, the first of many.
    pub(super) fn some(effects: &[Effect], operation: &'a Operation) -> Vec<Self> {
        effects.iter().take(MAX_EFFECTS).map(|effect| Self::of(effect, operation)).collect()
    }

    fn of(effect: &Effect, operation: &'a Operation) -> Self {
        let later = effect.mount.id_unique.and_then(|id| operation.later.get(&id));
        Self {
            mount: MountObject::of(&effect.mount),
            path_later: later.map(|path| escape(path)),
            kind: effect.kind.name(),
            propagated: effect.propagated,
            section: effect.section.map(Text),
            volume: operation.volume_of(&effect.mount).map(VolumeObject::of),
            owner: operation.home_of(&effect.mount).map(|home| OwnerObject::of_namespace(home, &operation.whose)),
        }
    }
}

#[derive(Serialize)]
pub(super) struct MountObject {
    mntns: Option<u32>,
    mntns_id: Option<Text<u64>>,
    mount_id: u32,
    mount_id_unique: Option<Text<u64>>,
    parent_id_unique: Option<Text<u64>>,
    path: Option<String>,
    path_reason: Option<&'static str>,
    root: Option<String>,
    source: Option<String>,
    fstype: String,
    dev: Dev,
    rdev: Option<Dev>,
    attributes: Vec<&'static str>,
    propagation: PropagationObject,
}

#[derive(Serialize)]
struct PropagationObject {
    shared: Option<u32>,
    master: Option<u32>,
    unbindable: bool,
    kubernetes: &'static str,
}

impl MountObject {
    pub(super) fn of(mount: &Mount) -> Self {
        Self {
            mntns: inum(mount.namespace),
            mntns_id: id(mount.namespace),
            mount_id: mount.id,
            mount_id_unique: mount.id_unique.map(Text),
            parent_id_unique: mount.parent_id_unique.map(Text),
            path: mount.path.as_deref().ok().map(escape),
            path_reason: mount.path.as_ref().err().map(|gap| gap.name()),
            root: mount.root.as_deref().ok().map(escape),
            source: mount.source.as_deref().map(escape_source),
            fstype: escape(&mount.fstype),
            dev: mount.dev,
            rdev: mount.rdev,
            attributes: attributes(mount.flags),
            propagation: PropagationObject {
                shared: mount.shared,
                master: mount.master,
                unbindable: mount.unbindable,
                kubernetes: kubernetes(mount),
            },
        }
    }
}

impl MountObject {
    /// The id of a namespace is 0 where the kernel does not tell it.
    pub(super) fn without_unknown_namespace(mut self) -> Self {
        self.mntns_id = self.mntns_id.filter(|Text(id)| *id != 0);
        self
    }

    /// The internal flags do not have this one.
    pub(super) fn idmapped(mut self) -> Self {
        self.attributes.push("MOUNT_ATTR_IDMAP");
        self
    }
}

/// Kubernetes' words for what reaches a container through this mount.
fn kubernetes(mount: &Mount) -> &'static str {
    match (mount.shared, mount.master) {
        (Some(_), _) => "Bidirectional",
        (None, Some(_)) => "HostToContainer",
        (None, None) => "None",
    }
}
