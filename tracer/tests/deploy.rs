//! The manifests below `deploy`, as text: each is what Kubernetes would take, they fit together, and they fit the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use serde_json::{Value, json};
use tracer::cli::{Cli, Command};
use tracer::limit::policy::{Mode, Policy};

mod deploy {
    //! What the manifests are judged by.

    pub(crate) mod schema;
}

use deploy::schema;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// Every manifest, by its kind and name; each file by its documents.
fn manifests() -> BTreeMap<String, Value> {
    let (mut waiting, mut found) = (vec![deploy()], BTreeMap::new());
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        assert_eq!(path.extension().and_then(|extension| extension.to_str()), Some("yaml"), "{}", path.display());
        let text = fs::read_to_string(&path).expect("a text");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        assert!(!documents.is_empty(), "{} is empty", path.display());
        for document in documents {
            let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let known = format!("{} {name}", document["kind"].as_str().expect("a kind"));
            assert!(found.insert(known.clone(), document).is_none(), "{known} is there twice");
        }
    }
    found
}

fn daemon_set() -> Value {
    manifests().remove("DaemonSet mount-tracer").expect("a DaemonSet")
}

fn pod() -> Value {
    daemon_set()["spec"]["template"]["spec"].take()
}

fn container() -> Value {
    let mut pod = pod();
    let containers = pod["containers"].as_array_mut().expect("containers");
    assert_eq!(containers.len(), 1);
    containers.remove(0)
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn names(value: &Value) -> Vec<String> {
    list(value).iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn every_manifest_has_known_fields_of_the_right_type() {
    let manifests = manifests();
    assert!(manifests.len() >= 7, "{:?}", manifests.keys());
    for (name, manifest) in &manifests {
        let faults = schema::faults(manifest);
        assert!(faults.is_empty(), "{name}: {faults:#?}");
    }
}

/// The twin: what is misspelt, of another type, or left out is found.
#[test]
fn a_wrong_manifest_is_found() {
    let change = |pointer: &str, value: Value| {
        let mut changed = daemon_set();
        *changed.pointer_mut(pointer).unwrap() = value;
        schema::faults(&changed)
    };
    let template = "/spec/template/spec";
    assert_eq!(change(&format!("{template}/hostPID"), json!("true")), [format!("{template}/hostPID is no bool")]);
    let volumes = json!([{"name": "x", "hostpath": {"path": "/x"}}]);
    assert_eq!(
        change(&format!("{template}/volumes"), volumes),
        [format!("{template}/volumes/0/hostpath is not known")]
    );
    assert_eq!(
        change(&format!("{template}/containers"), json!([{"image": "x"}])).len(),
        1,
        "a container without a name"
    );
    assert_eq!(change("/kind", json!("Daemonset")), ["Daemonset is no kind that is known"]);
}

#[test]
fn kustomize_is_told_of_every_file() {
    let base = deploy().join("kustomize/base");
    let mut files: Vec<Value> =
        fs::read_dir(&base).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap().into()).collect();
    files.retain(|file| file != "kustomization.yaml");
    let mut named = list(&manifests()["Kustomization "]["resources"]);
    files.sort_by_key(Value::to_string);
    named.sort_by_key(Value::to_string);
    assert_eq!(named, files);
}

#[test]
fn everything_is_in_the_one_namespace_that_lets_it_in() {
    let manifests = manifests();
    let labels = &manifests["Namespace mount-tracer"]["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "privileged");
    let of_the_cluster = ["Namespace", "ClusterRole", "ClusterRoleBinding", "Kustomization"];
    for (name, manifest) in &manifests {
        if !of_the_cluster.contains(&manifest["kind"].as_str().unwrap()) {
            assert_eq!(manifest["metadata"]["namespace"], "mount-tracer", "{name}");
        }
    }
}

#[test]
fn selectors_match() {
    let set = daemon_set();
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    let selected = set["spec"]["selector"]["matchLabels"].as_object().unwrap();
    assert!(!selected.is_empty());
    for (key, value) in selected {
        assert_eq!(&labels[key], value);
    }
}

#[test]
fn each_mount_has_its_volume_and_each_volume_its_mount() {
    let (pod, container) = (pod(), container());
    let (mut volumes, mut mounts) = (names(&pod["volumes"]), names(&container["volumeMounts"]));
    volumes.sort();
    mounts.sort();
    assert_eq!(volumes, mounts);
    for volume in list(&pod["volumes"]) {
        if let Some(map) = volume.pointer("/configMap/name").and_then(Value::as_str) {
            assert!(manifests().contains_key(&format!("ConfigMap {map}")), "there is no ConfigMap {map}");
        }
    }
    assert!(
        list(&container["volumeMounts"]).iter().all(|mount| mount.get("subPath").is_none()),
        "nothing is updated there"
    );
}

#[test]
fn probes_and_ports_are_the_agents() {
    let container = container();
    let port = &list(&container["ports"])[0];
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let asked = &container[probe]["httpGet"];
        assert_eq!((&asked["path"], &asked["port"]), (&json!(path), &port["name"]), "{probe}");
    }
    let listens = format!("--metrics-address=$(NODE_IP):{}", port["containerPort"]);
    assert!(list(&container["args"]).contains(&json!(listens)), "no {listens}");
    assert!(names(&container["env"]).contains(&"NODE_IP".to_owned()));
}

/// The arguments are what the program's own parser takes, with what the kubelet puts in.
#[test]
fn arguments_are_the_programs() {
    let filled = |argument: &Value| argument.as_str().unwrap().replace("$(NODE_IP)", "192.0.2.1");
    let arguments: Vec<String> = list(&container()["args"]).iter().map(filled).collect();
    assert!(!arguments.iter().any(|one| one.contains("$(")), "{arguments:?}");
    let cli = Cli::try_parse_from([vec!["mount-tracer".to_owned()], arguments.clone()].concat()).unwrap();
    assert!(matches!(cli.command, Command::Agent(_)));
    let wrong = [vec!["mount-tracer".to_owned()], arguments, vec!["--nothing".to_owned()]].concat();
    assert!(Cli::try_parse_from(wrong).is_err());
}

#[test]
fn the_policy_is_one_that_limits_nothing() {
    let manifests = manifests();
    let data = manifests["ConfigMap mount-tracer-policy"]["data"].as_object().unwrap();
    let text = data["policy.yaml"].as_str().unwrap();
    let policy = Policy::parse(text.as_bytes(), "policy.yaml").unwrap();
    assert_eq!((policy.mode, policy.rules.len(), data.len()), (Mode::Observe, 0, 1));
    let mounted = list(&container()["volumeMounts"]);
    let at = mounted.iter().find(|mount| mount["name"] == "policy").unwrap()["mountPath"].as_str().unwrap().to_owned();
    assert!(list(&container()["args"]).contains(&json!(format!("--policy={at}/policy.yaml"))));
}

/// Word for word what the documentation says, and nothing else.
#[test]
fn the_rights_are_those_that_are_written_down() {
    let manifests = manifests();
    let mut rights = Vec::new();
    for rule in list(&manifests["ClusterRole mount-tracer"]["rules"]) {
        for (group, resource) in list(&rule["apiGroups"])
            .iter()
            .flat_map(|group| list(&rule["resources"]).into_iter().map(move |one| (group.clone(), one)))
        {
            let verbs = list(&rule["verbs"]);
            let verbs: Vec<&str> = verbs.iter().map(|verb| verb.as_str().unwrap()).collect();
            let group = group.as_str().unwrap();
            let dot = if group.is_empty() { "" } else { "." };
            rights.push(format!("| `{}{dot}{group}` | {} |", resource.as_str().unwrap(), verbs.join(", ")));
        }
    }
    assert!(rights.len() > 4);
    let docs = include_str!("../../docs/install.md");
    let (_, section) = docs.split_once("## What it may ask of the API server").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let written: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(written, rights);
    let binding = &manifests["ClusterRoleBinding mount-tracer"];
    assert_eq!(
        binding["roleRef"],
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "mount-tracer"})
    );
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": "mount-tracer", "namespace": "mount-tracer"}])
    );
    assert_eq!(pod()["serviceAccountName"], "mount-tracer");
}
