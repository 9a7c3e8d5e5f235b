//! PURE: the series of what is asked of Kubernetes, and of what it tells. All are there at 0 where nobody asks.

use super::{Figures, Sample, sample};
use crate::{
    engine::Joined,
    pods::{
        asked::{Counted, FAULTS, RESOURCES},
        view::Known,
    },
};

/// What is known of pods, and how.
#[derive(Clone, Debug, Default)]
pub struct KubernetesFigures {
    /// How much is known.
    pub known: Known,
    /// What became of the volumes.
    pub joined: Joined,
    /// What was asked.
    pub counted: Counted,
}

pub(super) fn objects(figures: &Figures) -> Vec<Sample> {
    let Known { pods, claims, volumes, classes, .. } = figures.kubernetes.known;
    let kinds = [("pods", pods), ("claims", claims), ("volumes", volumes), ("classes", classes)];
    kinds.into_iter().map(|(kind, objects)| sample([kind], objects as u64)).collect()
}

pub(super) fn mounts(figures: &Figures) -> Vec<Sample> {
    figures.kubernetes.joined.by_name().map(|(result, volumes)| sample([result], volumes)).collect()
}

pub(super) fn requests(figures: &Figures) -> Vec<Sample> {
    let of = |resource: &'static str| sample([resource], figures.kubernetes.counted.requests_about(resource));
    RESOURCES.into_iter().map(of).collect()
}

pub(super) fn failures(figures: &Figures) -> Vec<Sample> {
    let faults = &figures.kubernetes.counted.faults;
    let both = RESOURCES.into_iter().flat_map(|resource| FAULTS.map(|fault| (resource, fault)));
    both.map(|key| sample([key.0, key.1], faults.get(&key).copied().unwrap_or_default())).collect()
}
