//! An operation as one JSON object: the contract of `docs/events.md`; a mount of a table likewise. Unknown is null, 64-bit values are strings.

mod gap;
mod holder;
mod listed;
mod mount;
pub(crate) mod owner;

use std::fmt::Display;

use serde::{Serialize, Serializer};

use self::{
    gap::GapObject,
    holder::HolderObject,
    listed::ListedObject,
    mount::{EffectObject, MountObject},
    owner::OwnerObject,
};
use super::{
    escape::{escape, escape_source},
    flags::{call_flags, errno_name, mount_flags, public_attributes},
};
use crate::{
    clock::Clock,
    device::Dev,
    holders::{Holder, Target},
    listed::{Listed, Task},
    operation::{Actor, CallEnd, Cause, Namespace, NamespaceChange, Operation, Superblock, Syscall, Throttled},
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

/// The line of an operation, the `seq`th of the run, without its end.
pub fn line(origin: &Origin, seq: u64, operation: &Operation) -> serde_json::Result<String> {
    serde_json::to_string(&Object::of(origin, seq, operation))
}

/// The line of a mount in a table that was read through this thread, without its end.
pub fn listed_line(listed: &Listed, task: Option<&Task>) -> serde_json::Result<String> {
    serde_json::to_string(&ListedObject::of(listed, task))
}

/// The line of a holder of what was asked about, without its end.
pub fn holder_line(asked: &str, target: &Target, holder: &Holder<'_>) -> serde_json::Result<String> {
    serde_json::to_string(&HolderObject::of(asked, target, holder))
}

/// A number or a time as text, because a JavaScript reader would round it.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct Object<'a> {
    version: u32,
    node: &'a str,
    boot_id: Option<&'a str>,
    agent_start: &'a str,
    seq: u64,
    time: String,
    boot_ns: Text<u64>,
    op: &'static str,
    syscall: Option<&'static str>,
    cause: Option<&'static str>,
    result: ResultObject,
    duration_ns: Option<u64>,
    actor: Option<ActorObject<'a>>,
    claimed: Option<ClaimedObject>,
    target: Option<MountObject>,
    superblock: Option<SuperblockObject>,
    complete: bool,
    effects: Option<Vec<EffectObject<'a>>>,
    effects_total: Option<u64>,
    namespace: Option<NamespaceObject<'a>>,
    gap: Option<GapObject>,
    throttled: Option<ThrottledObject<'a>>,
}

impl<'a> Object<'a> {
    fn of(origin: &'a Origin, seq: u64, operation: &'a Operation) -> Self {
        let call = operation.call.as_ref();
        let effects = operation.effects.as_ref();
        Self {
            version: VERSION,
            node: &origin.node,
            boot_id: origin.boot_id.as_deref(),
            agent_start: &origin.agent_start,
            seq,
            time: origin.clock.wall(operation.end_ns),
            boot_ns: Text(operation.end_ns),
            op: operation.op.name(),
            syscall: operation.syscall().map(Syscall::name),
            cause: operation.cause.map(Cause::name),
            result: ResultObject { errno: operation.errno(), name: operation.errno().map(errno_name) },
            duration_ns: call.and_then(CallEnd::duration_ns),
            actor: operation.actor.as_ref().map(|actor| ActorObject::of(actor, operation)),
            claimed: call.map(ClaimedObject::of),
            target: call.and_then(|call| call.target.as_ref()).map(MountObject::of),
            superblock: operation.superblock().map(SuperblockObject::of),
            complete: operation.complete,
            effects: effects.map(|effects| EffectObject::some(effects, operation)),
            effects_total: effects
                .filter(|_| operation.complete)
                .map(|listed| listed.len() as u64 + operation.unlisted),
            namespace: operation.namespace.as_ref().map(|change| NamespaceObject::of(change, operation)),
            gap: operation.gap.as_ref().map(GapObject::of),
            throttled: operation.throttled.as_ref().map(|throttled| ThrottledObject::of(throttled, operation)),
        }
    }
}

#[derive(Serialize)]
struct ResultObject {
    errno: Option<u32>,
    name: Option<String>,
}

#[derive(Serialize)]
struct SuperblockObject {
    dev: Dev,
    fstype: String,
}

impl SuperblockObject {
    fn of(superblock: &Superblock) -> Self {
        Self { dev: superblock.dev, fstype: escape(&superblock.fstype) }
    }
}

#[derive(Serialize)]
struct NamespaceObject<'a> {
    mntns: u32,
    mntns_id: Text<u64>,
    copied_from_mntns: Option<u32>,
    copied_from_mntns_id: Option<Text<u64>>,
    mounts: u32,
    owner: Option<OwnerObject<'a>>,
}

impl<'a> NamespaceObject<'a> {
    fn of(change: &NamespaceChange, operation: &'a Operation) -> Self {
        Self {
            mntns: change.namespace.inum,
            mntns_id: Text(change.namespace.id),
            copied_from_mntns: inum(change.copied_from),
            copied_from_mntns_id: id(change.copied_from),
            mounts: change.mounts,
            owner: operation
                .whose
                .namespaces
                .get(&change.namespace.inum)
                .map(|home| OwnerObject::of_namespace(home, &operation.whose)),
        }
    }
}

#[derive(Serialize)]
struct ThrottledObject<'a> {
    cgroup_id: Text<u64>,
    calls: u64,
    owner: Option<OwnerObject<'a>>,
}

impl<'a> ThrottledObject<'a> {
    fn of(throttled: &Throttled, operation: &'a Operation) -> Self {
        let owner = OwnerObject::of_actor(operation);
        Self { cgroup_id: Text(throttled.cgroup_id), calls: throttled.calls, owner }
    }
}

