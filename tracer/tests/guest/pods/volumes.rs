//! Who uses a volume, and who only holds it: a pod for which the kubelet has mounted it, and pods that have it before their eyes, as CSI node
//! pods, node exporters and backup agents do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tracer::pods::cri::api::MountPropagation::{self, PropagationBidirectional, PropagationHostToContainer};

use super::{DONE, Lives, owner};
use crate::guest::asking::{METRICS, Reply};
use crate::guest::cri::Pod;
use crate::guest::disk::Disk;
use crate::guest::ground;
use crate::guest::node::{Agent, Limits, enable_io};
use crate::guest::program::command;

const KUBELET: &str = "/var/lib/kubelet";
const VOLUME: &str = "pvc-used";
/// What the pod writes, in bytes.
const WRITTEN: u64 = 4 << 20;

/// A pod that lives until it is removed, and sees this directory of the node there.
fn pod(number: usize, name: &str, script: &str, mount: (&str, &str, MountPropagation)) -> Pod {
    Pod {
        uid: format!("{number:08x}-2222-4222-8333-444455556666"),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        container: "app".to_owned(),
        runtime: "runc",
        script: format!("{script} exec sleep 1000"),
        mounts: vec![(mount.0.to_owned(), mount.1.to_owned(), mount.2)],
        labels: BTreeMap::new(),
    }
}

/// A volume as the kubelet mounts it for a pod.
struct Volume {
    path: PathBuf,
    mounted: Option<ground::Mounted>,
}

impl Volume {
    fn mount(disk: &Disk, uid: &str) -> Result<Self> {
        let directory = Path::new(KUBELET).join("pods").join(uid).join("volumes/kubernetes.io~csi").join(VOLUME);
        ground::make_directory(&directory.join("mount"))?;
        let data = r#"{"driverName":"disks.example.com","volumeHandle":"h-1","volumeLifecycleMode":"Persistent"}"#;
        ground::write_file(&directory.join("vol_data.json"), data)?;
        let path = directory.join("mount");
        Ok(Self { mounted: Some(disk.mount(&path)?), path })
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        drop(self.mounted.take());
        let _ = fs::remove_dir_all(Path::new(KUBELET).join("pods"));
    }
}

/// The mounts of the disk in containers, as `who` tells them: each by its owner's name.
fn holders(disk: &Disk) -> Result<Vec<Value>> {
    let device = disk.whole.to_str().context("a disk's name is UTF-8")?;
    let output = command(&["who", "-o", "json", device]).output().context("cannot run mount-tracer who")?;
    ensure!(output.status.success(), "who: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

pub(super) fn who_uses_and_who_holds() -> Result<()> {
    ground::base()?;
    ground::make_directory(Path::new(KUBELET))?;
    let disk = Disk::get()?;
    let csi = Lives::of(pod(1, "csi-node", "", (KUBELET, KUBELET, PropagationBidirectional)))?;
    let before = Lives::of(pod(2, "exporter-before", "", ("/", "/host", PropagationHostToContainer)))?;
    let limits = Limits { rbps: None, wbps: Some(64 << 20), riops: None, wiops: None };
    let mut agent = Agent::start("observe", &[limits.rule_for("all", "driver: disks.example.com")])?;

    let write = format!("dd if=/dev/zero of=/data/x bs=1M count={} conv=fsync &&", WRITTEN >> 20);
    let uid = pod(3, "", "", ("", "", PropagationHostToContainer)).uid;
    let volume = Volume::mount(&disk, &uid)?;
    let mount = volume.path.to_str().context("the trials' own paths are UTF-8")?.to_owned();
    enable_io_of_pods()?;
    let user = Lives::of(pod(3, "user", &write, (&mount, "/data", PropagationHostToContainer)))?;
    let after = Lives::of(pod(4, "exporter-after", "", ("/", "/host", PropagationHostToContainer)))?;

    expect_one_decision(&mut agent, &uid)?;
    let said = holders(&disk)?;
    for live in [&csi, &before, &user, &after] {
        let its = owner(&live.pod, &live.started, "container");
        let is_its = |one: &&Value| one["what"] == "mount" && one["owner"] == its;
        let one = said.iter().find(is_its).with_context(|| format!("{} holds it: {said:#?}", live.pod.name))?;
        ensure!(one["mntns"] == live.namespace()?, "{}: {one:#?}", live.pod.name);
    }
    expect_metrics(&disk)?;
    // It decided nothing for anybody else.
    agent.stop()?;
    drop((user, after, before, csi));
    drop(volume);
    Ok(())
}

/// What a kubelet does for its pods' cgroups: here the first pods have made them.
fn enable_io_of_pods() -> Result<()> {
    let pods = Path::new("/sys/fs/cgroup/kubepods.slice");
    enable_io(pods)?;
    enable_io(&pods.join("kubepods-besteffort.slice"))
}

/// The volume was mounted before its pod had a cgroup: it waits, and then it is decided.
fn expect_one_decision(agent: &mut Agent, uid: &str) -> Result<()> {
    for decision in ["waiting", "observed"] {
        let next = agent.next()?;
        let found = (next["pod_uid"].as_str(), next["volume"].as_str(), next["decision"].as_str());
        ensure!(found == (Some(uid), Some(VOLUME), Some(decision)), "{decision}: {next}");
    }
    Ok(())
}

/// Its volume, and what it has written; of the others, which only hold it, no volume.
fn expect_metrics(disk: &Disk) -> Result<()> {
    let device = disk.whole.file_name().and_then(|name| name.to_str()).context("a disk has a name")?;
    let labels = format!(r#"namespace="shop",pod="user",persistentvolumeclaim="",persistentvolume="{VOLUME}""#);
    let volume =
        format!(r#"mount_tracer_volume_info{{{labels},driver="disks.example.com",device="{device}",shared="false"}}"#);
    let written =
        format!(r#"mount_tracer_pod_disk_written_bytes_total{{namespace="shop",pod="user",device="{device}"}}"#);
    let deadline = Instant::now() + DONE;
    loop {
        let reply = Reply::scrape(METRICS)?;
        let volumes = reply.body.lines().filter(|line| line.starts_with("mount_tracer_volume_info{")).count();
        let bytes = reply.value(&written).unwrap_or(0);
        if reply.value(&volume).is_ok() && volumes == 1 && bytes >= WRITTEN {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{volumes} volumes, {bytes} bytes: {}", reply.body);
        thread::sleep(Duration::from_millis(300));
    }
}
