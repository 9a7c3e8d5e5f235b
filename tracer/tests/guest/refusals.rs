//! What the agent does not limit, why, and that nothing was written; each with the twin that is limited.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::actor::Actor;
use super::disk::Disk;
use super::ground::{self, Mounted};
use super::limits::expect_applied;
use super::node::{Agent, Driver, Limits, Pod, cgroup_root, expect_io_max};
use super::program;
use super::trial::trial;

const LIMITS: Limits = Limits { rbps: Some(5 << 20), wbps: Some(3 << 20), riops: Some(700), wiops: Some(300) };
/// The container runtime's directory; the disk below it carries every image and every log of the node.
const RUNTIME: &str = "/var/lib/containerd";
/// A user without any right.
const NOBODY: u32 = 65534;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("refusals::no_such_pod", no_such_pod),
        trial("refusals::no_block_device", no_block_device),
        trial("refusals::protected_disk", protected_disk),
        trial("refusals::foreign_limit", foreign_limit),
        trial("refusals::another_mount_namespace", another_mount_namespace),
        trial("refusals::a_users_own_cgroup_of_a_pods_name", a_users_own_cgroup_of_a_pods_name),
        trial("refusals::a_pid_namespace_of_its_own", a_pid_namespace_of_its_own),
    ]
}

/// A user who was given a part of the hierarchy makes a cgroup of the pod's name there, before the agent's start and
/// again after it. The twin is the pod itself: it is limited all the same.
fn a_users_own_cgroup_of_a_pods_name() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Cgroupfs)?);
    let volume = pod.volume("pvc-coveted")?;
    let delegated = cgroup_root()?.join("delegated");
    ground::make_directory(&delegated)?;
    std::os::unix::fs::chown(&delegated, Some(NOBODY), Some(NOBODY))?;
    let name = Path::new(&pod.cgroup()).file_name().context("a cgroup has a name")?.to_owned();
    let fake = delegated.join("kubepods").join(name);
    let make = || Command::new("mkdir").arg("-p").arg(&fake).uid(NOBODY).gid(NOBODY).status();
    ensure!(make()?.success(), "the user cannot make {}", fake.display());
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    std::fs::remove_dir(&fake)?;
    ensure!(make()?.success(), "the user cannot make {} again", fake.display());
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()?;
    for path in [fake.as_path(), &delegated.join("kubepods"), &delegated] {
        std::fs::remove_dir(path)?;
    }
    Ok(())
}

/// There pid 1 is not the node's, and nobody can tell which disks the node needs. Its twin is every other trial here.
fn a_pid_namespace_of_its_own() -> Result<()> {
    let policy = ground::directory("pid-namespace")?.join("policy.yaml");
    ground::write_file(&policy, "rules: []\n")?;
    let agent = program::command(&[]);
    let output = Command::new("unshare")
        .args(["-p", "-f"])
        .arg(agent.get_program())
        .args(["agent", "--policy"])
        .arg(&policy)
        .output()
        .context("cannot run unshare")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "ended with {}: {said}", output.status);
    ensure!(said.contains("FAIL pid namespace") && said.contains("hostPID: true"), "it said: {said}");
    Ok(())
}

fn no_such_pod() -> Result<()> {
    let (disk, absent, pod) = (Disk::get()?, Pod::new(Driver::Systemd), Pod::running(Driver::Systemd)?);
    let (lost, volume) = (absent.volume("pvc-of-nobody")?, pod.volume("pvc-of-a-pod")?);
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&lost.name), LIMITS.rule(&volume.name)])?;
    let mounted_lost = disk.mount(&lost.path)?;
    agent.expect(&absent, &lost, "waiting", "no_such_pod")?;
    expect_io_max(&pod, "")?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()?;
    mounted_lost.unmount()
}

fn no_block_device() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Cgroupfs)?);
    let (memory, volume) = (pod.volume("pvc-tmpfs")?, pod.volume("pvc-disk")?);
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&memory.name), LIMITS.rule(&volume.name)])?;
    let mounted_memory = Mounted::tmpfs(&memory.path)?;
    agent.expect(&pod, &memory, "refused", "no_block_device")?;
    expect_io_max(&pod, "")?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()?;
    mounted_memory.unmount()
}

fn protected_disk() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-protected")?;
    let rules = [LIMITS.rule(&volume.name)];
    ground::make_directory(Path::new(RUNTIME))?;
    let runtime = disk.mount(Path::new(RUNTIME))?;
    let mut agent = Agent::start("enforce", &rules)?;
    let mounted = disk.mount(&volume.path)?;
    agent.expect(&pod, &volume, "refused", "protected_disk")?;
    agent.stop()?;
    expect_io_max(&pod, "")?;
    mounted.unmount()?;
    runtime.unmount()?;
    // The twin: the same disk, when the runtime is not on it.
    let mut agent = Agent::start("enforce", &rules)?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()
}

fn foreign_limit() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-foreign")?;
    let foreign = Limits { rbps: None, wbps: Some(1_234_567), riops: None, wiops: None };
    let line = foreign.line(&disk.number()?);
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    ground::write_file(&pod.io_max_file()?, &line)?;
    let mounted = disk.mount(&volume.path)?;
    agent.expect(&pod, &volume, "refused", "foreign_limit")?;
    expect_io_max(&pod, &line)?;
    agent.stop()?;
    mounted.unmount()?;
    // The twin: the same pod, when the line is gone.
    ground::write_file(&pod.io_max_file()?, Limits { wbps: None, ..foreign }.line(&disk.number()?))?;
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()
}

/// The path is the kubelet's, but not in the kubelet's namespace: anybody can make such a mount. No decision at all.
fn another_mount_namespace() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-namespace")?;
    let mut other = Actor::private()?;
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    let path = volume.path.to_str().context("the trials' own paths are UTF-8")?;
    let device = disk.whole.to_str().context("a disk's name is UTF-8")?;
    other.must(&["mount", device, path, disk.fstype])?;
    other.must(&["umount", path])?;
    expect_io_max(&pod, "")?;
    // The twin: the same mount here. Its decision has to be the first.
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()
}
