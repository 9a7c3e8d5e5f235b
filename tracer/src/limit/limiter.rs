//! PURE: from a volume in use to a limit: looks up the pod's cgroup, waits for it, asks for the disk, decides, orders the
//! write, and says what became of it.
//!
//! ```text
//!  mounted --> no cgroup --> waiting --(cgroup_mkdir)--+        waiting --(60 s)--> refused: no_such_pod
//!     |                                                v
//!     +------- cgroup known ----------------------> Inspect --> decide --> Write --> applied
//!                                                      ^            |          +---> refused
//!                                   (not there yet) ---+            +---> observed, refused
//! ```

mod attempt;
mod reload;
mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::{
    attempt::{Attempt, Start},
    reload::{Release, Use},
    rules::Asked,
};
use super::{
    decide::{Decision, without_pod},
    ledger::Ledger,
    order::{Inspected, Order, Ticket, Written},
    policy::{Choice, Policy},
};
use crate::{
    clock::Clock,
    correlate::{Kubelet, Sighting, sighting},
    operation::{Effect, EffectKind, Mount, MountKey, Operation},
    pods::{PodCgroup, PodUid, cgroup_path::pod_of},
    waiting::Waiting,
};

/// The limiter's state.
#[derive(Debug)]
pub struct Limiter {
    policy: Policy,
    kubelet: Kubelet,
    clock: Clock,
    pods: BTreeMap<PodUid, PodCgroup>,
    waiting: Waiting,
    ledger: Ledger,
    /// Every volume in use, by its mount.
    uses: BTreeMap<MountKey, Use>,
    lookups: HashMap<Ticket, Asked>,
    attempts: HashMap<Ticket, Attempt>,
    tickets: Ticket,
    /// A policy that is not valid yet.
    next: Option<Policy>,
    /// Limits that the policy does not want any more.
    releases: HashMap<Ticket, Release>,
    /// When the last release has ended, all volumes are decided again; the cgroups of these were only announced.
    announced: Option<BTreeSet<MountKey>>,
}

impl Limiter {
    /// `pods` are the cgroups of the pods that are there already.
    pub fn new(policy: Policy, kubelet: Kubelet, clock: Clock, pods: Vec<(PodUid, PodCgroup)>) -> Self {
        Self {
            policy,
            kubelet,
            clock,
            pods: pods.into_iter().collect(),
            waiting: Waiting::default(),
            ledger: Ledger::default(),
            uses: BTreeMap::new(),
            lookups: HashMap::new(),
            attempts: HashMap::new(),
            tickets: 0,
            next: None,
            releases: HashMap::new(),
            announced: None,
        }
    }

    /// An operation has ended.
    pub fn operation(&mut self, operation: &Operation, now_ns: u64) -> Vec<Order> {
        let effects = operation.effects.as_deref().unwrap_or_default();
        let mut orders = Vec::new();
        for effect in effects.iter().filter(|effect| effect.kind != EffectKind::Change) {
            orders.extend(self.effect(effect, operation.end_ns, now_ns));
        }
        orders.extend(self.take_up(now_ns));
        orders
    }

    /// A mount is there, told by a reading of its table: it may have been there before, or be one whose record was lost.
    pub fn seeded(&mut self, mount: &Mount, now_ns: u64) -> Vec<Order> {
        let key = mount.key();
        let sighting = sighting(mount, now_ns, &self.kubelet);
        let what = |one: &Sighting| (one.pod_uid.clone(), one.volume.clone(), one.dev);
        let known = self.uses.get(&key).map(|used| what(&used.sighting));
        if known == sighting.as_ref().map(what) {
            return Vec::new();
        }
        // Before Linux 6.8 the number may be another mount's by now.
        let mut orders = self.not_used(key);
        let Some(sighting) = sighting else { return orders };
        self.remember(&sighting);
        orders.extend(self.begin(sighting, Start::Again, now_ns));
        orders
    }

    /// The pods that have a cgroup.
    pub fn pods(&self) -> impl Iterator<Item = (&PodUid, &PodCgroup)> {
        self.pods.iter()
    }

    /// The volumes in use.
    pub fn uses(&self) -> impl Iterator<Item = &Sighting> {
        self.uses.values().map(|used| &used.sighting)
    }

    /// The volumes in use that an operation mounts, or moves.
    pub fn sightings(&self, operation: &Operation) -> impl Iterator<Item = Sighting> {
        let effects = operation.effects.as_deref().unwrap_or_default().iter();
        let mounts = effects.filter(|effect| matches!(effect.kind, EffectKind::Attach | EffectKind::Move));
        mounts.filter_map(|effect| sighting(&effect.mount, operation.end_ns, &self.kubelet))
    }

    /// A mount goes by its key, wherever it was: its path may not be known any more, or be that of another one.
    fn effect(&mut self, effect: &Effect, end_ns: u64, now_ns: u64) -> Vec<Order> {
        let mut orders = self.not_used(effect.mount.key());
        let sighting = sighting(&effect.mount, end_ns, &self.kubelet).filter(|_| effect.kind != EffectKind::Detach);
        if let Some(sighting) = sighting {
            self.remember(&sighting);
            orders.extend(self.begin(sighting, Start::Mounted, now_ns));
        }
        orders
    }

