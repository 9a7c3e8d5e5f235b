//! PURE: what is to be asked for next, given what pods use: a watch on each claim's name while there is room for watches, beyond that a look
//! now and then, and each volume once. Touches nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::pods::{
    PodUid,
    objects::{ClaimKey, Pod},
    view::{MOST_PODS, Update},
};

/// Claims that are watched at once: each watch is a stream at the API server for as long as its pod lives.
pub const WATCHES: usize = 64;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Watch this claim; a look that was going on ends.
    Watch(ClaimKey),
    /// Look at this claim now and then.
    Look(ClaimKey),
    /// Nobody uses this claim any more.
    Leave(ClaimKey),
    /// Fetch this volume, which the claim with this uid is bound to.
    Fetch(Box<str>, Box<str>),
    /// Nobody uses this volume any more.
    Drop(Box<str>),
}

/// A claim that somebody uses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    watched: bool,
    /// The volume that it is bound to, and the claim's own uid.
    bound: Option<(Box<str>, Box<str>)>,
}

/// What is being asked for.
#[derive(Debug, Default)]
pub struct Plan {
    /// The claims of the pods that are not over.
    pods: HashMap<PodUid, Vec<ClaimKey>>,
    claims: BTreeMap<ClaimKey, Asked>,
}

impl Plan {
    /// Takes what the API server told; what is to be done for it.
    pub fn take(&mut self, update: &Update) -> Vec<Step> {
        match update {
            Update::Pods(pods) => {
                self.pods.clear();
                for pod in pods {
                    self.put(pod);
                }
            }
            Update::Pod(pod) => self.put(pod),
            Update::PodGone(uid) => drop(self.pods.remove(uid)),
            Update::Claim(claim) => {
                let bound = claim.volume.clone().map(|volume| (volume, claim.uid.clone()));
                return self.bind(&claim.key, bound);
            }
            Update::ClaimGone(key) => return self.bind(key, None),
            Update::Volume(_)
            | Update::VolumeGone(_)
            | Update::Classes(..)
            | Update::Class(..)
            | Update::ClassGone(..) => return Vec::new(),
        }
        self.settle()
    }

    fn put(&mut self, pod: &Pod) {
        if pod.over {
            self.pods.remove(&pod.uid);
        } else if self.pods.len() < MOST_PODS || self.pods.contains_key(&pod.uid) {
            self.pods.insert(pod.uid.clone(), pod.claims().collect());
        }
    }

    /// A claim is bound to this volume now.
    fn bind(&mut self, key: &ClaimKey, bound: Option<(Box<str>, Box<str>)>) -> Vec<Step> {
        let Some(asked) = self.claims.get_mut(key) else { return Vec::new() };
        if asked.bound == bound {
            return Vec::new();
        }
        let before = std::mem::replace(&mut asked.bound, bound.clone());
        let left = before.filter(|(volume, _)| !self.is_bound(volume)).map(|(volume, _)| Step::Drop(volume));
        let fetch = bound.map(|(volume, uid)| Step::Fetch(volume, uid));
        left.into_iter().chain(fetch).collect()
    }

    /// Leaves what nobody uses, then asks for what is new.
    fn settle(&mut self) -> Vec<Step> {
        let wanted: BTreeSet<&ClaimKey> = self.pods.values().flatten().collect();
        let left: Vec<(ClaimKey, Asked)> = self.claims.extract_if(.., |key, _| !wanted.contains(key)).collect();
        let new: Vec<ClaimKey> = wanted.into_iter().filter(|key| !self.claims.contains_key(*key)).cloned().collect();
        let mut steps = Vec::new();
        for (key, asked) in left {
            steps.push(Step::Leave(key));
            steps.extend(asked.bound.filter(|(volume, _)| !self.is_bound(volume)).map(|(name, _)| Step::Drop(name)));
        }
        for key in &new {
            self.claims.insert(key.clone(), Asked::default());
        }
        let mut room = WATCHES - self.claims.values().filter(|asked| asked.watched).count();
        for (key, asked) in &mut self.claims {
            if !asked.watched && room > 0 {
                (asked.watched, room) = (true, room - 1);
                steps.push(Step::Watch(key.clone()));
            } else if !asked.watched && new.contains(key) {
                steps.push(Step::Look(key.clone()));
            }
        }
        steps
    }

    fn is_bound(&self, volume: &str) -> bool {
        self.claims.values().filter_map(|asked| asked.bound.as_ref()).any(|(bound, _)| **bound == *volume)
    }
}

#[cfg(test)]
mod tests;