#[derive(Serialize)]
struct ActorObject<'a> {
    pid: u32,
    tid: u32,
    comm: String,
    uid: u32,
    cgroup_id: Text<u64>,
    mntns: Option<u32>,
    mntns_id: Option<Text<u64>>,
    pod: Option<String>,
    container: Option<String>,
    owner: Option<OwnerObject<'a>>,
}

impl<'a> ActorObject<'a> {
    fn of(actor: &Actor, operation: &'a Operation) -> Self {
        let owner = OwnerObject::of_actor(operation);
        Self {
            pid: actor.pid,
            tid: actor.tid,
            comm: escape(&actor.comm),
            uid: actor.uid,
            cgroup_id: Text(actor.cgroup_id),
            mntns: inum(actor.namespace),
            mntns_id: id(actor.namespace),
            pod: owner.as_ref().and_then(|owner| owner.pod.clone()),
            container: owner.as_ref().and_then(|owner| owner.container.clone()),
            owner,
        }
    }
}

#[derive(Serialize)]
struct ClaimedObject {
    source: Option<String>,
    target: Option<String>,
    fstype: Option<String>,
    flags: Vec<String>,
    attributes: Vec<String>,
    cleared: Vec<String>,
    propagation: Option<String>,
}

impl ClaimedObject {
    fn of(call: &CallEnd) -> Self {
        let claimed = &call.claimed;
        Self {
            source: claimed.source.as_deref().map(escape_source),
            target: claimed.target.as_deref().map(escape),
            fstype: claimed.fstype.as_deref().map(escape),
            flags: call_flags(call.syscall, claimed.flags),
            attributes: public_attributes(claimed.attributes),
            cleared: public_attributes(claimed.cleared),
            propagation: mount_flags(claimed.propagation).into_iter().next(),
        }
    }
}

fn inum(namespace: Option<Namespace>) -> Option<u32> {
    namespace.map(|namespace| namespace.inum)
}

fn id(namespace: Option<Namespace>) -> Option<Text<u64>> {
    namespace.map(|namespace| Text(namespace.id))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operation::{CallId, Claimed, Effect, EffectKind, Found, Mount, Op, PathGap, tests};

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
            found: Found::None,
            sections: 0,
            target: None,
            superblock: None,
        };
        Operation {
            call: Some(call),
            cause: Some(Cause::Syscall),
            actor: Some(actor),
            effects: Some(vec![Effect { kind: EffectKind::Attach, propagated: Some(true), section: Some(7), mount }]),
            ..Operation::bare(Op::Bind, 9100)
        }
    }

    fn operation(origin: &Origin, seq: u64, operation: &Operation) -> Value {
        serde_json::from_str(&line(origin, seq, operation).unwrap()).unwrap()
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
                      "mntns": 4_026_531_841_u32, "mntns_id": "1", "pod": null, "container": null, "owner": null},
            "claimed": {"source": "//***@host/x", "target": "data", "fstype": null, "flags": ["MS_BIND"],
                        "attributes": [], "cleared": [], "propagation": null},
            "target": null, "superblock": null, "complete": true,
            "effects": [{"mntns": 4_026_532_444_u32, "mntns_id": "7", "mount_id": 812, "mount_id_unique": "1812",
                "parent_id_unique": "1001", "path": "/data", "path_reason": null, "root": "/",
                "source": "/dev/nvme0n1", "fstype": "ext4", "dev": "259:0", "rdev": "8:32",
                "attributes": ["MOUNT_ATTR_RELATIME"], "path_later": null,
                "propagation": {"shared": null, "master": 12, "unbindable": false, "kubernetes": "HostToContainer"},
                "kind": "attach", "propagated": true, "section": "7", "owner": null, "volume": null}],
            "effects_total": 1, "namespace": null, "gap": null, "throttled": null,
        });
        assert_eq!(operation(&origin(), 42, &example()), expected);
    }

    #[test]
    fn what_was_only_counted_says_what_it_was() {
        let throttled = Throttled { cgroup_id: 1 << 60, end_ns: 7, syscall: Syscall::Mount, errno: 1, calls: 9 };
        let operation_of = Operation { throttled: Some(throttled), ..Operation::bare(Op::Throttled, 7) };
        let value = operation(&origin(), 1, &operation_of);
        assert_eq!(value["throttled"], json!({ "cgroup_id": "1152921504606846976", "calls": 9, "owner": null }));
        assert_eq!(
            (&value["op"], &value["syscall"], &value["actor"]),
            (&json!("throttled"), &json!("mount"), &Value::Null)
        );
        assert_eq!(value["result"], json!({ "errno": 1, "name": "EPERM" }));
    }

    #[test]
    fn what_is_not_known_is_null_and_says_why() {
        let mut unknown = example();
        (unknown.call, unknown.actor, unknown.cause) = (None, None, None);
        for effect in unknown.effects.iter_mut().flatten() {
            (effect.mount.path, effect.mount.namespace, effect.propagated) = (Err(PathGap::TooDeep), None, None);
        }
        let value = operation(&origin(), 1, &unknown);
        for pointer in ["/syscall", "/cause", "/result/errno", "/duration_ns", "/actor", "/claimed", "/effects/0/path"]
        {
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
        many.unlisted = 7;
        assert_eq!(operation(&origin(), 1, &many)["effects_total"], MAX_EFFECTS + 12);
        many.complete = false;
        assert_eq!(operation(&origin(), 1, &many)["effects_total"], Value::Null, "nobody counted them all");
    }
}
