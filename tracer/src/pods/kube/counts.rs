//! What was asked of the API server and what came of it, counted by whoever asks and read by whoever wants to know. Touches nothing else.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ask::Ask, error::Fault};
use crate::pods::asked::Counted;

/// Counts.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Counted>);

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
