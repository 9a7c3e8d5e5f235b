//! The policy's file changes while the agent runs: what reaches pods that are there already, and what a broken file does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::disk::Disk;
use super::ground;
use super::limits::{expect_applied, expect_in_force};
use super::node::{Agent, Driver, Limits, Pod, expect_field, expect_io_max};
use super::trial::trial;

const FIRST: Limits = Limits { rbps: Some(4 << 20), wbps: Some(2 << 20), riops: Some(1000), wiops: Some(500) };
const SECOND: Limits = Limits { rbps: None, wbps: Some(7 << 20), riops: Some(600), wiops: None };
const NONE: Limits = Limits { rbps: None, wbps: None, riops: None, wiops: None };

/// A second is promised; an emulated processor that others share may need more, so what it took is printed.
const WITHIN: Duration = Duration::from_secs(5);
/// Longer than an agent may take to look at a file, so that what did not happen by then does not happen.
const LOOKED_AT: Duration = Duration::from_millis(1500);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("reloads::another_limit_reaches_a_running_pod", another_limit_reaches_a_running_pod),
        trial("reloads::a_new_rule_reaches_a_running_pod", a_new_rule_reaches_a_running_pod),
        trial("reloads::a_rule_that_is_gone_is_released", a_rule_that_is_gone_is_released),
        trial("reloads::observe_releases", observe_releases),
        trial("reloads::the_swap_of_a_config_map", the_swap_of_a_config_map),
        trial("reloads::a_broken_policy_leaves_the_old_one", a_broken_policy_leaves_the_old_one),
    ]
}

fn another_limit_reaches_a_running_pod() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-changed")?;
    let mut agent = Agent::start("enforce", &[FIRST.rule(&volume.name)])?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, FIRST)?;
    agent.write_policy("enforce", &[SECOND.rule(&volume.name)])?;
    expect_io_max_within(&pod, &SECOND.line(&disk.number()?))?;
    expect_in_force(&mut agent, &pod, &volume, &disk, SECOND)?;
    agent.stop()?;
    mounted.unmount()
}

/// The rule depends on what the old policy had no reason to ask the node for.
fn a_new_rule_reaches_a_running_pod() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Cgroupfs)?);
    let volume = pod.volume("pvc-new-rule")?;
    let mut agent = Agent::start("enforce", &[])?;
    let mounted = disk.mount(&volume.path)?;
    let device = format!("device: \"{}\"", disk.number()?);
    agent.write_policy("enforce", &[SECOND.rule_for(&volume.name, &device)])?;
    expect_io_max_within(&pod, &SECOND.line(&disk.number()?))?;
    expect_in_force(&mut agent, &pod, &volume, &disk, SECOND)?;
    agent.stop()?;
    mounted.unmount()
}

fn a_rule_that_is_gone_is_released() -> Result<()> {
    let (disk, pod, other) = (Disk::get()?, Pod::running(Driver::Systemd)?, Pod::running(Driver::Systemd)?);
    let (volume, kept) = (pod.volume("pvc-rule-gone")?, other.volume("pvc-rule-kept")?);
    let mut agent = Agent::start("enforce", &[FIRST.rule(&volume.name), SECOND.rule(&kept.name)])?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, FIRST)?;
    let mounted_kept = disk.mount(&kept.path)?;
    expect_applied(&mut agent, &other, &kept, &disk, SECOND)?;
    agent.write_policy("enforce", &[SECOND.rule(&kept.name)])?;
    expect_io_max_within(&pod, "")?;
    let decision = agent.expect(&pod, &volume, "released", "policy_changed")?;
    expect_field(&decision, "in_force", NONE.json())?;
    expect_field(&decision, "disk", disk.number()?)?;
    // The twin, which the new policy wants as the old one did.
    agent.expect(&other, &kept, "applied", "already_in_force")?;
    expect_io_max(&other, &SECOND.line(&disk.number()?))?;
    agent.stop()?;
    mounted_kept.unmount()?;
    mounted.unmount()
}

