//! PURE: a new policy reaches what is there already: limits that it does not want are taken off, and every volume in use is
//! decided again.
//!
//! ```text
//!  new policy --> look up what its rules depend on --> valid --> release what it does not want --> decide all volumes again
//! ```
//!
//! The old policy is valid until all is known that the new one depends on, so that no volume falls between the two; and
//! nothing is decided again before the last release has ended, so that no decision sees what is about to go.

use std::collections::BTreeSet;

use super::{
    Limiter, Start,
    rules::{Asked, volume_ref},
};
use crate::{
    correlate::Sighting,
    host::NoDisk,
    limit::{
        Limits,
        decide::{Decision, Outcome, Reason},
        ledger::Key,
        order::{Inspected, Order, Ticket, Written},
        policy::{Choice, Mode, Policy},
    },
    operation::MountKey,
    pods::{PodCgroup, PodUid},
};

/// Volumes in use that are remembered; a node has some hundreds. One above is limited all the same, but a new policy does
/// not reach it.
const MAX_USES: usize = 16384;

/// A volume that is mounted for a pod.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) sighting: Sighting,
    /// Where its limit holds, once that was looked at.
    pub(super) key: Option<Key>,
}

/// A limit of ours that is to go.
#[derive(Debug)]
pub(super) struct Release {
    key: Key,
    pod: PodUid,
    cgroup: PodCgroup,
    ours: Limits,
}

impl Limiter {
    /// The policy's file has changed, and its new text is a policy.
    pub fn policy_changed(&mut self, policy: Policy, now_ns: u64) -> Vec<Order> {
        self.next = Some(policy);
        self.take_up(now_ns)
    }

    /// Notes a volume in use.
    pub(super) fn remember(&mut self, sighting: &Sighting) {
        if self.uses.len() < MAX_USES || self.uses.contains_key(&sighting.mount) {
            self.uses.insert(sighting.mount, Use { sighting: sighting.clone(), key: None });
        }
    }

    /// Makes the next policy valid, as soon as nothing is under way and all is known that its rules depend on.
    pub(super) fn take_up(&mut self, now_ns: u64) -> Vec<Order> {
        let writing = self.attempts.values().any(|attempt| attempt.place.is_some()) || !self.releases.is_empty();
        let Some(next) = self.next.take_if(|_| !writing) else { return Vec::new() };
        if next == self.policy {
            return Vec::new();
        }
        let orders = self.look_up_for(&next);
        if !self.lookups.is_empty() {
            self.next = Some(next);
            return orders;
        }
        self.make_valid(next, now_ns)
    }

    /// Asks the node for what a policy depends on and was not asked for yet.
    fn look_up_for(&mut self, policy: &Policy) -> Vec<Order> {
        let depends = |sighting: &Sighting| policy.choose(&volume_ref(sighting)) == Choice::Ask;
        let asked: BTreeSet<MountKey> = self.lookups.values().map(|asked| asked.sighting.mount).collect();
        let sightings: Vec<Sighting> = (self.uses.values())
            .map(|used| &used.sighting)
            .filter(|sighting| depends(sighting) && !asked.contains(&sighting.mount))
            .cloned()
            .collect();
        sightings.into_iter().map(|sighting| self.ask(Asked { sighting, begin: false })).collect()
    }

    fn make_valid(&mut self, policy: Policy, now_ns: u64) -> Vec<Order> {
        self.policy = policy;
        self.ledger.forget_wants();
        for used in self.uses.values() {
            if let (Some(key), Choice::Rule(_, limits)) = (used.key, self.policy.choose(&volume_ref(&used.sighting))) {
                self.ledger.want(key, &used.sighting.volume, limits);
            }
        }
        let mut orders = self.stop_attempts();
        orders.extend(self.release_the_unwanted());
        orders.extend(self.decide_again(now_ns));
        orders
    }

    /// Attempts begin anew; those whose cgroup was only announced must still wait for it.
    fn stop_attempts(&mut self) -> Vec<Order> {
        let mut announced = BTreeSet::new();
        let mut orders = Vec::new();
        for (ticket, attempt) in self.attempts.drain() {
            orders.push(Order::Close(ticket));
            if attempt.looks.is_some() {
                announced.insert(attempt.sighting.mount);
            }
        }
        self.announced = Some(announced);
        orders
    }

    fn release_the_unwanted(&mut self) -> Vec<Order> {
        let observe = self.policy.mode == Mode::Observe;
        let unwanted = self.ledger.written().filter(|(key, _)| observe || self.ledger.effective(*key).is_none());
        let releases: Vec<Release> = unwanted.filter_map(|(key, ours)| self.release_of(key, ours)).collect();
        let mut orders = Vec::new();
        for release in releases {
            self.tickets += 1;
            let (cgroup, dev) = (release.cgroup.clone(), release.key.disk);
            orders.push(Order::Inspect { ticket: self.tickets, cgroup, dev });
            self.releases.insert(self.tickets, release);
        }
        orders
    }

    /// `None` when its cgroup is not known any more.
    fn release_of(&self, key: Key, ours: Limits) -> Option<Release> {
        let (pod, cgroup) = self.pods.iter().find(|(_, cgroup)| cgroup.id == key.cgroup_id)?;
        Some(Release { key, pod: pod.clone(), cgroup: cgroup.clone(), ours })
    }

