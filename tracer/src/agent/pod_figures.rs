//! What metrics tell of pods: their volumes and disks, and what they have read and written there. Reads the node when somebody scrapes.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use super::CGROUP_ROOT;
use crate::{
    correlate::Sighting,
    device::Dev,
    engine::{KnownPod, KnownUse},
    host::{
        block::Block,
        io_stat,
        volume::{self, Described},
    },
    operation::MountKey,
    output::metrics::{PodFigure, VolumeFigure},
};

const PROC: &str = "/proc";

/// Reads figures of pods.
pub(super) struct PodFigures {
    block: Block,
    kubelet_dir: PathBuf,
    /// What does not change while a volume is mounted.
    described: HashMap<MountKey, Option<Described>>,
}

impl PodFigures {
    pub(super) fn new(kubelet_dir: PathBuf) -> Self {
        Self { block: Block::new("/sys", PROC), kubelet_dir, described: HashMap::new() }
    }

    /// Of all pods. What cannot be read is missing.
    pub(super) fn read(&mut self, pods: &[KnownPod<'_>]) -> Vec<PodFigure> {
        let mounts: BTreeSet<MountKey> =
            pods.iter().flat_map(|pod| &pod.uses).map(|used| used.sighting.mount).collect();
        self.described.retain(|mount, _| mounts.contains(mount));
        let mut users: HashMap<Dev, BTreeSet<&str>> = HashMap::new();
        for pod in pods {
            for used in &pod.uses {
                users.entry(used.sighting.dev).or_default().insert(pod.uid.as_str());
            }
        }
        pods.iter().map(|pod| self.of_pod(pod, |dev| users.get(&dev).is_some_and(|pods| pods.len() > 1))).collect()
    }

    fn of_pod(&mut self, pod: &KnownPod<'_>, is_shared: impl Fn(Dev) -> bool) -> PodFigure {
        let volumes = pod.uses.iter().map(|used| self.volume(used, is_shared(used.sighting.dev))).collect();
        let stats = pod.cgroup.and_then(|cgroup| io_stat::of_cgroup(Path::new(CGROUP_ROOT), &cgroup.path).ok());
        let io = stats.unwrap_or_default().into_iter().filter_map(|(dev, stat)| Some((self.device(dev)?, stat)));
        PodFigure { named: pod.named.clone(), volumes, io: io.collect() }
    }

    /// By the words of Kubernetes where it has told of it, else by those of the kubelet's directory.
    fn volume(&mut self, used: &KnownUse<'_>, shares_disk: bool) -> VolumeFigure {
        let described = self.described(used.sighting);
        let is_persistent = described.as_ref().is_some_and(|described| described.is_persistent == Some(true));
        let by_directory = is_persistent.then(|| used.sighting.volume.clone());
        let claim = used.claimed().map(|claimed| claimed.claim);
        let bound = claim.and_then(|claim| claim.volume.as_ref()).map(ToString::to_string);
        VolumeFigure {
            claim: claim.map(|claim| claim.key.name.to_string()),
            persistent_volume: bound.or(by_directory),
            driver: described.map(|described| described.driver),
            device: self.device(used.sighting.dev),
            shared: shares_disk || used.claimed().is_some_and(|claimed| claimed.shared),
        }
    }

    fn device(&self, dev: Dev) -> Option<String> {
        self.block.whole_disk(dev).ok().map(|disk| disk.name)
    }

    fn described(&mut self, sighting: &Sighting) -> Option<Described> {
        let found = self.described.entry(sighting.mount).or_insert_with(|| {
            let plugin = sighting.plugin.as_deref();
            let proc = Path::new(PROC);
            volume::describe(proc, &self.kubelet_dir, &sighting.pod_uid, plugin, &sighting.volume).ok().flatten()
        });
        found.clone()
    }
}