/// What another program wrote for another pod stays.
fn observe_releases() -> Result<()> {
    let (disk, pod, other) = (Disk::get()?, Pod::running(Driver::Systemd)?, Pod::running(Driver::Cgroupfs)?);
    let volume = pod.volume("pvc-to-observe")?;
    let mut agent = Agent::start("enforce", &[FIRST.rule(&volume.name)])?;
    let foreign = SECOND.line(&disk.number()?);
    ground::write_file(&other.io_max_file()?, &foreign)?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, FIRST)?;
    agent.write_policy("observe", &[FIRST.rule(&volume.name)])?;
    agent.expect(&pod, &volume, "released", "policy_changed")?;
    agent.expect(&pod, &volume, "observed", "matched")?;
    expect_io_max(&pod, "")?;
    expect_io_max(&other, &foreign)?;
    agent.stop()?;
    mounted.unmount()
}

/// As the kubelet updates a config map's volume: a new directory, and a link that is put in place of the old one.
fn the_swap_of_a_config_map() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-config-map")?;
    let directory = ground::directory("config-map")?;
    publish(&directory, "..2026_1", &Agent::policy("enforce", &[FIRST.rule(&volume.name)]))?;
    let file = directory.join("policy.yaml");
    symlink("..data/policy.yaml", &file)?;
    let mut agent = Agent::start_from(&file, &[])?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, FIRST)?;
    publish(&directory, "..2026_2", &Agent::policy("enforce", &[SECOND.rule(&volume.name)]))?;
    fs::remove_dir_all(directory.join("..2026_1"))?;
    expect_io_max_within(&pod, &SECOND.line(&disk.number()?))?;
    expect_in_force(&mut agent, &pod, &volume, &disk, SECOND)?;
    agent.stop()?;
    mounted.unmount()
}

fn publish(directory: &Path, version: &str, policy: &str) -> Result<()> {
    ground::make_directory(&directory.join(version))?;
    ground::write_file(&directory.join(version).join("policy.yaml"), policy)?;
    symlink(version, directory.join("..data_tmp"))?;
    fs::rename(directory.join("..data_tmp"), directory.join("..data")).context("cannot swap the link")
}

/// Said once however often the same text is written; a volume that is mounted meanwhile gets the old policy; a good
/// file is taken afterwards.
fn a_broken_policy_leaves_the_old_one() -> Result<()> {
    let (disk, pod, next) = (Disk::get()?, Pod::running(Driver::Systemd)?, Pod::running(Driver::Cgroupfs)?);
    let (volume, later) = (pod.volume("pvc-unbroken")?, next.volume("pvc-unbroken-too")?);
    let rules = [FIRST.rule(&volume.name), FIRST.rule(&later.name)];
    let mut agent = Agent::start("enforce", &rules)?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, FIRST)?;
    for _ in 0..3 {
        ground::write_file(&agent.policy, "mode: enforce\nrules:\n  - nam: x\n")?;
        thread::sleep(LOOKED_AT);
    }
    let place = format!("{}:3:5: ", agent.policy.display());
    let said = || agent.program.errors().into_iter().filter(|line| line.contains(&place)).collect::<Vec<_>>();
    ensure!(said().len() == 1, "said {} times: {:#?}", said().len(), agent.program.errors());
    expect_io_max(&pod, &FIRST.line(&disk.number()?))?;
    let mounted_later = disk.mount(&later.path)?;
    expect_applied(&mut agent, &next, &later, &disk, FIRST)?;
    agent.write_policy("enforce", &[SECOND.rule(&volume.name), SECOND.rule(&later.name)])?;
    expect_io_max_within(&pod, &SECOND.line(&disk.number()?))?;
    expect_io_max_within(&next, &SECOND.line(&disk.number()?))?;
    expect_in_force(&mut agent, &pod, &volume, &disk, SECOND)?;
    expect_in_force(&mut agent, &next, &later, &disk, SECOND)?;
    agent.stop()?;
    mounted_later.unmount()?;
    mounted.unmount()
}

fn expect_io_max_within(pod: &Pod, wanted: &str) -> Result<()> {
    let start = Instant::now();
    while pod.io_max()? != wanted && start.elapsed() < WITHIN {
        thread::sleep(Duration::from_millis(10));
    }
    eprintln!("io.max says it after {:?}", start.elapsed());
    expect_io_max(pod, wanted)
}