    /// Every volume in use, when the last release has ended. Those that wait for their pods go on waiting.
    fn decide_again(&mut self, now_ns: u64) -> Vec<Order> {
        let Some(announced) = self.announced.take_if(|_| self.releases.is_empty()) else { return Vec::new() };
        let mut orders = Vec::new();
        let sightings: Vec<Sighting> = self.uses.values().map(|used| used.sighting.clone()).collect();
        for sighting in sightings {
            let wanted = self.rule(&sighting).is_some();
            if self.waiting.has(sighting.mount) {
                if !wanted {
                    self.waiting.forget(sighting.mount);
                }
                continue;
            }
            let start = if announced.contains(&sighting.mount) { Start::Announced } else { Start::Again };
            orders.extend(self.begin(sighting, start, now_ns));
        }
        orders
    }

    /// The node has looked at a limit that is to go; `None` when the ticket is of no release.
    pub(super) fn release_inspected(
        &mut self,
        ticket: Ticket,
        inspected: &Inspected,
        now_ns: u64,
    ) -> Option<Vec<Order>> {
        let release = self.releases.get(&ticket)?;
        let ended = match in_force(release.key, inspected) {
            Ok(Some(current)) if current == release.ours => {
                return Some(vec![Order::Write { ticket, limits: Limits::NONE }]);
            }
            Ok(None | Some(Limits::NONE)) => Ended::NotThere,
            Ok(Some(_)) => Ended::NotOurs,
            Err((reason, detail)) => Ended::Failed(reason, detail),
        };
        Some(self.end_release(ticket, ended, now_ns))
    }

    /// The write of a release has ended; `None` when the ticket is of no release.
    pub(super) fn release_written(&mut self, ticket: Ticket, written: &Written, now_ns: u64) -> Option<Vec<Order>> {
        let ended = match &written.in_force {
            Ok(_) => Ended::TakenOff,
            Err((Reason::CgroupGone | Reason::DiskGone, _)) => Ended::NotThere,
            Err((reason, detail)) => Ended::Failed(*reason, detail.clone()),
        };
        self.releases.contains_key(&ticket).then(|| self.end_release(ticket, ended, now_ns))
    }

    /// Tells of it for each volume that had this limit. One that could not be taken off stays ours, and is tried again
    /// with the next policy.
    fn end_release(&mut self, ticket: Ticket, ended: Ended, now_ns: u64) -> Vec<Order> {
        let mut orders = vec![Order::Close(ticket)];
        let Some(release) = self.releases.remove(&ticket) else { return orders };
        let kept = matches!(ended, Ended::Failed(..));
        if let Some((decision, reason, detail)) = ended.told() {
            let in_force = (decision == Outcome::Released).then_some(Limits::NONE);
            orders.extend(self.ledger.volumes(release.key).into_iter().map(|volume| {
                Order::Decide(Box::new(Decision {
                    time: self.clock.timestamp(now_ns),
                    pod_uid: release.pod.clone(),
                    volume,
                    disk: Some(release.key.disk),
                    cgroup: Some(release.cgroup.path.clone()),
                    decision,
                    reason,
                    rule: None,
                    wanted: Some(Limits::NONE),
                    in_force,
                    mount_to_limit_us: None,
                    detail: detail.clone(),
                }))
            }));
        }
        if !kept {
            self.ledger.released(release.key);
        }
        orders.extend(self.decide_again(now_ns));
        orders
    }
}

/// How a release ended.
enum Ended {
    TakenOff,
    /// It went with its disk or its cgroup, or someone has taken it off.
    NotThere,
    /// Someone has written something else since.
    NotOurs,
    Failed(Reason, String),
}

impl Ended {
    /// What is decided, why, and the detail; `None` when there is nothing to tell.
    fn told(self) -> Option<(Outcome, Reason, Option<String>)> {
        match self {
            Self::TakenOff => Some((Outcome::Released, Reason::PolicyChanged, None)),
            Self::NotThere => None,
            Self::NotOurs => {
                let why = "io.max does not say what this agent wrote last; it is left as it is".to_owned();
                Some((Outcome::Refused, Reason::ForeignLimit, Some(why)))
            }
            Self::Failed(reason, detail) => Some((Outcome::Refused, reason, Some(detail))),
        }
    }
}

/// What the place has now; `None` when the cgroup or the disk is not there any more.
fn in_force(key: Key, inspected: &Inspected) -> Result<Option<Limits>, (Reason, String)> {
    let disk = match &inspected.disk {
        Ok(disk) if (disk.dev, disk.diskseq) == (key.disk, key.diskseq) => disk,
        Ok(_) | Err((NoDisk::Gone, _)) => return Ok(None),
        Err((no_disk, detail)) => return Err(((*no_disk).into(), detail.clone())),
    };
    match (&inspected.protected, &inspected.cgroup) {
        (Err(detail), _) => Err((Reason::DiskUnreadable, detail.clone())),
        (Ok(_), Some(Ok(found))) => Ok(Some(found.current.unwrap_or(Limits::NONE))),
        (Ok(_), Some(Err((Reason::CgroupGone | Reason::DiskGone, _)))) => Ok(None),
        (Ok(_), Some(Err(refused))) => Err(refused.clone()),
        (Ok(protected), None) => {
            Err((Reason::ProtectedDisk, protected.get(&disk.dev).map(|why| why.join(", ")).unwrap_or_default()))
        }
    }
}
