//! The agent puts the policy's limits on the disk behind a pod's volume: what it says, and what `io.max` then holds.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::disk::Disk;
use super::ground;
use super::node::{Agent, Driver, Limits, Pod, Volume, expect_field, expect_io_max};
use super::program;
use super::trial::trial;

const LIMITS: Limits = Limits { rbps: Some(4 << 20), wbps: Some(2 << 20), riops: Some(1000), wiops: Some(500) };

/// A hundred times what it takes under emulation.
const LIMITED_WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("limits::volume_after_cgroup_systemd", || volume_after_cgroup(Driver::Systemd)),
        trial("limits::volume_after_cgroup_cgroupfs", || volume_after_cgroup(Driver::Cgroupfs)),
        trial("limits::cgroup_after_volume_systemd", || cgroup_after_volume(Driver::Systemd)),
        trial("limits::cgroup_after_volume_cgroupfs", || cgroup_after_volume(Driver::Cgroupfs)),
        trial("limits::a_volume_that_was_there_before", a_volume_that_was_there_before),
        trial("limits::fields_that_are_not_given_stay_max", fields_that_are_not_given_stay_max),
        trial("limits::a_partition_is_limited_by_its_disk", a_partition_is_limited_by_its_disk),
        trial("limits::two_volumes_on_one_disk_get_the_smaller", two_volumes_on_one_disk_get_the_smaller),
        trial("limits::observe_writes_nothing", observe_writes_nothing),
        trial("limits::another_kubelet_directory", another_kubelet_directory),
        trial("limits::an_output_that_takes_nothing_ends_nothing", an_output_that_takes_nothing_ends_nothing),
        trial("limits::a_linked_kubelet_directory", a_linked_kubelet_directory),
    ]
}

fn volume_after_cgroup(driver: Driver) -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(driver)?);
    let volume = pod.volume("pvc-after-cgroup")?;
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    expect_io_max(&pod, "")?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    // What is in force outlives the agent.
    expect_io_max(&pod, &LIMITS.line(&disk.number()?))?;
    mounted.unmount()
}

fn cgroup_after_volume(driver: Driver) -> Result<()> {
    let (disk, mut pod) = (Disk::get()?, Pod::new(driver));
    let volume = pod.volume("pvc-before-cgroup")?;
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    let mounted = disk.mount(&volume.path)?;
    agent.expect(&pod, &volume, "waiting", "no_such_pod")?;
    pod.make_cgroup()?;
    expect_applied_late(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()
}

/// Mounted while no agent was there; and again for the next agent, which finds its limit in force.
fn a_volume_that_was_there_before() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-there-before")?;
    let mounted = disk.mount(&volume.path)?;
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    expect_applied_late(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    agent.expect(&pod, &volume, "applied", "already_in_force")?;
    agent.stop()?;
    mounted.unmount()
}

fn fields_that_are_not_given_stay_max() -> Result<()> {
    let limits = Limits { rbps: None, wbps: Some(3 << 20), riops: None, wiops: None };
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-one-field")?;
    let mut agent = Agent::start("enforce", &[limits.rule(&volume.name)])?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, limits)?;
    agent.stop()?;
    mounted.unmount()
}

fn a_partition_is_limited_by_its_disk() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-partition")?;
    let mut agent = Agent::start("enforce", &[LIMITS.rule(&volume.name)])?;
    let mounted = disk.mount_partition(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()
}

fn two_volumes_on_one_disk_get_the_smaller() -> Result<()> {
    let first = Limits { rbps: Some(2 << 20), wbps: Some(4 << 20), riops: Some(1000), wiops: None };
    let second = Limits { rbps: Some(5 << 20), wbps: Some(3 << 20), riops: None, wiops: Some(400) };
    let both = Limits { rbps: Some(2 << 20), wbps: Some(3 << 20), riops: Some(1000), wiops: Some(400) };
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Cgroupfs)?);
    let (one, two) = (pod.volume("pvc-first")?, pod.volume("pvc-second")?);
    let mut agent = Agent::start("enforce", &[first.rule(&one.name), second.rule(&two.name)])?;
    let mounted_one = disk.mount(&one.path)?;
    expect_applied(&mut agent, &pod, &one, &disk, first)?;
    let mounted_two = disk.mount(&two.path)?;
    expect_applied(&mut agent, &pod, &two, &disk, both)?;
    agent.stop()?;
    mounted_two.unmount()?;
    mounted_one.unmount()
}

/// Says what it would do, and does not. Its twin is every other trial here.
fn observe_writes_nothing() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-observed")?;
    let mut agent = Agent::start("observe", &[LIMITS.rule(&volume.name)])?;
    let mounted = disk.mount(&volume.path)?;
    let decision = agent.expect(&pod, &volume, "observed", "matched")?;
    expect_place(&decision, &pod, &volume, &disk)?;
    expect_field(&decision, "wanted", LIMITS.json())?;
    agent.stop()?;
    expect_io_max(&pod, "")?;
    mounted.unmount()
}

