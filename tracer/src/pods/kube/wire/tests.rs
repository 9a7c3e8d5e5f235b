//! What is kept of the API server's JSON.

use serde_json::{Value, json};

use super::*;

const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c50";
const HASH: &str = "0123456789abcdef0123456789abcdef";

fn kept<T: Wire>(value: Value) -> Option<T::Kept> {
    serde_json::from_value::<T>(value).unwrap().keep()
}

fn pod_with(annotations: &Value) -> Pod {
    let metadata = json!({"uid": UID, "name": "web-0", "namespace": "shop", "annotations": annotations});
    kept::<WirePod>(json!({"metadata": metadata, "spec": {}, "status": {"phase": "Running"}})).unwrap()
}

#[test]
fn a_pod_has_its_volumes_and_where_containers_want_them() {
    let pod = kept::<WirePod>(json!({
        "metadata": {"uid": UID, "name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0", "readOnly": true}},
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                {"name": "secrets", "csi": {"driver": "secrets.example.org", "volumeAttributes": {"a": "b"}}},
                {"name": "logs", "hostPath": {"path": "/var/log"}},
                {"name": "tmp", "emptyDir": {}},
            ],
            "initContainers": [{"name": "init", "volumeDevices": [{"name": "data", "devicePath": "/dev/x"}]}],
            "containers": [{"name": "app", "env": [{"name": "PASSWORD", "value": "hunter2"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "a"}]}],
        },
        "status": {"phase": "Running", "conditions": []},
    }));
    let pod = pod.unwrap();
    let sources: Vec<Source> = pod.volumes.iter().map(|volume| volume.source.clone()).collect();
    let expected = [
        Source::Claim { name: "data-web-0".into() },
        Source::Ephemeral,
        Source::Csi { driver: "secrets.example.org".into() },
        Source::HostPath { path: "/var/log".into() },
        Source::Other,
    ];
    assert_eq!(sources, expected);
    let place = |path: &str| vec![Place { volume: "data".into(), path: path.into() }];
    assert_eq!(pod.containers[0], Container { name: "init".into(), mounts: vec![], devices: place("/dev/x") });
    assert_eq!(pod.containers[1], Container { name: "app".into(), mounts: place("/data"), devices: vec![] });
    let claims: Vec<String> = pod.claims().map(|claim| claim.name.into()).collect();
    assert_eq!(claims, ["data-web-0", "web-0-scratch"]);
    assert!(!format!("{pod:?}").contains("hunter2"));
}

#[test]
fn only_a_mirror_pod_has_a_hash() {
    let hash = |annotations: Value| pod_with(&annotations).config_hash.map(|hash| hash.to_string());
    let mirror = json!({CONFIG_HASH: HASH, CONFIG_MIRROR: HASH, CONFIG_SOURCE: "file"});
    assert_eq!(hash(mirror.clone()), Some(HASH.to_owned()));
    for (key, value) in [(CONFIG_SOURCE, json!("api")), (CONFIG_HASH, json!(UID)), (CONFIG_HASH, json!("x"))] {
        let mut other = mirror.clone();
        other[key] = value;
        assert_eq!(hash(other), None, "{key}");
    }
    assert_eq!(hash(json!({CONFIG_HASH: HASH})), None);
    assert_eq!(hash(Value::Null), None);
}

#[test]
fn of_a_claim_its_status_counts() {
    let claim = kept::<WireClaim>(json!({
        "metadata": {"uid": "c1", "name": "data", "namespace": "shop",
            "ownerReferences": [{"uid": "x"}, {"uid": UID, "controller": true}],
            "annotations": {"mount-tracer.io/read-bps": "1Mi", "mount-tracer.io/other": "x", "else": "y",
                "mount-tracer.io/write-iops": "9".repeat(1000)}},
        "spec": {"storageClassName": "fast", "volumeName": "pvc-1", "volumeAttributesClassName": "wanted",
            "accessModes": ["ReadWriteMany"]},
        "status": {"currentVolumeAttributesClassName": "gold", "phase": "Bound"},
    }));
    let claim = claim.unwrap();
    assert_eq!((claim.attributes_class.as_deref(), claim.volume.as_deref()), (Some("gold"), Some("pvc-1")));
    assert_eq!((claim.owner_uid.as_deref(), claim.write_many), (Some(UID), true));
    assert_eq!(
        claim.annotations.keys().map(|key| &**key).collect::<Vec<_>>(),
        ["mount-tracer.io/read-bps", "mount-tracer.io/write-iops"]
    );
    assert!(claim.annotations.values().all(|value| value.len() <= LIMIT));
}

#[test]
fn of_a_class_no_parameter_is_kept() {
    let class = json!({"metadata": {"name": "fast"}, "parameters": {"mount-tracer.io/read-bps": "1"}});
    assert_eq!(kept::<WireClass>(class), Some(Class { name: "fast".into(), annotations: Words::new() }));
}

#[test]
fn a_volume_says_whose_it_is() {
    let volume = kept::<WirePersistentVolume>(json!({
        "metadata": {"name": "pvc-1"},
        "spec": {"claimRef": {"uid": "c1"}, "csi": {"driver": "d", "volumeHandle": "h"}, "volumeMode": "Block"},
    }));
    let volume = volume.unwrap();
    assert_eq!((volume.claim_uid.as_deref(), volume.handle.as_deref(), volume.block), (Some("c1"), Some("h"), true));
    let local = kept::<WirePersistentVolume>(json!({"metadata": {"name": "pv"}, "spec": {"local": {"path": "/x"}}}));
    assert_eq!(local.unwrap().driver, None);
}

#[test]
fn what_no_object_can_be_without_is_missed() {
    assert_eq!(kept::<WirePod>(json!({"metadata": {"uid": "x", "name": "n", "namespace": "s"}})), None);
    assert_eq!(kept::<WirePod>(json!({"metadata": {"uid": UID, "namespace": "s"}})), None);
    let long = "n".repeat(NAME + 1);
    assert_eq!(kept::<WirePod>(json!({"metadata": {"uid": UID, "name": long, "namespace": "s"}})), None);
    assert_eq!(kept::<WireClaim>(json!({"metadata": {"name": "n", "namespace": "s"}})), None);
    assert_eq!(kept::<WireClass>(json!({"metadata": {}})), None);
}
