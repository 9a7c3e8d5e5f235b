//! Whose a mount namespace is: the kernel's own cgroups with the names that runtimes give them, a process in each with a namespace of its
//! own, and what `list` and `trace` say of it.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::actor::{Actor, NOBODY};
use super::ground;
use super::list::objects;
use super::node::cgroup_root;
use super::operation::Operation;
use super::program::{Lasting, Program};
use super::trial::trial;

const UID: &str = "5ca1ab1e-0000-4000-8000-00000000cafe";
const UNIT: &str = "5ca1ab1e_0000_4000_8000_00000000cafe";
const ID: &str = "0ddba11c0ffee0ddba11c0ffee0ddba11c0ffee0ddba11c0ffee0ddba11c0ffe";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("owners::of_a_namespace_by_its_process", of_a_namespace_by_its_process),
        trial("owners::of_what_was_there_before", of_what_was_there_before),
        trial("owners::of_what_runc_makes", of_what_runc_makes),
        trial("owners::of_what_crun_makes", of_what_crun_makes),
        trial("owners::of_what_outlives_its_process", of_what_outlives_its_process),
        trial("owners::a_guest_in_a_namespace_takes_nothing", a_guest_in_a_namespace_takes_nothing),
        trial("owners::a_users_cgroup_is_no_pods", a_users_cgroup_is_no_pods),
        trial("owners::of_what_the_kubelet_mounts", of_what_the_kubelet_mounts),
    ]
}

/// Cgroups that were made for a trial, and go when this does.
#[derive(Default)]
struct Cgroups {
    /// The lowest first.
    made: Vec<PathBuf>,
}

impl Cgroups {
    /// The directory of a cgroup, made with all that is above it.
    fn make(&mut self, cgroup: &str) -> Result<PathBuf> {
        let mut level = cgroup_root()?;
        for name in Path::new(cgroup).strip_prefix("/")? {
            level = level.join(name);
            if !level.exists() {
                ground::make_directory(&level)?;
                self.made.insert(0, level.clone());
            }
        }
        Ok(level)
    }

