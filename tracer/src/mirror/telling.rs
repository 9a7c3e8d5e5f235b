//! PURE: trees of which attributes are told mount by mount. Nothing keeps such a tree as it is meanwhile: what is moved within it just
//! then may be left out.

use crate::operation::CallId;

/// How long before its first fact a section may have changed a table.
const LEAD_NS: u64 = 10_000_000;
/// After this time no section comes any more that began before: facts are put in by their time.
const KEPT_NS: u64 = 10_000_000_000;

/// The calls of late that set attributes in one table.
#[derive(Debug, Default)]
pub(super) struct Telling {
    calls: Vec<Told>,
    /// When the last section ended that changed what is mounted where, `CLOCK_BOOTTIME` in nanoseconds.
    changed_ns: u64,
}

#[derive(Debug)]
struct Told {
    call: CallId,
    from_ns: u64,
    to_ns: u64,
    mounts: u32,
    /// Whether somebody was told already.
    is_said: bool,
}

impl Told {
    /// Whether it is a tree that may have been changed from `began_ns` to `ended_ns`, and nobody knows that yet.
    fn comes_into_doubt(&mut self, began_ns: u64, ended_ns: u64) -> bool {
        let in_doubt = self.mounts > 1 && began_ns <= self.to_ns && self.from_ns <= ended_ns && !self.is_said;
        self.is_said |= in_doubt;
        in_doubt
    }
}

impl Telling {
    /// A call told a mount; whether the tree that it belongs to was changed since it was begun with.
    pub(super) fn tells(&mut self, call: CallId, at_ns: u64) -> bool {
        let changed_ns = self.changed_ns;
        let told = if let Some(known) = self.calls.iter().position(|told| told.call == call) {
            &mut self.calls[known]
        } else {
            self.calls.retain(|told| at_ns.saturating_sub(told.to_ns) < KEPT_NS);
            self.calls.push_mut(Told { call, from_ns: at_ns, to_ns: at_ns, mounts: 0, is_said: false })
        };
        told.mounts += 1;
        told.to_ns = told.to_ns.max(at_ns);
        told.from_ns = told.from_ns.min(at_ns);
        told.comes_into_doubt(0, changed_ns)
    }

    /// A section has changed what is mounted where; whether a tree was told meanwhile. `first_ns` is the time of its first fact.
    pub(super) fn changes(&mut self, first_ns: u64, end_ns: u64) -> bool {
        self.changed_ns = self.changed_ns.max(end_ns);
        let began_ns = first_ns.saturating_sub(LEAD_NS);
        let mut in_doubt = false;
        for told in &mut self.calls {
            in_doubt |= told.comes_into_doubt(began_ns, end_ns);
        }
        in_doubt
    }
}
