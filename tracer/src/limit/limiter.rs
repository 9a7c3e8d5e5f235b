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

mod reload;
mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::reload::{Release, Use};
use self::rules::Asked;

use super::{
    Limits,
    decide::{Decision, Outcome, Question, Reason, Verdict, decide, without_pod},
    ledger::{Key, Ledger},
    order::{Found, Inspected, Order, Ticket, Written},
    policy::{Choice, Policy},
};
use crate::{
    clock::Clock,
    correlate::{Kubelet, Sighting, sightings},
    operation::{EffectKind, Operation},
    pods::{PodCgroup, PodUid, cgroup_path::pod_of},
    waiting::Waiting,
};

/// Looks at a cgroup that is about to appear: `cgroup_mkdir` is traced just before the directory can be opened. The
/// first after a millisecond, then twice as long each time, a second in all.
const LOOKS: u32 = 10;
const FIRST_LOOK_NS: u64 = 1_000_000;

/// What made an attempt begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// The volume was mounted: the time from there to the limit tells something.
    Mounted,
    /// The pod's cgroup was made, and cannot be opened yet.
    Announced,
    /// The policy has changed.
    Again,
}

#[derive(Debug)]
struct Attempt {
    sighting: Sighting,
    cgroup: PodCgroup,
    rule: String,
    wanted: Limits,
    start: Start,
    /// Looks so far at a cgroup that was announced; `None` for one that was known before.
    looks: Option<u32>,
    /// When to look again.
    look_at_ns: Option<u64>,
    /// Set by the inspection.
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: Key,
    current: Option<Limits>,
}

