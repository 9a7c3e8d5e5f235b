//! A holder as one JSON object: the contract of `docs/who.md`.

use serde::Serialize;

use super::{VERSION, listed::ProcessObject, mount::MountObject, owner::OwnerObject};
use crate::{
    device::Dev,
    holders::{Blocks, Holder, Target, User, Who, remedy},
    output::{escape::escape, holding},
};

#[derive(Serialize)]
pub(super) struct HolderObject<'a> {
    version: u32,
    target: TargetObject<'a>,
    blocks: &'static str,
    what: &'static str,
    why: &'static str,
    mntns: Option<u32>,
    process: Option<ProcessObject>,
    owner: Option<OwnerObject<'a>>,
    does: Vec<DoesObject>,
    kernel: Option<KernelObject>,
    mount: Option<MountObject>,
    #[serde(rename = "do")]
    remedy: Option<String>,
}

#[derive(Serialize)]
struct TargetObject<'a> {
    asked: &'a str,
    mount_id: Option<u32>,
    devices: Vec<Dev>,
}

#[derive(Serialize)]
struct DoesObject {
    how: &'static str,
    count: usize,
    path: String,
}

#[derive(Serialize)]
struct KernelObject {
    device: Option<String>,
    path: Option<String>,
}

impl<'a> HolderObject<'a> {
    pub(super) fn of(asked: &'a str, target: &Target, holder: &Holder<'a>) -> Self {
        let task = holding::task(holder);
        let does = holder.does.iter();
        Self {
            version: VERSION,
            target: TargetObject::of(asked, target),
            blocks: holder.blocks.name(),
            what: holding::kind(holder),
            why: holder.why.name(),
            mntns: holding::namespace(holder),
            process: task.map(ProcessObject::of),
            owner: task.and_then(|task| OwnerObject::of_process(&task.owner, task.named.as_ref())),
            does: does
                .map(|(how, (count, path))| DoesObject { how: how.name(), count: *count, path: escape(path) })
                .collect(),
            kernel: KernelObject::of(holder),
            mount: holder.mount.map(|(_, listed)| MountObject::of(&listed.mount).without_unknown_namespace()),
            remedy: Some(holder).filter(|holder| holder.blocks != Blocks::Nothing).and_then(remedy),
        }
    }
}

impl<'a> TargetObject<'a> {
    fn of(asked: &'a str, target: &Target) -> Self {
        match target {
            Target::Mount(id) => Self { asked, mount_id: Some(*id), devices: Vec::new() },
            Target::Devices { nodes, .. } => Self { asked, mount_id: None, devices: nodes.iter().copied().collect() },
        }
    }
}

impl KernelObject {
    fn of(holder: &Holder<'_>) -> Option<Self> {
        let Who::Kernel(user) = holder.who else { return None };
        Some(match user {
            User::Loop { name, file: (path, _) } => Self { device: Some(name.clone()), path: Some(escape(path)) },
            User::Swap { path, .. } => Self { device: None, path: Some(escape(path)) },
            User::Stacked { name, .. } => Self { device: Some(name.clone()), path: None },
        })
    }
}
