//! First and second programs of a hook that runs outside of sections.
//!
//! A preemptible kernel may stop a program for another thread, and then skips it for every call that this thread makes
//! there: a program is guarded against itself on each CPU (`prog->active`). The second program stands behind the first
//! one and does the work of the calls that the first one was skipped for. A call goes without only when both are stopped on
//! one CPU at once.

use tracer_common::hook;

use crate::{emit::add_one, maps::COVERED};

/// Which of a hook's programs runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    Second,
}

impl Turn {
    /// Whether this program has the hook's work to do; `done` says whether the first one has been here. What the second
    /// one does is counted: it was skipped once, and not missed.
    #[inline(always)]
    pub(crate) fn has_work(self, hook: u32, done: bool) -> bool {
        match self {
            Self::First => true,
            Self::Second if done => false,
            Self::Second => {
                add_one(&COVERED, hook);
                true
            }
        }
    }

    /// This program's own slot: that of the second one is `seconds` behind that of the first.
    #[inline(always)]
    pub(crate) fn slot(self, number: u32, seconds: u32) -> u32 {
        match self {
            Self::First => number,
            Self::Second => number + seconds,
        }
    }
}

/// The bit of a hook in [`crate::maps::Call::seen`].
#[inline(always)]
pub(crate) const fn bit(hook: u32) -> u64 {
    1 << hook
}

const _: () = assert!(hook::COUNT <= u64::BITS);
