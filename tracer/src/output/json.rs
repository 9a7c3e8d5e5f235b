//! An operation as one JSON object: the contract of `docs/events.md`. Unknown is null, 64-bit values are strings.

use serde_json::{Value, json};

use super::{
    escape::{escape, escape_source},
    flags::{attributes, errno_name, mount_flags, umount_flags},
};
use crate::{
    clock::Clock,
    operation::{Actor, CallEnd, Effect, EffectKind, Mount, Namespace, Operation, Syscall},
};

/// The version of the object.
const VERSION: u32 = 1;
/// Effects that one object lists at most; `effects_total` counts them all.
pub const MAX_EFFECTS: usize = 1000;

/// What is the same in every object of a run.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The node's name.
    pub node: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Option<String>,
    /// When this run began, RFC 3339.
    pub agent_start: String,
    /// From boot time to wall time.
    pub clock: Clock,
}

/// The object of an operation, the `seq`th of the run.
pub fn operation(origin: &Origin, seq: u64, operation: &Operation) -> Value {
    let call = operation.call.as_ref();
    json!({
        "version": VERSION,
        "node": origin.node,
        "boot_id": origin.boot_id,
        "agent_start": origin.agent_start,
        "seq": seq,
        "time": origin.clock.wall(operation.end_ns),
        "boot_ns": operation.end_ns.to_string(),
        "op": operation.op.name(),
        "syscall": call.map(|call| call.syscall.name()),
        "cause": call.map(|_| "syscall"),
        "result": {
            "errno": call.map(|call| call.errno),
            "name": call.map(|call| errno_name(call.errno)),
        },
        "duration_ns": call.map(|call| call.end_ns.saturating_sub(call.id.start_ns)),
        "actor": operation.actor.as_ref().map(actor),
        "claimed": call.map(claimed),
        "target": call.and_then(|call| call.target.as_ref()).map(mount),
        "complete": operation.complete,
        "effects": operation.effects.as_ref().map(|effects| {
            effects.iter().take(MAX_EFFECTS).map(effect).collect::<Vec<_>>()
        }),
        "effects_total": operation.effects.as_ref().map(Vec::len),
    })
}

fn actor(actor: &Actor) -> Value {
    json!({
        "pid": actor.pid,
        "tid": actor.tid,
        "comm": escape(&actor.comm),
        "uid": actor.uid,
        "cgroup_id": actor.cgroup_id.to_string(),
        "mntns": inum(actor.namespace),
        "mntns_id": id(actor.namespace),
        "pod": null,
        "container": null,
    })
}

fn claimed(call: &CallEnd) -> Value {
    let flags = match call.syscall {
        Syscall::Mount => mount_flags(call.flags),
        Syscall::Umount => umount_flags(call.flags),
    };
    json!({
        "source": call.claimed_source.as_deref().map(escape_source),
        "target": null,
        "fstype": call.claimed_fstype.as_deref().map(escape),
        "flags": flags,
    })
}

fn effect(effect: &Effect) -> Value {
    let mut value = mount(&effect.mount);
    let kind = match effect.kind {
        EffectKind::Attach => "attach",
        EffectKind::Detach => "detach",
    };
    value["kind"] = kind.into();
    value["propagated"] = effect.propagated.into();
    value["owner"] = Value::Null;
    value
}

fn mount(mount: &Mount) -> Value {
    json!({
        "mntns": inum(mount.namespace),
        "mntns_id": id(mount.namespace),
        "mount_id": mount.id,
        "mount_id_unique": mount.id_unique.map(|id| id.to_string()),
        "parent_id_unique": mount.parent_id_unique.map(|id| id.to_string()),
        "path": mount.path.as_deref().ok().map(escape),
        "path_reason": mount.path.as_ref().err().map(|gap| gap.name()),
        "root": mount.root.as_deref().ok().map(escape),
        "source": mount.source.as_deref().map(escape_source),
        "fstype": escape(&mount.fstype),
        "dev": mount.dev,
        "rdev": mount.rdev,
        "attributes": attributes(mount.flags),
        "propagation": {
            "shared": mount.shared,
            "master": mount.master,
            "unbindable": mount.unbindable,
            "kubernetes": kubernetes(mount),
        },
    })
}

/// Kubernetes' words for what reaches a container through this mount.
fn kubernetes(mount: &Mount) -> &'static str {
    match (mount.shared, mount.master) {
        (Some(_), _) => "Bidirectional",
        (None, Some(_)) => "HostToContainer",
        (None, None) => "None",
    }
}

fn inum(namespace: Option<Namespace>) -> Option<u32> {
    namespace.map(|namespace| namespace.inum)
}

fn id(namespace: Option<Namespace>) -> Option<String> {
    namespace.map(|namespace| namespace.id.to_string())
}