/// The limiter's state.
#[derive(Debug)]
pub struct Limiter {
    policy: Policy,
    kubelet: Kubelet,
    clock: Clock,
    pods: BTreeMap<PodUid, PodCgroup>,
    waiting: Waiting,
    ledger: Ledger,
    /// Every volume in use, by its path.
    uses: BTreeMap<Vec<u8>, Use>,
    lookups: HashMap<Ticket, Asked>,
    attempts: HashMap<Ticket, Attempt>,
    tickets: Ticket,
    /// A policy that is not valid yet.
    next: Option<Policy>,
    /// Limits that the policy does not want any more.
    releases: HashMap<Ticket, Release>,
    /// When the last release has ended, all volumes are decided again; the cgroups of these were only announced.
    announced: Option<BTreeSet<Vec<u8>>>,
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
        let mut orders: Vec<Order> = sightings(operation, &self.kubelet)
            .into_iter()
            .flat_map(|sighting| match sighting.kind {
                EffectKind::Attach | EffectKind::Move => {
                    self.remember(&sighting);
                    self.begin(sighting, Start::Mounted, now_ns)
                }
                EffectKind::Change => Vec::new(),
                EffectKind::Detach => self.unmounted(&sighting.path),
            })
            .collect();
        orders.extend(self.take_up(now_ns));
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
        for sighting in self.waiting.take(&pod) {
            self.attempt(sighting, cgroup.clone(), Start::Announced, now_ns);
        }
        Vec::new()
    }

    /// A cgroup was removed, and with it all that was limited there.
    pub fn cgroup_removed(&mut self, id: u64) -> Vec<Order> {
        for (pod, _) in self.pods.extract_if(.., |_, cgroup| cgroup.id == id) {
            self.uses.retain(|_, used| used.sighting.pod_uid != pod);
        }
        self.ledger.forget_cgroup(id);
        Vec::new()
    }

    /// A volume is not used there any more: what was still to be done for it is not.
    fn unmounted(&mut self, path: &[u8]) -> Vec<Order> {
        self.uses.remove(path);
        self.waiting.forget(path);
        self.lookups.retain(|_, asked| asked.sighting.path != path);
        self.attempts
            .extract_if(|_, attempt| attempt.sighting.path == path)
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

    fn attempt_inspected(&mut self, ticket: Ticket, inspected: &Inspected, now_ns: u64) -> Vec<Order> {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return vec![Order::Close(ticket)] };
        let absent = matches!(&inspected.cgroup, Some(Err((Reason::CgroupGone | Reason::IoControllerOff, _))));
        if let Some(looks) = attempt.looks.filter(|looks| absent && *looks < LOOKS) {
            attempt.looks = Some(looks + 1);
            attempt.look_at_ns = Some(now_ns + (FIRST_LOOK_NS << looks));
            return vec![Order::Close(ticket)];
        }
        if let Some(Err((Reason::CgroupGone, _))) = &inspected.cgroup {
            return self.cgroup_is_gone(ticket, now_ns);
        }
        match self.verdict(ticket, inspected) {
            Ok(Verdict::Write(limits)) => vec![Order::Write { ticket, limits }],
            Ok(Verdict::Observe(limits)) => {
                self.end(ticket, Outcome::Observed, Reason::Matched, Some(limits), None, now_ns)
            }
            Ok(Verdict::AlreadyInForce) => {
                let outcome = match self.policy.mode {
                    super::policy::Mode::Observe => Outcome::Observed,
                    super::policy::Mode::Enforce => Outcome::Applied,
                };
                self.end(ticket, outcome, Reason::AlreadyInForce, None, None, now_ns)
            }
            Ok(Verdict::Refuse(reason)) => {
                let detail = refusal(reason, inspected);
                self.end(ticket, Outcome::Refused, reason, None, detail, now_ns)
            }
            Err((reason, detail)) => self.end(ticket, Outcome::Refused, reason, None, Some(detail), now_ns),
        }
    }

    /// The node has answered an [`Order::Write`].
    pub fn written(&mut self, ticket: Ticket, written: Written, now_ns: u64) -> Vec<Order> {
        let released = self.release_written(ticket, &written, now_ns);
        let mut orders = released.unwrap_or_else(|| self.attempt_written(ticket, written, now_ns));
        orders.extend(self.take_up(now_ns));
        orders
    }

    fn attempt_written(&mut self, ticket: Ticket, written: Written, now_ns: u64) -> Vec<Order> {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return vec![Order::Close(ticket)] };
        let Written { in_force, read_back_ns } = written;
        match in_force {
            Ok(in_force) => {
                let end_ns = attempt.sighting.end_ns;
                // A limit that waited for its cgroup, or for its rule, says nothing about how long a limit takes.
                let took_us = (attempt.start == Start::Mounted).then(|| read_back_ns.saturating_sub(end_ns) / 1000);
                if let Some(place) = &mut attempt.place {
                    place.current = Some(in_force);
                    self.ledger.wrote(place.key, in_force);
                    // Another volume on this disk may have been decided since this write was ordered.
                    let wanted = self.ledger.effective(place.key).unwrap_or(in_force);
                    if wanted != in_force {
                        attempt.wanted = wanted;
                        return vec![Order::Write { ticket, limits: wanted }];
                    }
                }
                let mut orders =
                    self.end(ticket, Outcome::Applied, Reason::Matched, Some(in_force), None, read_back_ns);
                for order in &mut orders {
                    if let Order::Decide(decision) = order {
                        decision.mount_to_limit_us = took_us;
                    }
                }
                orders
            }
            Err((reason, detail)) => self.end(ticket, Outcome::Refused, reason, None, Some(detail), now_ns),
        }
    }

    /// Time has come.
    pub fn deadline(&mut self, now_ns: u64) -> Vec<Order> {
        let mut orders: Vec<Order> = Vec::new();
        for sighting in self.waiting.expire(now_ns) {
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

    fn attempt(&mut self, sighting: Sighting, cgroup: PodCgroup, start: Start, now_ns: u64) -> Option<Order> {
        let (rule, wanted) = self.rule(&sighting)?;
        let announced = start == Start::Announced;
        let (looks, look_at_ns) = (announced.then_some(0), announced.then_some(now_ns + FIRST_LOOK_NS));
        self.tickets += 1;
        let ticket = self.tickets;
        let order = Order::Inspect { ticket, cgroup: cgroup.clone(), dev: sighting.dev };
        let attempt = Attempt { sighting, cgroup, rule, wanted, start, looks, look_at_ns, place: None };
        self.attempts.insert(ticket, attempt);
        look_at_ns.is_none().then_some(order)
    }

    /// The pod that this cgroup was of has ended; another of its uid may come.
    fn cgroup_is_gone(&mut self, ticket: Ticket, now_ns: u64) -> Vec<Order> {
        let mut orders = vec![Order::Close(ticket)];
        if let Some(attempt) = self.attempts.remove(&ticket) {
            self.pods.remove(&attempt.sighting.pod_uid);
            orders.push(self.wait(attempt.sighting, now_ns));
        }
        orders
    }

    fn verdict(&mut self, ticket: Ticket, inspected: &Inspected) -> Result<Verdict, (Reason, String)> {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return Ok(Verdict::Refuse(Reason::CgroupGone)) };
        let protected = match &inspected.protected {
            Ok(protected) => protected,
            Err(detail) => return Err((Reason::DiskUnreadable, detail.clone())),
        };
        let mut wanted = attempt.wanted;
        let (mut current, mut ours) = (None, None);
        if let (Ok(disk), Some(cgroup)) = (&inspected.disk, &inspected.cgroup) {
            let Found { cgroup_id, current: found } = cgroup.clone()?;
            let key = Key::new(cgroup_id, disk);
            wanted = self.ledger.want(key, &attempt.sighting.volume, wanted);
            (current, ours) = (found, self.ledger.ours(key));
            attempt.wanted = wanted;
            attempt.place = Some(Place { key, current });
            if let Some(used) = self.uses.get_mut(&attempt.sighting.path) {
                used.key = Some(key);
            }
        }
        Ok(decide(&Question {
            mode: self.policy.mode,
            take_over: self.policy.take_over,
            wanted,
            disk: inspected.disk.as_ref().map_err(|(no_disk, _)| *no_disk),
            protected,
            current,
            ours,
        }))
    }

    /// Ends an attempt with what became of it.
    fn end(
        &mut self,
        ticket: Ticket,
        decision: Outcome,
        reason: Reason,
        wanted: Option<Limits>,
        detail: Option<String>,
        now_ns: u64,
    ) -> Vec<Order> {
        let Some(attempt) = self.attempts.remove(&ticket) else { return vec![Order::Close(ticket)] };
        let current = attempt.place.map(|place| place.current.unwrap_or(Limits::NONE));
        let decision = Decision {
            time: self.clock.timestamp(now_ns),
            pod_uid: attempt.sighting.pod_uid,
            volume: attempt.sighting.volume,
            disk: Some(attempt.place.map_or(attempt.sighting.dev, |place| place.key.disk)),
            cgroup: Some(attempt.cgroup.path),
            decision,
            reason,
            rule: Some(attempt.rule),
            wanted: Some(wanted.unwrap_or(attempt.wanted)),
            in_force: current,
            mount_to_limit_us: None,
            detail,
        };
        vec![Order::Close(ticket), Order::Decide(Box::new(decision))]
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

/// What to tell of a refusal beyond its reason.
fn refusal(reason: Reason, inspected: &Inspected) -> Option<String> {
    match (reason, &inspected.disk, &inspected.protected) {
        (_, Err((_, detail)), _) => Some(detail.clone()),
        (Reason::ProtectedDisk, Ok(disk), Ok(protected)) => protected.get(&disk.dev).cloned(),
        (Reason::ForeignLimit, ..) => {
            Some("io.max has a line for this disk that this agent did not write; takeOver: true replaces it".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
