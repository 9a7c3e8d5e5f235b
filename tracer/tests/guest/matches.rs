//! The policy's match keys that the kernel and the node answer: each rule is the second of two, and the first, which must
//! not match, would limit differently.

use anyhow::{Context as _, Result};
use libtest_mimic::Trial;

use super::disk::Disk;
use super::ground;
use super::limits::expect_applied;
use super::node::{Agent, Driver, Limits, Pod};
use super::oracle;
use super::trial::trial;

const LIMITS: Limits = Limits { rbps: Some(6 << 20), wbps: Some(5 << 20), riops: Some(900), wiops: Some(800) };
const OTHERS: Limits = Limits { rbps: Some(2 << 20), wbps: Some(2 << 20), riops: Some(200), wiops: Some(200) };
const BY_ID: &str = "/dev/disk/by-id";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("matches::fstype", fstype),
        trial("matches::path", path),
        trial("matches::device_by_number", || device(Disk::number)),
        trial("matches::device_by_name", || device(|disk| Ok(disk.whole.to_string_lossy().into_owned()))),
        trial("matches::device_by_id", || device(by_id)),
        trial("matches::device_by_the_path_of_its_id", || device(|disk| Ok(format!("{BY_ID}/{}", by_id(disk)?)))),
        trial("matches::device_of_a_partition", device_of_a_partition),
        trial("matches::driver_of_csi", driver_of_csi),
        trial("matches::driver_that_is_not_known", driver_that_is_not_known),
        trial("matches::driver_of_another_plugin", driver_of_another_plugin),
    ]
}

/// The volume gets the second rule's limits.
fn second_rule_counts(not: &str, but: &str, partition: bool, make: fn(&Pod, &str) -> Result<()>) -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Systemd)?);
    let volume = pod.volume("pvc-matched")?;
    make(&pod, &volume.name)?;
    let rules = [OTHERS.rule_for("other", not), LIMITS.rule_for(&volume.name, but)];
    let mut agent = Agent::start("enforce", &rules)?;
    let mounted = if partition { disk.mount_partition(&volume.path)? } else { disk.mount(&volume.path)? };
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()
}

fn fstype() -> Result<()> {
    let fstype = Disk::get()?.fstype;
    second_rule_counts("fstype: [tmpfs, xfs]", &format!("fstype: [xfs, {fstype}]"), false, |_, _| Ok(()))
}

fn path() -> Result<()> {
    let but = "path: \"/var/lib/kubelet/pods/*/pvc-matched/mount\"";
    second_rule_counts("path: /var/lib/kubelet/pods", but, false, |_, _| Ok(()))
}

fn device(name: fn(&Disk) -> Result<String>) -> Result<()> {
    let name = name(&Disk::get()?)?;
    second_rule_counts("device: [\"0:1\", /dev/null, no-id]", &format!("device: \"{name}\""), false, |_, _| Ok(()))
}

/// The name of the link by id, which the guest's init makes as udev would.
fn by_id(disk: &Disk) -> Result<String> {
    for entry in std::fs::read_dir(BY_ID).with_context(|| format!("cannot list {BY_ID}"))? {
        let entry = entry?;
        if entry.path().exists() && oracle::rdev_of(&entry.path())? == disk.number()? {
            return Ok(entry.file_name().to_string_lossy().into_owned());
        }
    }
    anyhow::bail!("no link in {BY_ID} leads to {}", disk.whole.display())
}

/// Both its own name and its disk's.
fn device_of_a_partition() -> Result<()> {
    let disk = Disk::get()?;
    for device in [&disk.partition, &disk.whole] {
        let but = format!("device: {}", device.display());
        second_rule_counts("device: /dev/null", &but, true, |_, _| Ok(()))?;
    }
    Ok(())
}

fn driver_of_csi() -> Result<()> {
    let not = "driver: [kubernetes.io/csi, other.example.com]";
    second_rule_counts(not, "driver: \"*.example.com\"", false, |pod, volume| {
        let file = pod.volumes().join("kubernetes.io~csi").join(volume).join("vol_data.json");
        ground::write_file(&file, r#"{"driverName":"disk.example.com","volumeHandle":"v-1"}"#)
    })
}

/// Without `vol_data.json` not even `*` matches.
fn driver_that_is_not_known() -> Result<()> {
    second_rule_counts("driver: \"*\"", "volume: pvc-matched", false, |_, _| Ok(()))
}

fn driver_of_another_plugin() -> Result<()> {
    let (disk, pod) = (Disk::get()?, Pod::running(Driver::Cgroupfs)?);
    let volume = pod.volume_of_plugin("kubernetes.io~local-volume", "local-pv")?;
    let rules = [
        OTHERS.rule_for("other", "driver: kubernetes.io/nfs"),
        LIMITS.rule_for(&volume.name, "driver: kubernetes.io/local-volume"),
    ];
    let mut agent = Agent::start("enforce", &rules)?;
    let mounted = disk.mount(&volume.path)?;
    expect_applied(&mut agent, &pod, &volume, &disk, LIMITS)?;
    agent.stop()?;
    mounted.unmount()
}