fn another_kubelet_directory() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Cgroupfs)?);
    let kubelet = ground::directory("kubelet")?;
    let volume = pod.volume_below(&kubelet, "pvc-elsewhere")?;
    let flags = ["--kubelet-dir", &kubelet.to_string_lossy()];
    let mut agent = Agent::start_with("enforce", &[LIMITS.rule(&volume.name)], &flags)?;
    // The twin: the usual place is not the kubelet's now.
    let usual = pod.volume(&volume.name)?;
    disk.mount(&usual.path)?.unmount()?;
    expect_io_max(&pod, "")?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()
}

/// A full or closed log is no reason to leave a disk unlimited: the second limit shows that the agent outlived its first
/// report.
fn an_output_that_takes_nothing_ends_nothing() -> Result<()> {
    let (disk, first, second) = (Disk::get()?, Pod::running(Driver::Systemd)?, Pod::running(Driver::Cgroupfs)?);
    let (one, two) = (first.volume("pvc-unreported")?, second.volume("pvc-unreported-too")?);
    let policy = ground::directory("full")?.join("policy.yaml");
    let rules = [LIMITS.rule(&one.name), LIMITS.rule(&two.name)].concat();
    ground::write_file(&policy, format!("mode: enforce\nrules:\n{rules}"))?;
    let full = File::options().write(true).open("/dev/full")?;
    let mut command = program::command(&["agent", "--policy", &policy.to_string_lossy()]);
    let mut child = command.stdout(full).stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(child.stderr.take().context("no pipe")?).lines();
    ensure!(said.by_ref().map_while(Result::ok).any(|line| line.starts_with("ready")), "the agent was never ready");
    let line = LIMITS.line(&disk.number()?);
    let (mounted_one, mounted_two) = (disk.mount(&one.path)?, disk.mount(&two.path)?);
    for pod in [&first, &second] {
        let deadline = Instant::now() + LIMITED_WITHIN;
        while pod.io_max()? != line && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        expect_io_max(pod, &line)?;
    }
    ensure!(child.try_wait()?.is_none(), "the agent has ended");
    child.kill()?;
    child.wait()?;
    mounted_two.unmount()?;
    mounted_one.unmount()
}

/// The kernel's paths have no links in them.
fn a_linked_kubelet_directory() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let kubelet = ground::directory("kubelet-data")?;
    let link = kubelet.with_file_name("kubelet-link");
    std::os::unix::fs::symlink(&kubelet, &link)?;
    let volume = pod.volume_below(&kubelet, "pvc-behind-a-link")?;
    let flags = ["--kubelet-dir", &link.to_string_lossy()];
    let mut agent = Agent::start_with("enforce", &[LIMITS.rule(&volume.name)], &flags)?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    std::fs::remove_file(&link)?;
    mounted.unmount()
}

/// The decision, and the same in the kernel's file.
pub(crate) fn expect_applied(agent: &mut Agent, pod: &Pod, volume: &Volume, disk: &Disk, limits: Limits) -> Result<()> {
    let decision = expect_in_force(agent, pod, volume, disk, limits)?;
    let took = decision.get("mount_to_limit_us").and_then(Value::as_f64);
    ensure!(took.is_some_and(|micros| micros > 0.0), "mount_to_limit_us is no time in {decision}");
    Ok(())
}

/// As [`expect_applied`], for a volume that waited for its pod: the time since its mount says nothing.
fn expect_applied_late(agent: &mut Agent, pod: &Pod, volume: &Volume, disk: &Disk, limits: Limits) -> Result<()> {
    let decision = expect_in_force(agent, pod, volume, disk, limits)?;
    expect_field(&decision, "mount_to_limit_us", Value::Null)
}

/// As [`expect_applied`], whatever it took.
pub(crate) fn expect_in_force(
    agent: &mut Agent,
    pod: &Pod,
    volume: &Volume,
    disk: &Disk,
    limits: Limits,
) -> Result<Value> {
    let decision = agent.expect(pod, volume, "applied", "matched")?;
    expect_place(&decision, pod, volume, disk)?;
    expect_field(&decision, "wanted", limits.json())?;
    expect_field(&decision, "in_force", limits.json())?;
    expect_io_max(pod, &limits.line(&disk.number()?))?;
    Ok(decision)
}

fn expect_place(decision: &Value, pod: &Pod, volume: &Volume, disk: &Disk) -> Result<()> {
    expect_field(decision, "disk", disk.number()?)?;
    expect_field(decision, "cgroup", pod.cgroup())?;
    expect_field(decision, "rule", volume.name.as_str())?;
    ensure!(decision.get("time").is_some_and(Value::is_string), "no time in {decision}");
    Ok(())
}
