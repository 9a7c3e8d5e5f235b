//! PURE: one attempt to limit a volume whose pod's cgroup is known: what the node found, what is decided, and its end.

use super::Limiter;
use crate::{
    correlate::Sighting,
    host::NoDisk,
    limit::{
        Limits,
        decide::{Decision, Outcome, Question, Reason, Verdict, decide},
        ledger::Key,
        order::{Found, Inspected, Order, Ticket, Written},
        policy::Mode,
    },
    pods::PodCgroup,
};

/// Looks at a cgroup that is about to appear: `cgroup_mkdir` is traced just before the directory can be opened. The
/// first after a millisecond, then twice as long each time, a second in all.
const LOOKS: u32 = 10;
pub(super) const FIRST_LOOK_NS: u64 = 1_000_000;

/// What made an attempt begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The volume was mounted: the time from there to the limit tells something.
    Mounted,
    /// The pod's cgroup was made, and cannot be opened yet.
    Announced,
    /// The policy has changed.
    Again,
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) sighting: Sighting,
    pub(super) cgroup: PodCgroup,
    pub(super) rule: String,
    pub(super) wanted: Limits,
    pub(super) start: Start,
    /// Looks so far at a cgroup that was announced; `None` for one that was known before.
    pub(super) looks: Option<u32>,
    /// When to look again.
    pub(super) look_at_ns: Option<u64>,
    /// Set by the inspection.
    pub(super) place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) key: Key,
    pub(super) current: Option<Limits>,
}

impl Limiter {
    pub(super) fn attempt_inspected(&mut self, ticket: Ticket, inspected: &Inspected, now_ns: u64) -> Vec<Order> {
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
                    Mode::Observe => Outcome::Observed,
                    Mode::Enforce => Outcome::Applied,
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

    pub(super) fn attempt_written(&mut self, ticket: Ticket, written: Written, now_ns: u64) -> Vec<Order> {
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

    pub(super) fn attempt(
        &mut self,
        sighting: Sighting,
        cgroup: PodCgroup,
        start: Start,
        now_ns: u64,
    ) -> Option<Order> {
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

    /// This cgroup was removed; another of the pod may come, or have come already.
    fn cgroup_is_gone(&mut self, ticket: Ticket, now_ns: u64) -> Vec<Order> {
        let mut orders = vec![Order::Close(ticket)];
        if let Some(attempt) = self.attempts.remove(&ticket) {
            self.pods.retain(|_, cgroup| cgroup.id != attempt.cgroup.id);
            orders.extend(self.begin(attempt.sighting, Start::Announced, now_ns));
        }
        orders
    }

    fn verdict(&mut self, ticket: Ticket, inspected: &Inspected) -> Result<Verdict, (Reason, String)> {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return Ok(Verdict::Refuse(Reason::CgroupGone)) };
        // What its type says holds whatever number it has: `fuseblk` and bcachefs have that of a disk.
        if let Some(why) = attempt.sighting.fstype.as_deref().and_then(|fstype| NoDisk::of_type(fstype.as_bytes())) {
            return Err((Reason::NoBlockDevice, format!("there is no disk to limit: {}", why.words())));
        }
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
            if let Some(used) = self.uses.get_mut(&attempt.sighting.mount) {
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
}

/// What to tell of a refusal beyond its reason.
fn refusal(reason: Reason, inspected: &Inspected) -> Option<String> {
    match (reason, &inspected.disk, &inspected.protected) {
        (_, Err((_, detail)), _) => Some(detail.clone()),
        (Reason::ProtectedDisk, Ok(disk), Ok(protected)) => protected.get(&disk.dev).map(|why| why.join(", ")),
        (Reason::ForeignLimit, ..) => {
            Some("io.max has a line for this disk that this agent did not write; takeOver: true replaces it".to_owned())
        }
        _ => None,
    }
}
