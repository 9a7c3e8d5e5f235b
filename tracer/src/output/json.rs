//! An operation as one JSON object: the contract of `docs/events.md`. Unknown is null, 64-bit values are strings.

use serde_json::{Value, json};

use super::{
    escape::{escape, escape_source},
    flags::{attributes, call_flags, errno_name, mount_flags, public_attributes},
};
use crate::{
    clock::Clock,
    operation::{Actor, CallEnd, Dropped, Effect, Gap, Mount, Namespace, NamespaceChange, Operation},
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
        "duration_ns": call.and_then(CallEnd::duration_ns),
        "actor": operation.actor.as_ref().map(actor),
        "claimed": call.map(claimed),
        "target": call.and_then(|call| call.target.as_ref()).map(mount),
        "complete": operation.complete,
        "effects": operation.effects.as_ref().map(|effects| {
            effects.iter().take(MAX_EFFECTS).map(effect).collect::<Vec<_>>()
        }),
        "effects_total": operation.effects.as_ref().filter(|_| operation.complete).map(Vec::len),
        "namespace": operation.namespace.as_ref().map(namespace_change),
        "gap": operation.gap.as_ref().map(gap),
    })
}

fn namespace_change(change: &NamespaceChange) -> Value {
    json!({
        "mntns": change.namespace.inum,
        "mntns_id": id(Some(change.namespace)),
        "copied_from_mntns": inum(change.copied_from),
        "copied_from_mntns_id": id(change.copied_from),
        "mounts": change.mounts,
    })
}

fn gap(gap: &Gap) -> Value {
    let dropped =
        |Dropped { hook, reason, records }: &Dropped| json!({"hook": hook, "reason": reason, "records": records});
    let namespace = |namespace: &Namespace| json!({"mntns": namespace.inum, "mntns_id": namespace.id.to_string()});
    json!({
        "dropped": gap.dropped.iter().map(dropped).collect::<Vec<_>>(),
        "missed": gap.missed,
        "namespaces": gap.namespaces.as_ref().map(|all| all.iter().map(namespace).collect::<Vec<_>>()),
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
    let claimed = &call.claimed;
    json!({
        "source": claimed.source.as_deref().map(escape_source),
        "target": claimed.target.as_deref().map(escape),
        "fstype": claimed.fstype.as_deref().map(escape),
        "flags": call_flags(call.syscall, claimed.flags),
        "attributes": public_attributes(claimed.attributes),
        "cleared": public_attributes(claimed.cleared),
        "propagation": mount_flags(claimed.propagation).first(),
    })
}

fn effect(effect: &Effect) -> Value {
    let mut value = mount(&effect.mount);
    value["kind"] = effect.kind.name().into();
    value["propagated"] = effect.propagated.into();
    value["section"] = effect.section.map(|section| section.to_string()).into();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        device::Dev,
        operation::{CallId, Claimed, EffectKind, Op, PathGap, Syscall, tests},
    };

    fn example() -> Operation {
        let namespace = Some(Namespace { inum: 4_026_532_444, id: 7 });
        let actor = Actor {
            pid: 4242,
            tid: 4243,
            comm: b"kube\x1b".to_vec(),
            uid: 0,
            cgroup_id: 123,
            namespace: Some(Namespace { inum: 4_026_531_841, id: 1 }),
        };
        let mount = Mount {
            namespace,
            path: Ok(b"/data".to_vec()),
            master: Some(12),
            rdev: Some(Dev { major: 8, minor: 32 }),
            ..tests::mount(812)
        };
        let call = CallEnd {
            id: CallId { thread: 1, start_ns: 100 },
            syscall: Syscall::Mount,
            errno: 0,
            end_ns: 9100,
            actor: actor.clone(),
            claimed: Claimed {
                source: Some(b"//u:secret@host/x".to_vec()),
                target: Some(b"data".to_vec()),
                flags: 4096,
                ..Claimed::default()
            },
            target_id: 1,
            has_target: false,
            sections: 0,
            target: None,
        };
        Operation {
            call: Some(call),
            actor: Some(actor),
            effects: Some(vec![Effect { kind: EffectKind::Attach, propagated: Some(true), section: Some(7), mount }]),
            ..Operation::bare(Op::Bind, 9100)
        }
    }

    fn origin() -> Origin {
        Origin {
            node: "worker-7".to_owned(),
            boot_id: None,
            agent_start: "2026-11-21T22:00:00Z".to_owned(),
            clock: Clock::new(0, 0),
        }
    }

    #[test]
    fn an_operation_is_the_contract_to_the_letter() {
        let expected = json!({
            "version": 1, "node": "worker-7", "boot_id": null, "agent_start": "2026-11-21T22:00:00Z", "seq": 42,
            "time": "1970-01-01T00:00:00.000009100Z", "boot_ns": "9100",
            "op": "bind", "syscall": "mount", "cause": "syscall", "result": {"errno": 0, "name": "OK"},
            "duration_ns": 9000,
            "actor": {"pid": 4242, "tid": 4243, "comm": "kube\\x1b", "uid": 0, "cgroup_id": "123",
                      "mntns": 4_026_531_841_u32, "mntns_id": "1", "pod": null, "container": null},
            "claimed": {"source": "//***@host/x", "target": "data", "fstype": null, "flags": ["MS_BIND"],
                        "attributes": [], "cleared": [], "propagation": null},
            "target": null, "complete": true,
            "effects": [{"mntns": 4_026_532_444_u32, "mntns_id": "7", "mount_id": 812, "mount_id_unique": "1812",
                "parent_id_unique": "1001", "path": "/data", "path_reason": null, "root": "/",
                "source": "/dev/nvme0n1", "fstype": "ext4", "dev": "259:0", "rdev": "8:32",
                "attributes": ["MOUNT_ATTR_RELATIME"],
                "propagation": {"shared": null, "master": 12, "unbindable": false, "kubernetes": "HostToContainer"},
                "kind": "attach", "propagated": true, "section": "7", "owner": null}],
            "effects_total": 1, "namespace": null, "gap": null,
        });
        assert_eq!(operation(&origin(), 42, &example()), expected);
    }

    #[test]
    fn what_is_not_known_is_null_and_says_why() {
        let mut unknown = example();
        (unknown.call, unknown.actor) = (None, None);
        for effect in unknown.effects.iter_mut().flatten() {
            (effect.mount.path, effect.mount.namespace, effect.propagated) = (Err(PathGap::TooDeep), None, None);
        }
        let value = operation(&origin(), 1, &unknown);
        for pointer in ["/syscall", "/result/errno", "/duration_ns", "/actor", "/claimed", "/effects/0/path"] {
            assert_eq!(value.pointer(pointer), Some(&Value::Null), "{pointer}");
        }
        assert_eq!(value["effects"][0]["path_reason"], "too_deep");
        assert_eq!((&value["effects"][0]["mntns"], &value["effects"][0]["propagated"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let mut many = example();
        let effect = many.effects.as_ref().unwrap()[0].clone();
        many.effects = Some(vec![effect; MAX_EFFECTS + 5]);
        let value = operation(&origin(), 1, &many);
        assert_eq!(value["effects"].as_array().map(Vec::len), Some(MAX_EFFECTS));
        assert_eq!(value["effects_total"], MAX_EFFECTS + 5);
        many.complete = false;
        assert_eq!(operation(&origin(), 1, &many)["effects_total"], Value::Null, "nobody counted them all");
    }
}
