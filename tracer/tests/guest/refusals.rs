//! What the agent does not limit, why, and that nothing was written; each with the twin that is limited.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, UnmountFlags};

use super::actor::Actor;
use super::disk::{Disk, Spare};
use super::ground::{self, Mounted};
use super::limits::expect_applied;
use super::node::{Agent, Driver, Limits, Pod, cgroup_root, enable_io, expect_field, expect_io_max};
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
        trial("refusals::disk_gone", disk_gone),
        trial("refusals::disk_unreadable", disk_unreadable),
        trial("refusals::cgroup_read_only", cgroup_read_only),
        trial("refusals::io_controller_off", io_controller_off),
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
    let policy = policy.to_str().context("the policy's path is UTF-8")?;
    for arguments in [&["agent", "--policy", policy][..], &["trace"], &["check"]] {
        let output = Command::new("unshare")
            .args(["-p", "-f"])
            .arg(program::command(&[]).get_program())
            .args(arguments)
            .output()
            .context("cannot run unshare")?;
        let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        ensure!(output.status.code() == Some(3), "{arguments:?} ended with {}: {said}", output.status);
        ensure!(said.contains("FAIL pid namespace") && said.contains("hostPID: true"), "it said: {said}");
        ensure!(said.matches("FAIL").count() == 1, "it blames something else too: {said}");
    }
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

/// The disk is pulled out after its volume was mounted and before its pod has a cgroup. The agent looks at the disk when
/// the cgroup comes: what this shows is a disk that went between the event and the look. Between the look and the write
/// lie microseconds, and nothing can be made to happen there; the limiter's own tests answer the write with ENODEV.
fn disk_gone() -> Result<()> {
    let (disk, spare) = (Disk::get()?, Spare::new()?);
    let (mut late, pod) = (Pod::new(Driver::Systemd), Pod::running(Driver::Cgroupfs)?);
    let (lost, volume) = (late.volume("pvc-pulled-out")?, pod.volume("pvc-still-there")?);
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&lost.name), LIMITS.rule(&volume.name)])?;
    let number = spare.number()?;
    let mounted_lost = spare.mount(&lost.path)?;
    agent.expect(&late, &lost, "waiting", "no_such_pod")?;
    Spare::pull_out()?;
    // 5.10 keeps a disk whose controller has gone for as long as it is mounted, and takes limits for it.
    let kept = Path::new("/sys/dev/block").join(&number).exists();
    eprintln!("the kernel still has the disk: {kept}");
    late.make_cgroup()?;
    if kept {
        agent.expect(&late, &lost, "applied", "matched")?;
    } else {
        let decision = agent.expect(&late, &lost, "refused", "disk_gone")?;
        expect_field(&decision, "disk", number)?;
        expect_io_max(&late, "")?;
    }
    // The agent goes on.
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()?;
    mounted_lost.unmount_with(UnmountFlags::DETACH)
}

/// A swap file whose mount was detached: which disk it keeps busy, nobody can tell from its path any more, so no disk can be told
/// from those that the node needs.
fn disk_unreadable() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let (volume, later) = (pod.volume("pvc-beside-a-swap")?, pod.volume("pvc-without-a-swap")?);
    let room = ground::directory("swap")?;
    let mounted_room = disk.mount(&room)?;
    let swap = room.join("swap");
    ground::write_file(&swap, vec![0; 4 << 20])?;
    std::fs::File::open(&swap)?.sync_all()?;
    busybox("mkswap", &swap)?;
    busybox("swapon", &swap)?;
    mounted_room.unmount_with(UnmountFlags::DETACH)?;
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name), LIMITS.rule(&later.name)])?;
    let mounted = disk.mount(&volume.path)?;
    let decision = agent.expect(&pod, &volume, "refused", "disk_unreadable");
    let swap = volume.path.join("swap");
    busybox("swapoff", &swap)?;
    decision?;
    expect_io_max(&pod, "")?;
    let mounted_later = disk.mount(&later.path)?;
    expect_applied(&mut agent, &pod, &later, &disk, LIMITS)?;
    agent.stop()?;
    std::fs::remove_file(&swap)?;
    mounted_later.unmount()?;
    mounted.unmount()
}

fn busybox(applet: &str, path: &Path) -> Result<()> {
    let output = Command::new("busybox").arg(applet).arg(path).output().context("cannot run busybox")?;
    ensure!(output.status.success(), "{applet}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The mount of the cgroups is made read-only below the running agent, and writable again.
fn cgroup_read_only() -> Result<()> {
    let (disk, pod, next) = (Disk::get()?, Pod::running(Driver::Systemd)?, Pod::running(Driver::Cgroupfs)?);
    let (volume, later) = (pod.volume("pvc-read-only")?, next.volume("pvc-writable")?);
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name), LIMITS.rule(&later.name)])?;
    let root = cgroup_root()?;
    let remount = |flags| rustix::mount::mount_remount(&root, MountFlags::BIND | flags, "").context("cannot remount");
    remount(MountFlags::RDONLY)?;
    let mounted = disk.mount(&volume.path)?;
    let decision = agent.expect(&pod, &volume, "refused", "cgroup_read_only");
    // Before anything else, since the other trials need them too.
    remount(MountFlags::empty())?;
    decision?;
    expect_io_max(&pod, "")?;
    let mounted_later = disk.mount(&later.path)?;
    expect_applied(&mut agent, &next, &later, &disk, LIMITS)?;
    agent.stop()?;
    mounted_later.unmount()?;
    mounted.unmount()
}

fn io_controller_off() -> Result<()> {
    let (disk, pod, next) = (Disk::get()?, Pod::running(Driver::Systemd)?, Pod::running(Driver::Cgroupfs)?);
    let (volume, later) = (pod.volume("pvc-without-io")?, next.volume("pvc-with-io")?);
    let file = pod.io_max_file()?;
    let parent = file.ancestors().nth(2).context("a pod's cgroup has a parent")?;
    ground::write_file(&parent.join("cgroup.subtree_control"), "-io")?;
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name), LIMITS.rule(&later.name)])?;
    let mounted = disk.mount(&volume.path)?;
    agent.expect(&pod, &volume, "refused", "io_controller_off")?;
    let mounted_later = disk.mount(&later.path)?;
    expect_applied(&mut agent, &next, &later, &disk, LIMITS)?;
    agent.stop()?;
    enable_io(parent)?;
    mounted_later.unmount()?;
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
