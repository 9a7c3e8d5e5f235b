//! PURE: which rule is for a volume, and what the node is asked to know it.

use super::{Limiter, Start};
use crate::{
    correlate::Sighting,
    host::Facts,
    limit::{
        Limits,
        order::{Order, Ticket},
        policy::{Choice, VolumeRef},
    },
};

/// A volume that the node was asked about.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) sighting: Sighting,
    /// It is to be decided when the node has answered.
    pub(super) begin: bool,
}

impl Limiter {
    /// The node has answered an [`Order::LookUp`].
    pub fn looked_up(&mut self, ticket: Ticket, facts: Facts, now_ns: u64) -> Vec<Order> {
        let Some(Asked { mut sighting, begin }) = self.lookups.remove(&ticket) else { return Vec::new() };
        self.waiting.learn(sighting.mount, &facts);
        if let Some(used) = self.uses.get_mut(&sighting.mount) {
            used.sighting.facts = Some(facts.clone());
        }
        sighting.facts = Some(facts);
        let mut orders = if begin { self.begin(sighting, Start::Mounted, now_ns) } else { Vec::new() };
        orders.extend(self.take_up(now_ns));
        orders
    }

    /// Asks the node for what a rule depends on.
    pub(super) fn ask(&mut self, asked: Asked) -> Order {
        self.tickets += 1;
        let sighting = Box::new(asked.sighting.clone());
        self.lookups.insert(self.tickets, asked);
        Order::LookUp { ticket: self.tickets, sighting }
    }

    pub(super) fn choose(&self, sighting: &Sighting) -> Choice<'_> {
        self.policy.choose(&volume_ref(sighting))
    }

    /// The rule that is for a volume, and its limits.
    pub(super) fn rule(&self, sighting: &Sighting) -> Option<(String, Limits)> {
        match self.choose(sighting) {
            Choice::Rule(rule, limits) => Some((rule.to_owned(), limits)),
            Choice::Nothing | Choice::Ask => None,
        }
    }
}

/// A volume as the policy's rules see it.
pub(super) fn volume_ref(sighting: &Sighting) -> VolumeRef<'_> {
    VolumeRef {
        pod_uid: &sighting.pod_uid,
        volume: &sighting.volume,
        fstype: sighting.fstype.as_deref(),
        path: str::from_utf8(&sighting.path).ok(),
        facts: sighting.facts.as_ref(),
    }
}