    /// Puts a process there.
    fn put(&mut self, process: &Actor, cgroup: &str) -> Result<()> {
        let directory = self.make(cgroup)?;
        ground::write_file(&directory.join("cgroup.procs"), process.pid().to_string())
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for cgroup in &self.made {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

/// A process with a mount namespace of its own in a cgroup, both of which go when this does.
struct Contained {
    process: Actor,
    _cgroups: Cgroups,
}

impl Contained {
    fn start(cgroup: &str) -> Result<Self> {
        let mut cgroups = Cgroups::default();
        let process = Actor::private()?;
        cgroups.put(&process, cgroup)?;
        Ok(Self { process, _cgroups: cgroups })
    }

    /// The owner that `list` says for each mount of its namespace, which is the same for all.
    fn owner(&self) -> Result<Value> {
        let process = &self.process;
        let listed = objects(&["--mntns", &process.namespace()?.to_string()])?;
        let first = listed.first().context("a namespace has mounts")?;
        ensure!(listed.iter().all(|mount| mount["owner"] == first["owner"]), "of one namespace: {listed:?}");
        ensure!(first["process"]["pid"] == process.pid(), "{}", first["process"]);
        Ok(first["owner"].clone())
    }
}

fn owner(pod: Option<&str>, runtime: Option<&str>, qos: Option<&str>) -> Value {
    json!({"pod_uid": pod, "namespace": null, "pod": null, "container": null, "container_id": ID, "image": null, "role": "container",
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

/// A container of the pod, as containerd names its cgroup with systemd's driver.
fn container() -> String {
    format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNIT}.slice/cri-containerd-{ID}.scope")
}

fn of_the_container(role: &str) -> Value {
    let mut expected = owner(Some(UID), Some("containerd"), Some("Burstable"));
    expected["role"] = role.into();
    expected
}

/// What is shown of the next mount that the process makes, in its own namespace.
fn mount(trace: &mut Program, process: &mut Actor) -> Result<Operation> {
    let target = ground::directory("owned")?;
    trace.drain()?;
    process.must(&["tmpfs", text(&target)?])?;
    let shown = trace.drain_one()?;
    process.must(&["umount", text(&target)?])?;
    Ok(shown)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a trial's paths are UTF-8")
}

/// The owner of the namespace in which it is made, and of who makes it.
fn expect_owners(operation: &Operation, namespace: &Value, actor: &Value) -> Result<()> {
    operation.expect("/effects/0/owner", namespace.clone())?;
    operation.expect("/actor/owner", actor.clone())
}

fn of_what_was_there_before() -> Result<()> {
    ground::base()?;
    let mut contained = Contained::start(&container())?;
    let mut trace = Program::trace(&[])?;
    let shown = mount(&mut trace, &mut contained.process)?;
    let expected = of_the_container("container");
    expect_owners(&shown, &expected, &expected)?;
    let id = format!("--container={}", &ID[..12]);
    let mut of_it = Program::start(&["trace", "-o", "json", "--count=1", &id, "--pod", UID])?;
    of_it.wait_ready()?;
    let mut of_others = Program::trace(&[&format!("--container=!{ID}")])?;
    contained.process.must(&["tmpfs", text(&ground::directory("owned")?)?])?;
    let finished = of_it.wait()?;
    ensure!(finished.status.success() && finished.lines.len() == 1, "the filters show {finished:?}");
    let others = of_others.drain()?;
    ensure!(others.is_empty(), "the filter that excludes it shows {others:?}");
    Ok(())
}

/// It enters the cgroup first. What the container then makes inside is nested.
fn of_what_runc_makes() -> Result<()> {
    let mut cgroups = Cgroups::default();
    let mut process = Actor::start()?;
    let mut trace = Lasting::trace()?;
    cgroups.put(&process, &container())?;
    let in_the_nodes = mount(&mut trace, &mut process)?;
    expect_owners(&in_the_nodes, &Value::Null, &of_the_container("container"))?;
    for role in ["container", "nested", "nested"] {
        trace.drain()?;
        process.must(&["unshare"])?;
        // The one before ends, if nobody else is in it.
        let shown = trace.drain()?;
        let made = shown.iter().find(|one| one.op() == "namespace_created").context("a namespace was made")?;
        made.expect("/namespace/owner", of_the_container(role))?;
        process.must(&["private", "/"])?;
        expect_owners(&mount(&mut trace, &mut process)?, &of_the_container(role), &of_the_container("container"))?;
    }
    trace.drain()?;
    drop(process);
    let last = trace.drain()?.pop().context("a namespace ends")?;
    last.expect("/op", "namespace_destroyed")?;
    last.expect("/namespace/owner", of_the_container("nested"))
}

/// It makes the namespace first.
fn of_what_crun_makes() -> Result<()> {
    let mut cgroups = Cgroups::default();
    let mut trace = Lasting::trace()?;
    let mut process = Actor::private()?;
    expect_owners(&mount(&mut trace, &mut process)?, &Value::Null, &Value::Null)?;
    cgroups.put(&process, &format!("{}/container", container()))?;
    expect_owners(&mount(&mut trace, &mut process)?, &of_the_container("container"), &of_the_container("container"))
}

/// Somebody holds it, enters it, and is not its owner.
fn of_what_outlives_its_process() -> Result<()> {
    let mut trace = Lasting::trace()?;
    let contained = Contained::start(&container())?;
    let held = File::open(format!("/proc/{}/ns/mnt", contained.process.pid())).context("cannot hold the namespace")?;
    drop(contained);
    let mut other = Actor::start()?;
    other.must(&["enter", &format!("/proc/{}/fd/{}", std::process::id(), held.as_raw_fd())])?;
    expect_owners(&mount(&mut trace, &mut other)?, &of_the_container("container"), &Value::Null)
}

/// A process of one container in the namespace of another, as a debugger is, and in the node's own.
fn a_guest_in_a_namespace_takes_nothing() -> Result<()> {
    let mut trace = Lasting::trace()?;
    let host = Contained::start(&container())?;
    let mut cgroups = Cgroups::default();
    let mut guest = Actor::start()?;
    cgroups.put(&guest, &format!("/system.slice/docker-{ID}.scope"))?;
    let own = owner(None, Some("docker"), None);
    expect_owners(&mount(&mut trace, &mut guest)?, &Value::Null, &own)?;
    guest.must(&["setns", &host.process.pid().to_string()])?;
    expect_owners(&mount(&mut trace, &mut guest)?, &of_the_container("container"), &own)?;
    // Being moved while it is there changes nothing.
    cgroups.put(&guest, &format!("/machine.slice/libpod-{ID}.scope"))?;
    expect_owners(&mount(&mut trace, &mut guest)?, &of_the_container("container"), &owner(None, Some("podman"), None))
}

/// Who was given a part of the hierarchy makes a cgroup with a pod's name there. The twin is what root has made.
fn a_users_cgroup_is_no_pods() -> Result<()> {
    let mut trace = Lasting::trace()?;
    let mut cgroups = Cgroups::default();
    let given = cgroups.make("/given")?;
    std::os::unix::fs::chown(&given, Some(NOBODY), Some(NOBODY)).context("cannot give a cgroup away")?;
    let mut nobody = Actor::unprivileged()?;
    let mut below = given.clone();
    for name in ["kubepods", &format!("pod{UID}"), ID] {
        below = below.join(name);
        nobody.must(&["mkdir", text(&below)?])?;
        cgroups.made.insert(0, below.clone());
    }
    for (cgroup, expected) in [
        (format!("/given/kubepods/pod{UID}/{ID}"), Value::Null),
        (format!("/kubepods/pod{UID}/{ID}"), owner(Some(UID), None, Some("Guaranteed"))),
    ] {
        let mut contained = Contained::start(&cgroup)?;
        expect_owners(&mount(&mut trace, &mut contained.process)?, &expected, &expected)?;
        let listed = contained.owner()?;
        ensure!(listed == expected, "`list` says of {cgroup}: {listed}");
    }
    // Asked, and not told: its birth is of before.
    drop(trace);
    let mut later = Program::trace(&[])?;
    let mut contained = Contained::start(&format!("/given/kubepods/pod{UID}/{ID}"))?;
    expect_owners(&mount(&mut later, &mut contained.process)?, &Value::Null, &Value::Null)
}

/// A volume of a pod, in the node's own namespace. The twin is the same path in that of a container.
fn of_what_the_kubelet_mounts() -> Result<()> {
    const KUBELET: &str = "/tmp/mount-tracer-kubelet";
    let target = format!("{KUBELET}/pods/{UID}/volumes/kubernetes.io~csi/pvc-1/mount");
    fs::create_dir_all(&target).with_context(|| format!("cannot make {target}"))?;
    let mut trace = Program::trace(&["--kubelet-dir", KUBELET])?;
    let contained = Contained::start(&container())?;
    let pod = json!({"pod_uid": UID, "namespace": null, "pod": null, "container": null, "container_id": null, "image": null,
                     "role": "volume", "runtime": null, "qos_class": null});
    let volume = json!({"name": "pvc-1", "plugin": "kubernetes.io~csi"});
    for (mut process, owner, volume) in
        [(Actor::private()?, pod, volume), (contained.process, of_the_container("container"), Value::Null)]
    {
        for words in [vec!["tmpfs", &target], vec!["umount", &target]] {
            trace.drain()?;
            process.must(&words)?;
            let shown = trace.drain_one()?;
            shown.expect("/effects/0/owner", owner.clone())?;
            shown.expect("/effects/0/volume", volume.clone())?;
        }
    }
    fs::remove_dir_all(KUBELET).with_context(|| format!("cannot remove {KUBELET}"))
}
