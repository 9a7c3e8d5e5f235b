//! PURE: trees of which attributes are told mount by mount. Nothing keeps such a tree as it is from the moment when its attributes are set
//! until they have been told: what is moved out of its place in it just then may be left out. What comes to it says how it is, and what
//! goes is in no table.

use std::collections::{HashSet, VecDeque};

use super::SECTION_KEPT_NS;
use crate::operation::CallId;

/// How long before the fact that says so a mount may have been moved.
const LEAD_NS: u64 = 10_000_000;
/// Sections that moved mounts of one table that are kept.
const MOST_MOVES: usize = 64;

/// The calls of late that set attributes in one table, and the sections that moved mounts of it.
#[derive(Debug, Default)]
pub(super) struct Telling {
    calls: Vec<Told>,
    /// The oldest first.
    moves: VecDeque<Moved>,
    /// When the last section ended that is kept no more, `CLOCK_BOOTTIME` in nanoseconds.
    forgotten_ns: u64,
}

/// What a section has moved.
#[derive(Debug)]
pub(super) struct Moved {
    /// When the first fact of it was told, and when the section ended, `CLOCK_BOOTTIME` in nanoseconds.
    pub(super) first_ns: u64,
    pub(super) end_ns: u64,
    /// The mounts upon which it stood until then, directly or not; `None` when nobody knows.
    pub(super) below: Option<HashSet<u64>>,
}

#[derive(Debug)]
struct Told {
    call: CallId,
    /// The tree's: it is told first.
    root: u64,
    to_ns: u64,
    mounts: u32,
    /// Whether somebody was told already.
    is_said: bool,
}

impl Told {
    /// Whether it is a tree out of which something may have been moved before its end was told. The call set its attributes at some time
    /// since it began.
    fn raced_with(&self, moved: &Moved) -> bool {
        let may_stand_on = |below: &HashSet<u64>| below.contains(&self.root);
        self.mounts > 1
            && moved.first_ns.saturating_sub(LEAD_NS) <= self.to_ns
            && self.call.start_ns <= moved.end_ns
            && moved.below.as_ref().is_none_or(may_stand_on)
    }

    /// Whether it raced, and nobody was told yet.
    fn comes_into_doubt(&mut self, raced: bool) -> bool {
        let comes = raced && !self.is_said;
        self.is_said |= comes;
        comes
    }
}

impl Telling {
    /// A call told a mount; whether it comes into doubt by that.
    pub(super) fn tells(&mut self, call: CallId, mount: u64, at_ns: u64) -> bool {
        let told = if let Some(known) = self.calls.iter().position(|told| told.call == call) {
            &mut self.calls[known]
        } else {
            self.calls.retain(|told| at_ns.saturating_sub(told.to_ns) < SECTION_KEPT_NS);
            self.calls.push_mut(Told { call, root: mount, to_ns: at_ns, mounts: 0, is_said: false })
        };
        told.mounts += 1;
        told.to_ns = told.to_ns.max(at_ns);
        let too_old = told.mounts > 1 && call.start_ns <= self.forgotten_ns;
        let raced = too_old || self.moves.iter().any(|moved| told.raced_with(moved));
        told.comes_into_doubt(raced)
    }

    /// A section has moved mounts; whether a tree comes into doubt by that.
    pub(super) fn moves(&mut self, moved: Moved) -> bool {
        let mut in_doubt = false;
        for told in &mut self.calls {
            let raced = told.raced_with(&moved);
            in_doubt |= told.comes_into_doubt(raced);
        }
        if self.moves.len() == MOST_MOVES {
            let oldest = self.moves.pop_front();
            self.forgotten_ns = oldest.map_or(0, |oldest| oldest.end_ns).max(self.forgotten_ns);
        }
        self.moves.push_back(moved);
        in_doubt
    }
}
