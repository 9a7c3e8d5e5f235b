//! What 500 pods with two claims each take in memory. In a process of its own, so that nothing else is counted.

use std::fs;

use serde_json::{Value, json};
use tracer::pods::{
    kube::{
        ask::What,
        tell::{self, Line},
    },
    objects::ClaimKey,
    view::{PodView, Update, Whose},
};

const PODS: usize = 500;
const CLAIMS: usize = 2;
/// Views that are made, so that the memory of one is known.
const COPIES: usize = 32;

/// Memory of this process that is its own, in KiB.
fn anonymous_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("it says its memory");
    line.trim().trim_end_matches(" kB").parse().expect("in KiB")
}

fn uid(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn claim_name(pod: usize, claim: usize) -> String {
    format!("data-{pod}-{claim}")
}

/// As a deployment makes them: labels, two containers with environments, and much that is not read.
fn pod(number: usize) -> Value {
    let labels = json!({"app": "web", "pod-template-hash": "5d4f8c7b9", "app.kubernetes.io/part-of": "shop"});
    let volumes: Vec<Value> = (0..CLAIMS)
        .map(|claim| json!({"name": format!("v{claim}"), "persistentVolumeClaim": {"claimName": claim_name(number, claim)}}))
        .chain([json!({"name": "tmp", "emptyDir": {}}), json!({"name": "kube-api-access-x", "projected": {"sources": []}})])
        .collect();
    let environment: Vec<Value> =
        (0..30).map(|at| json!({"name": format!("A{at}"), "value": "x".repeat(60)})).collect();
    let mounts = json!([{"name": "v0", "mountPath": "/data/0"}, {"name": "v1", "mountPath": "/data/1"}, {"name": "tmp", "mountPath": "/tmp"}]);
    let container = |name: &str| json!({"name": name, "image": "web:1", "env": environment, "volumeMounts": mounts});
    json!({
        "metadata": {"uid": uid(number), "name": format!("web-5d4f8c7b9-{number}"), "namespace": "shop", "labels": labels,
            "managedFields": [{"fieldsV1": {"f:metadata": "y".repeat(2000)}}]},
        "spec": {"nodeName": "worker-7", "volumes": volumes, "containers": [container("app"), container("sidecar")]},
        "status": {"phase": "Running"},
    })
}

fn told(what: &What, object: &Value) -> Update {
    let line = json!({"type": "ADDED", "object": object}).to_string();
    match tell::line(what, line.as_bytes()).expect("a line") {
        Line::Update(update, _) => update,
        other => panic!("{other:?}"),
    }
}

#[test]
fn five_hundred_pods_are_small() {
    let pods: Vec<Value> = (0..PODS).map(pod).collect();
    let list = json!({"metadata": {"resourceVersion": "1"}, "items": pods}).to_string();
    let mut view = PodView::default();
    view.apply(tell::list(&What::Pods { node: "worker-7".into() }, list.as_bytes()).expect("a list").update);
    for (number, at) in (0..PODS).flat_map(|number| (0..CLAIMS).map(move |at| (number, at))) {
        let (name, bound) = (claim_name(number, at), format!("pvc-{}", uid(number * CLAIMS + at)));
        let claim = json!({"metadata": {"uid": format!("uid-{name}"), "name": name, "namespace": "shop", "resourceVersion": "2",
            "annotations": {"mount-tracer.io/read-bps": "50Mi"}},
            "spec": {"storageClassName": "fast", "volumeName": bound}, "status": {"phase": "Bound"}});
        view.apply(told(&What::Claim(ClaimKey { namespace: "shop".into(), name: name.clone().into() }), &claim));
        let volume = json!({"metadata": {"name": bound, "resourceVersion": "3"}, "spec": {"claimRef": {"uid": format!("uid-{name}")},
            "csi": {"driver": "csi.example.org", "volumeHandle": format!("vol-{bound}")}}});
        view.apply(told(
            &What::Volume { name: bound.clone().into(), claim_uid: format!("uid-{name}").into() },
            &volume,
        ));
    }
    let known = view.known();
    assert_eq!((known.pods, known.claims, known.volumes), (PODS, PODS * CLAIMS, PODS * CLAIMS));
    assert!(view.pods().all(|pod| matches!(view.claim_of(&pod.uid, &format!("pvc-{}", uid(0))), Ok(Whose::Claim(_)))
        == (*pod.name == *"web-5d4f8c7b9-0")));
    // The first ones take what others gave back.
    let mut copies: Vec<PodView> = (0..COPIES).map(|_| view.clone()).collect();
    let before = anonymous_kib();
    copies.extend((0..COPIES).map(|_| view.clone()));
    let each = anonymous_kib().saturating_sub(before) / COPIES as u64;
    let (claims, list_kib) = (known.claims, list.len() >> 10);
    println!("pods-memory: pods={PODS} claims={claims} list_kib={list_kib} view_kib={each}");
    assert!((100..4 << 10).contains(&each), "{each} KiB of {} copies", copies.len());
}
