//! The line at the end: what was seen and what was lost.

use std::fmt;

use crate::{engine::Counts, output::recording::Totals};

/// What was seen and what was lost, from `ready` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stats {
    /// What went on.
    pub(super) counts: Counts,
    /// What did not.
    pub(super) totals: Totals,
}

impl Stats {
    pub(super) fn lost_anything(&self) -> bool {
        let Totals { dropped, records_lost, missed } = self.totals;
        dropped + records_lost + missed.unwrap_or(0) > 0
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { operations, unresolved, undecodable, throttled, unnamed, .. } = self.counts;
        let Totals { dropped, records_lost, missed } = self.totals;
        let missed = missed.map_or_else(|| "unknown".to_owned(), |missed| missed.to_string());
        let unresolved = unresolved + undecodable;
        write!(
            f,
            "stats: seen={operations} dropped={dropped} missed={missed} unresolved={unresolved} records_lost={records_lost} \
             throttled={throttled} unnamed={unnamed}"
        )
    }
}
