//! What was asked of the API server and what came of it, counted by whoever asks and read by whoever wants to know. Touches nothing else.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{ask::Ask, error::Fault};

/// Counts.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Counted>);

/// What was counted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Requests by verb and resource.
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
    /// Requests and watches that failed, by resource and the name of the fault.
    pub faults: BTreeMap<(&'static str, &'static str), u64>,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Objects that lacked what no object can be without.
    pub broken: u64,
}

impl Counts {
    /// What was counted so far.
    pub fn so_far(&self) -> Counted {
        self.lock().clone()
    }

    pub(super) fn asked(&self, ask: &Ask) {
        *self.lock().requests.entry((ask.verb(), ask.what().resource())).or_default() += 1;
    }

    pub(super) fn failed(&self, ask: &Ask, fault: &Fault) {
        *self.lock().faults.entry((ask.what().resource(), fault.name())).or_default() += 1;
    }

    pub(super) fn read(&self, bytes: usize) {
        self.lock().bytes += bytes as u64;
    }

    pub(super) fn broken(&self, objects: u64) {
        self.lock().broken += objects;
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
