//! PURE: the pods of the node as the engine knows them: by their cgroups, what they are called, and the volumes that they use.

use std::{collections::BTreeMap, sync::Arc};

use super::{Effect, Engine};
use crate::{
    correlate::Sighting,
    decode::Fact,
    pods::{
        PodCgroup, PodUid,
        cgroup_path::{Owner, PodName},
        named::Named,
    },
};

/// A pod.
#[derive(Clone, Debug)]
pub struct KnownPod<'a> {
    /// Its uid.
    pub uid: &'a PodUid,
    /// Its cgroup; `None` while it has none.
    pub cgroup: Option<&'a PodCgroup>,
    /// What its runtime calls it, by any of its containers.
    pub named: Option<Arc<Named>>,
    /// The volumes that it uses.
    pub uses: Vec<&'a Sighting>,
}

impl Engine {
    /// All that have a cgroup or use a volume; none when nothing is limited.
    pub fn known_pods(&self) -> Vec<KnownPod<'_>> {
        let Some(limiter) = &self.limiter else { return Vec::new() };
        let mut pods: BTreeMap<&PodUid, KnownPod<'_>> = BTreeMap::new();
        let known = |uid| KnownPod { uid, cgroup: None, named: self.called(uid), uses: Vec::new() };
        for (uid, cgroup) in limiter.pods() {
            pods.entry(uid).or_insert_with(|| known(uid)).cgroup = Some(cgroup);
        }
        for sighting in limiter.uses() {
            pods.entry(&sighting.pod_uid).or_insert_with(|| known(&sighting.pod_uid)).uses.push(sighting);
        }
        pods.into_values().collect()
    }

    fn called(&self, uid: &PodUid) -> Option<Arc<Named>> {
        let pod = PodName { uid: uid.clone(), qos: None };
        self.asking.naming.name_of(&Owner { pod: Some(pod), container: None })
    }

    /// A volume that was mounted before the agent was there is a pod's like another.
    pub(super) fn seeded(&mut self, fact: &Fact, now_ns: u64) -> Vec<Effect> {
        match fact {
            Fact::Seed { mount, .. } => self.limit(|limiter| limiter.seeded(mount, now_ns)),
            _ => Vec::new(),
        }
    }
}
