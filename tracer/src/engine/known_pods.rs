//! PURE: the pods of the node as the engine knows them: by their cgroups, what they are called, and the volumes that they use.

use std::collections::BTreeMap;

use super::{Effect, Engine};
use crate::{
    correlate::Sighting,
    decode::Fact,
    pods::{
        PodCgroup, PodUid,
        cgroup_path::{Owner, PodName},
        view::{Claimed, Whose, Why},
    },
};

/// A pod.
#[derive(Clone, Debug)]
pub struct KnownPod<'a> {
    /// Its uid.
    pub uid: &'a PodUid,
    /// Its cgroup; `None` while it has none.
    pub cgroup: Option<&'a PodCgroup>,
    /// Its namespace and name, as its runtime says them by any of its containers, or else Kubernetes.
    pub named: Option<(String, String)>,
    /// The volumes that it uses.
    pub uses: Vec<KnownUse<'a>>,
}

/// A volume in use.
#[derive(Clone, Debug)]
pub struct KnownUse<'a> {
    /// Where it was seen.
    pub sighting: &'a Sighting,
    /// Whose it is by Kubernetes, or why that is not known; `None` where nobody asks it.
    pub whose: Option<Result<Whose<'a>, Why>>,
}

impl<'a> KnownUse<'a> {
    /// The claim that it is of, where Kubernetes has told it.
    pub fn claimed(&self) -> Option<Claimed<'a>> {
        match self.whose {
            Some(Ok(Whose::Claim(claimed))) => Some(claimed),
            _ => None,
        }
    }

    /// Why it is not known whose it is.
    pub fn why(&self) -> Option<Why> {
        self.whose.as_ref()?.as_ref().err().copied()
    }
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
            pods.entry(&sighting.pod_uid).or_insert_with(|| known(&sighting.pod_uid)).uses.push(self.used(sighting));
        }
        pods.into_values().collect()
    }

    fn called(&self, uid: &PodUid) -> Option<(String, String)> {
        let pod = PodName { uid: uid.clone(), qos: None };
        let named = self.asking.naming.name_of(&Owner { pod: Some(pod), container: None });
        let by_runtime = named.map(|named| (named.namespace.clone(), named.pod.clone()));
        by_runtime.or_else(|| {
            let pod = self.pods()?.pod(uid).ok()?;
            Some((pod.namespace.to_string(), pod.name.to_string()))
        })
    }

    fn used<'a>(&'a self, sighting: &'a Sighting) -> KnownUse<'a> {
        let whose = self.pods().map(|view| view.claim_of(&sighting.pod_uid, &sighting.volume));
        KnownUse { sighting, whose }
    }

    /// A volume that was mounted before the agent was there is a pod's like another.
    pub(super) fn seeded(&mut self, fact: &Fact, now_ns: u64) -> Vec<Effect> {
        match fact {
            Fact::Seed { mount, .. } => self.limit(|limiter| limiter.seeded(mount, now_ns)),
            _ => Vec::new(),
        }
    }
}
