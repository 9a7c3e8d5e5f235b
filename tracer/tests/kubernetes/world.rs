//! What an API server has: objects by kind and name, each change with a version, and the changes of late. Shares nothing with the program.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

/// Kinds, as paths call them.
pub(crate) const PODS: &str = "pods";
pub(crate) const CLAIMS: &str = "persistentvolumeclaims";
pub(crate) const VOLUMES: &str = "persistentvolumes";
pub(crate) const STORAGE: &str = "storageclasses";
pub(crate) const ATTRIBUTES: &str = "volumeattributesclasses";

/// Changes that are remembered.
const REMEMBERED: usize = 100_000;

/// What is asked for: all of a namespace or of none, and of these one name or one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) node: Option<String>,
}

impl Selection {
    fn has(&self, kind: &str, object: &Value) -> bool {
        let is = |wanted: &Option<String>, at: &str| {
            wanted.as_ref().is_none_or(|wanted| object.pointer(at).and_then(Value::as_str) == Some(wanted))
        };
        kind == self.kind
            && is(&self.namespace, "/metadata/namespace")
            && is(&self.name, "/metadata/name")
            && is(&self.node, "/spec/nodeName")
    }
}

/// A change: its version, what it was, and the object behind it (or before it, if that is gone).
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) what: &'static str,
    kind: String,
    pub(crate) object: Value,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) version: u64,
    objects: BTreeMap<(String, String, String), Value>,
    changes: VecDeque<Change>,
    /// Changes up to here are forgotten.
    pub(crate) forgotten: u64,
}

fn key_of(kind: &str, object: &Value) -> (String, String, String) {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    (kind.to_owned(), text("/metadata/namespace"), text("/metadata/name"))
}

impl World {
    /// Makes or changes an object.
    pub(crate) fn put(&mut self, kind: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(key_of(kind, &object), object.clone());
        self.note(if before.is_some() { "MODIFIED" } else { "ADDED" }, kind, object);
    }

    pub(crate) fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(mut object) = self.objects.remove(&key) else { return };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.note("DELETED", kind, object);
    }

    fn note(&mut self, what: &'static str, kind: &str, object: Value) {
        self.changes.push_back(Change { version: self.version, what, kind: kind.to_owned(), object });
        if self.changes.len() > REMEMBERED {
            self.forgotten = self.changes.pop_front().map_or(0, |change| change.version);
        }
    }

    /// No watch can begin behind an older version than this one.
    pub(crate) fn forget(&mut self) {
        (self.forgotten, self.changes) = (self.version, VecDeque::new());
    }

    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    pub(crate) fn all(&self, selection: &Selection) -> Vec<Value> {
        let of = |namespace: &str, name: &str| (selection.kind.clone(), namespace.to_owned(), name.to_owned());
        let namespace = selection.namespace.as_deref().unwrap_or_default();
        let from = of(namespace, selection.name.as_deref().unwrap_or_default());
        let all = self.objects.range(from..).take_while(|((kind, ..), _)| *kind == selection.kind);
        // By its whole name there is one at most, and it is the first.
        let most = if selection.name.is_some() { 1 } else { usize::MAX };
        all.take(most).filter(|((kind, ..), object)| selection.has(kind, object)).map(|(_, one)| one.clone()).collect()
    }

    /// What changed behind a version.
    pub(crate) fn since(&self, selection: &Selection, version: u64) -> Vec<Change> {
        let newer = self.changes.iter().rev().take_while(|change| change.version > version);
        let mut changes: Vec<Change> =
            newer.filter(|change| selection.has(&change.kind, &change.object)).cloned().collect();
        changes.reverse();
        changes
    }
}

/// A pod of a node with claims, as its volumes `v0`, `v1`, …
pub(crate) fn pod(uid: &str, name: &str, node: &str, claims: &[String]) -> Value {
    let volume = |(at, claim): (usize, &String)| json!({"name": format!("v{at}"), "persistentVolumeClaim": {"claimName": claim}});
    let volumes: Vec<Value> = claims.iter().enumerate().map(volume).collect();
    let place = |(at, _): (usize, &String)| json!({"name": format!("v{at}"), "mountPath": format!("/data/{at}")});
    let places: Vec<Value> = claims.iter().enumerate().map(place).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"uid": uid, "name": name, "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": node, "volumes": volumes, "containers": [{"name": "app", "image": "web:1", "volumeMounts": places,
            "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": "1"}}}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    })
}

/// A claim that is bound.
pub(crate) fn claim(namespace: &str, name: &str, uid: &str, volume: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"uid": uid, "name": name, "namespace": namespace, "annotations": {"mount-tracer.io/read-bps": "1Mi"}},
        "spec": {"storageClassName": "fast", "volumeName": volume, "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Bound", "currentVolumeAttributesClassName": "gold"},
    })
}

/// The volume of a claim.
pub(crate) fn volume(name: &str, claim_uid: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "uid": format!("of-{name}")},
        "spec": {"claimRef": {"uid": claim_uid}, "storageClassName": "fast", "volumeMode": "Filesystem",
            "csi": {"driver": "csi.example.org", "volumeHandle": format!("handle-{name}")}},
    })
}

/// A class.
pub(crate) fn class(name: &str) -> Value {
    json!({"metadata": {"name": name, "annotations": {"mount-tracer.io/write-bps": "2Mi"}}, "parameters": {"a": "b"}})
}

/// A line of a watch.
pub(crate) fn event(what: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": what, "object": object}))
}
