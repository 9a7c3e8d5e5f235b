//! Whose a mount namespace is: the kernel's own cgroups with the names that runtimes give them, a process in each with a namespace of its
//! own, and what `list` says of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::actor::Actor;
use super::ground;
use super::list::objects;
use super::node::cgroup_root;
use super::trial::trial;

const UID: &str = "5ca1ab1e-0000-4000-8000-00000000cafe";
const UNIT: &str = "5ca1ab1e_0000_4000_8000_00000000cafe";
const ID: &str = "0ddba11c0ffee0ddba11c0ffee0ddba11c0ffee0ddba11c0ffee0ddba11c0ffe";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("owners::of_a_namespace_by_its_process", of_a_namespace_by_its_process)]
}

/// A process with a mount namespace of its own in a cgroup, both of which go when this does.
struct Contained {
    process: Option<Actor>,
    /// Those that were made for it, the lowest first.
    made: Vec<PathBuf>,
}

impl Contained {
    fn start(cgroup: &str) -> Result<Self> {
        let mut contained = Self { process: None, made: Vec::new() };
        let mut level = cgroup_root()?;
        for name in Path::new(cgroup).strip_prefix("/")? {
            level = level.join(name);
            if !level.exists() {
                ground::make_directory(&level)?;
                contained.made.insert(0, level.clone());
            }
        }
        let process = Actor::private()?;
        ground::write_file(&level.join("cgroup.procs"), process.pid().to_string())?;
        contained.process = Some(process);
        Ok(contained)
    }

    /// The owner that `list` says for each mount of its namespace, which is the same for all.
    fn owner(&self) -> Result<Value> {
        let process = self.process.as_ref().context("a process was started")?;
        let listed = objects(&["--mntns", &process.namespace()?.to_string()])?;
        let first = listed.first().context("a namespace has mounts")?;
        ensure!(listed.iter().all(|mount| mount["owner"] == first["owner"]), "of one namespace: {listed:?}");
        ensure!(first["process"]["pid"] == process.pid(), "{}", first["process"]);
        Ok(first["owner"].clone())
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        drop(self.process.take());
        for cgroup in &self.made {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

fn owner(pod: Option<&str>, runtime: Option<&str>, qos: Option<&str>) -> Value {
    json!({"pod_uid": pod, "namespace": null, "pod": null, "container": null, "container_id": ID, "role": "container",
           "runtime": runtime, "qos_class": qos})
}

fn of_a_namespace_by_its_process() -> Result<()> {
    let unit = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNIT}.slice");
    for (cgroup, expected) in [
        (format!("{unit}/cri-containerd-{ID}.scope"), owner(Some(UID), Some("containerd"), Some("Burstable"))),
        (format!("{unit}/crio-{ID}.scope/container"), owner(Some(UID), Some("cri-o"), Some("Burstable"))),
        (format!("/kubepods/pod{UID}/{ID}"), owner(Some(UID), None, Some("Guaranteed"))),
        (
            format!("/system.slice/kubepods-besteffort-pod{UNIT}.slice:cri-containerd:{ID}"),
            owner(Some(UID), Some("containerd"), Some("BestEffort")),
        ),
        (format!("/system.slice/docker-{ID}.scope"), owner(None, Some("docker"), None)),
        (format!("/machine.slice/libpod-{ID}.scope/container"), owner(None, Some("podman"), None)),
        // A service, and one that only looks like a pod's.
        ("/system.slice/list-trial.service".to_owned(), Value::Null),
        (format!("/list-trial/pod{UID}/{ID}"), Value::Null),
    ] {
        let found = Contained::start(&cgroup)?.owner()?;
        ensure!(found == expected, "in {cgroup}: {found}, expected {expected}");
    }
    Ok(())
}
