//! PURE: which tables are to be read, when, and why; how many were.

use std::collections::HashMap;

/// Why a table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadReason {
    /// It was there when the mirror began.
    Start,
    /// Its namespace was met, and its beginning was not seen.
    Met,
    /// Facts were lost.
    Lost,
    /// The kernel counts other mounts in it.
    Count,
    /// Attributes were changed of nobody knows which mount.
    Attributes,
    /// Somebody asked to compare it.
    Asked,
}

impl ReadReason {
    /// Every one of them.
    pub const ALL: [Self; 6] = [Self::Start, Self::Met, Self::Lost, Self::Count, Self::Attributes, Self::Asked];

    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Met => "met",
            Self::Lost => "lost",
            Self::Count => "count",
            Self::Attributes => "attributes",
            Self::Asked => "asked",
        }
    }

    fn index(self) -> usize {
        self as usize
    }

    fn heals(self) -> bool {
        !matches!(self, Self::Start | Self::Asked)
    }
}

/// How many tables were read, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts([u64; ReadReason::ALL.len()]);

impl ReadCounts {
    /// Those for one reason.
    pub fn of(&self, reason: ReadReason) -> u64 {
        self.0[reason.index()]
    }

    /// All of them, by the reason's name.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ReadReason::ALL.into_iter().map(|reason| (reason.name(), self.of(reason)))
    }

    /// One more.
    pub fn add(&mut self, reason: ReadReason) {
        self.0[reason.index()] += 1;
    }
}

/// How long a namespace that nobody is seen in is left alone: looking for somebody means looking at every thread of the node.
const LEFT_ALONE_NS: u64 = 60_000_000_000;

/// A table that is to be read.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    reason: ReadReason,
    /// From when on.
    at_ns: u64,
}

/// The tables to be read, by the inode numbers of their namespaces.
#[derive(Debug, Default)]
pub struct Reads {
    wanted: HashMap<u32, Wanted>,
    /// Those that are being read.
    running: HashMap<u32, ReadReason>,
    /// Namespaces that nobody was seen in, and until when they are left alone.
    alone: HashMap<u32, u64>,
    counts: ReadCounts,
    never_heals: bool,
}

impl Reads {
    pub(super) fn without_healing() -> Self {
        Self { never_heals: true, ..Self::default() }
    }

    /// How many tables were read.
    pub fn counts(&self) -> ReadCounts {
        self.counts
    }

    /// A table is to be read, not before `at_ns`. One that waits already waits on, but not behind somebody's asking: what only
    /// compares puts nothing right. Whether the next reading that tells of this table will be for this reason.
    pub(super) fn want(&mut self, inum: u32, reason: ReadReason, at_ns: u64) -> bool {
        let waits = self.waits(inum);
        let runs = self.running.contains_key(&inum);
        let asks_twice = reason == ReadReason::Asked && (runs || self.wanted.contains_key(&inum));
        if self.never_heals && reason.heals() || waits || asks_twice {
            return false;
        }
        let at_ns = self.alone.get(&inum).map_or(at_ns, |until_ns| at_ns.max(*until_ns));
        self.wanted.insert(inum, Wanted { reason, at_ns });
        !runs
    }

    /// Whether a table is to be read, and not because somebody asked.
    pub(super) fn waits(&self, inum: u32) -> bool {
        self.wanted.get(&inum).is_some_and(|wanted| wanted.reason != ReadReason::Asked)
    }

    /// The one to read now, who has waited longest: one at a time, so that what a reading tells is taken out of the ring before the
    /// next one fills it.
    pub(super) fn due(&mut self, now_ns: u64) -> Option<u32> {
        if !self.running.is_empty() {
            return None;
        }
        self.alone.retain(|_, until_ns| *until_ns > now_ns);
        let due = self.wanted.iter().filter(|(_, wanted)| wanted.at_ns <= now_ns);
        let inum = *due.min_by_key(|(inum, wanted)| (wanted.at_ns, **inum))?.0;
        let wanted = self.wanted.remove(&inum)?;
        self.counts.add(wanted.reason);
        self.running.insert(inum, wanted.reason);
        Some(inum)
    }

    /// Whether every table that is known of is right: none is to be read but to be compared.
    pub(super) fn is_settled(&self) -> bool {
        let reasons = self.wanted.values().map(|wanted| wanted.reason).chain(self.running.values().copied());
        self.alone.is_empty() && reasons.into_iter().all(|reason| reason == ReadReason::Asked)
    }

    /// The tables that were there when the mirror began, and whose first reading is still to be done.
    pub(super) fn starting(&self) -> impl Iterator<Item = u32> {
        let wanted = self.wanted.iter().map(|(inum, wanted)| (*inum, wanted.reason));
        let all = wanted.chain(self.running.iter().map(|(inum, reason)| (*inum, *reason)));
        all.filter(|(_, reason)| *reason == ReadReason::Start).map(|(inum, _)| inum)
    }

    /// When there is one next.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        let waiting = self.wanted.values().filter(|_| self.running.is_empty());
        waiting.map(|wanted| wanted.at_ns).min()
    }

    /// Whether one is being read or will be.
    #[cfg(test)]
    pub(super) fn is_wanted(&self, inum: u32) -> bool {
        self.wanted.contains_key(&inum) || self.running.contains_key(&inum)
    }

    /// Why a table is being read, if it is.
    pub(super) fn running(&self, inum: u32) -> Option<ReadReason> {
        self.running.get(&inum).copied()
    }

    /// One was read, or cannot be; whether it is to be read again.
    pub(super) fn done(&mut self, inum: u32) -> bool {
        self.running.remove(&inum);
        self.wanted.contains_key(&inum)
    }

    /// Nobody was seen in a namespace for long enough.
    pub(super) fn leave_alone(&mut self, inum: u32, now_ns: u64) {
        self.alone.insert(inum, now_ns + LEFT_ALONE_NS);
    }

    /// A namespace ended: nobody wants to read it.
    pub(super) fn forget(&mut self, inum: u32) {
        self.wanted.remove(&inum);
    }
}