    /// A cgroup was made, by whom. Only root's are believed: a user who was given a part of the hierarchy may give a
    /// cgroup there any name. The first of a pod's name is the pod's until it is removed.
    pub fn cgroup_made(&mut self, path: &[u8], id: u64, uid: u32, now_ns: u64) -> Vec<Order> {
        let Some((pod, path)) = str::from_utf8(path).ok().and_then(|path| Some((pod_of(path)?, path))) else {
            return Vec::new();
        };
        if uid != 0 || self.pods.contains_key(&pod) {
            return Vec::new();
        }
        let cgroup = PodCgroup { path: path.to_owned(), id };
        self.pods.insert(pod.clone(), cgroup.clone());
        let waited = self.waiting.take(&pod);
        let tried = self.attempts.values().map(|attempt| attempt.sighting.mount);
        let known: BTreeSet<MountKey> = waited.iter().map(|sighting| sighting.mount).chain(tried).collect();
        // Those of an earlier cgroup of the pod, or that nobody waited for any longer.
        let others = self.uses.values().map(|used| &used.sighting);
        let others = others.filter(|other| other.pod_uid == pod && !known.contains(&other.mount));
        let sightings: Vec<Sighting> = others.cloned().chain(waited).collect();
        for sighting in sightings {
            self.attempt(sighting, cgroup.clone(), Start::Announced, now_ns);
        }
        Vec::new()
    }

    /// A cgroup was removed, and with it all that was limited there. What the pod has mounted may outlive it: another
    /// cgroup of the pod may come.
    pub fn cgroup_removed(&mut self, id: u64) -> Vec<Order> {
        for (pod, _) in self.pods.extract_if(.., |_, cgroup| cgroup.id == id) {
            for used in self.uses.values_mut().filter(|used| used.sighting.pod_uid == pod) {
                used.key = None;
            }
        }
        self.ledger.forget_cgroup(id);
        Vec::new()
    }

    /// This mount is no volume in use, or not any more: what was still to be done for it is not.
    fn not_used(&mut self, mount: MountKey) -> Vec<Order> {
        self.uses.remove(&mount);
        self.waiting.forget(mount);
        self.lookups.retain(|_, asked| asked.sighting.mount != mount);
        self.attempts
            .extract_if(|_, attempt| attempt.sighting.mount == mount)
            .map(|(ticket, _)| Order::Close(ticket))
            .collect()
    }

    /// The node has answered an [`Order::Inspect`].
    pub fn inspected(&mut self, ticket: Ticket, inspected: &Inspected, now_ns: u64) -> Vec<Order> {
        let released = self.release_inspected(ticket, inspected, now_ns);
        let mut orders = released.unwrap_or_else(|| self.attempt_inspected(ticket, inspected, now_ns));
        orders.extend(self.take_up(now_ns));
        orders
    }

    /// The node has answered an [`Order::Write`].
    pub fn written(&mut self, ticket: Ticket, written: Written, now_ns: u64) -> Vec<Order> {
        let released = self.release_written(ticket, &written, now_ns);
        let mut orders = released.unwrap_or_else(|| self.attempt_written(ticket, written, now_ns));
        orders.extend(self.take_up(now_ns));
        orders
    }

    /// Time has come. What happened up to `read_until_ns` is known here: a cgroup that was made later is not missing yet.
    pub fn deadline(&mut self, now_ns: u64, read_until_ns: u64) -> Vec<Order> {
        let mut orders: Vec<Order> = Vec::new();
        for sighting in self.waiting.expire(read_until_ns) {
            orders.push(self.without_cgroup(&sighting, u64::MAX, None, now_ns));
        }
        for (ticket, attempt) in &mut self.attempts {
            if attempt.look_at_ns.is_some_and(|at| at <= now_ns) {
                attempt.look_at_ns = None;
                let (cgroup, dev) = (attempt.cgroup.clone(), attempt.sighting.dev);
                orders.push(Order::Inspect { ticket: *ticket, cgroup, dev });
            }
        }
        orders
    }

    /// When [`Self::deadline`] wants to be called next, `CLOCK_BOOTTIME` in nanoseconds.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let looks = self.attempts.values().filter_map(|attempt| attempt.look_at_ns);
        looks.chain(self.waiting.next_expiry_ns()).min()
    }

    fn begin(&mut self, sighting: Sighting, start: Start, now_ns: u64) -> Vec<Order> {
        match self.choose(&sighting) {
            Choice::Nothing => return Vec::new(),
            Choice::Ask => return vec![self.ask(Asked { sighting, begin: true })],
            Choice::Rule(..) => {}
        }
        match self.pods.get(&sighting.pod_uid).cloned() {
            Some(cgroup) => self.attempt(sighting, cgroup, start, now_ns).into_iter().collect(),
            None => vec![self.wait(sighting, now_ns)],
        }
    }

    fn wait(&mut self, sighting: Sighting, now_ns: u64) -> Order {
        let order = self.without_cgroup(&sighting, 0, None, now_ns);
        match self.waiting.push(sighting, now_ns) {
            Ok(()) => order,
            Err(sighting) => {
                let detail = "too many volumes wait for their pods already".to_owned();
                self.without_cgroup(&sighting, u64::MAX, Some(detail), now_ns)
            }
        }
    }

    fn without_cgroup(&self, sighting: &Sighting, waited_us: u64, detail: Option<String>, now_ns: u64) -> Order {
        let (decision, reason) = without_pod(waited_us);
        let (rule, wanted) = self.rule(sighting).unzip();
        Order::Decide(Box::new(Decision {
            time: self.clock.timestamp(now_ns),
            pod_uid: sighting.pod_uid.clone(),
            volume: sighting.volume.clone(),
            disk: Some(sighting.dev),
            cgroup: None,
            decision,
            reason,
            rule,
            wanted,
            in_force: None,
            mount_to_limit_us: None,
            detail,
        }))
    }
}

#[cfg(test)]
mod tests;
