//! IN: the two rings -> records, in the order in which things happened.
//!
//! What happens inside sections comes by one ring, calls by another. A call's end is written after its sections, and a
//! thread's next section after the end of the call before: records are handed on by their stamps, and none that was
//! stamped after the calls' ring was last read, so that both hold for every thread.

use std::{collections::VecDeque, io};

use aya::maps::{MapData, RingBuf};
use bytes::Bytes;
use tokio::io::unix::AsyncFd;
use tracer_common::fact::Header;
use zerocopy::FromBytes as _;

use crate::probe::{load::ProbeError, ring::register, running::Probes};

/// Records that one turn takes at most from each ring.
pub const BATCH: usize = 4096;

/// The rings, before there is a runtime to wait for them.
pub struct Rings {
    tables: RingBuf<MapData>,
    calls: RingBuf<MapData>,
}

impl Rings {
    /// Takes the rings of the probes; there is one reader.
    pub fn take(probes: &mut Probes) -> Result<Self, ProbeError> {
        Ok(Self { tables: probes.take_tables()?, calls: probes.take_calls()? })
    }

    /// Takes every record that is there, in no particular order between the two.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        for ring in [&mut self.tables, &mut self.calls] {
            while let Some(record) = ring.next() {
                each(&record);
            }
        }
    }
}

/// The records of both rings.
pub struct Stream {
    tables: AsyncFd<RingBuf<MapData>>,
    calls: AsyncFd<RingBuf<MapData>>,
    merge: Merge,
}

impl Stream {
    /// Registers the rings with the runtime.
    pub fn new(rings: Rings) -> io::Result<Self> {
        let Rings { tables, calls } = rings;
        Ok(Self { tables: register(tables)?, calls: register(calls)?, merge: Merge::default() })
    }

    /// Waits until one of the rings has something to read.
    ///
    /// Cancel safe: nothing is taken out of a ring here.
    pub async fn ready(&mut self) -> io::Result<()> {
        let mut guard = tokio::select! {
            guard = self.tables.readable_mut() => guard?,
            guard = self.calls.readable_mut() => guard?,
        };
        guard.clear_ready();
        Ok(())
    }

    /// The next records, at most [`BATCH`] of each ring. `now_ns` is `CLOCK_BOOTTIME` now.
    pub fn turn(&mut self, now_ns: u64) -> Turn {
        let calls = self.calls.get_mut();
        let tables = self.tables.get_mut();
        let next = |ring: &mut RingBuf<MapData>| ring.next().map(|record| Bytes::copy_from_slice(&record));
        self.merge.turn(now_ns, || next(calls), || next(tables))
    }
}

/// What one turn took.
#[derive(Debug, Default)]
pub struct Turn {
    /// In the order in which they happened.
    pub records: Vec<Bytes>,
    /// Whether there may be more at once.
    pub more: bool,
    /// All that was stamped up to here has been handed on, `CLOCK_BOOTTIME` in nanoseconds.
    pub until_ns: u64,
}

/// What was read and must wait for what was not.
#[derive(Debug, Default)]
struct Merge {
    calls: VecDeque<Bytes>,
    table: Option<Bytes>,
}

impl Merge {
    /// `next_call` and `next_table` give a ring's next record.
    fn turn(
        &mut self,
        now_ns: u64,
        mut next_call: impl FnMut() -> Option<Bytes>,
        mut next_table: impl FnMut() -> Option<Bytes>,
    ) -> Turn {
        let (mut horizon, mut turn) = (now_ns, Turn::default());
        while let Some(record) = next_call() {
            self.calls.push_back(record);
            if self.calls.len() >= BATCH {
                // What is behind this one was not read: nothing younger can be in order yet.
                horizon = horizon.min(self.calls.back().map_or(now_ns, stamp));
                turn.more = true;
                break;
            }
        }
        // Processors write to this ring side by side: neighbours may have changed places.
        self.calls.make_contiguous().sort_by_key(stamp);
        for _ in 0..BATCH {
            let Some(record) = self.table.take().or_else(&mut next_table) else { break };
            let at = stamp(&record);
            if at > horizon {
                self.table = Some(record);
                break;
            }
            self.calls_until(at, &mut turn.records);
            turn.records.push(record);
        }
        let cut = turn.records.len() >= BATCH;
        if !cut {
            self.calls_until(horizon, &mut turn.records);
        }
        turn.until_ns = if cut { turn.records.last().map_or(0, stamp) } else { horizon };
        turn.more |= cut || self.table.is_some() || !self.calls.is_empty();
        turn
    }

    fn calls_until(&mut self, at: u64, records: &mut Vec<Bytes>) {
        while self.calls.front().is_some_and(|call| stamp(call) <= at) {
            records.extend(self.calls.pop_front());
        }
    }
}

/// When a record was made; one that is too short to say it is handed on at once.
fn stamp(record: &Bytes) -> u64 {
    Header::read_from_prefix(record).map_or(0, |(header, _)| header.boot_ns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes as _;

    use super::*;

    fn record(boot_ns: u64) -> Bytes {
        let header = Header { kind: 0, hook: 0, bytes: 40, thread: 0, call: 0, section: 0, boot_ns };
        Bytes::copy_from_slice(header.as_bytes())
    }

    /// Takes everything, in turns at these times, and at last at the end of time.
    fn all(calls: &[u64], tables: &[u64], times: &[u64]) -> Vec<u64> {
        let (mut calls, mut tables) = (calls.iter(), tables.iter());
        let mut merge = Merge::default();
        let mut out = Vec::new();
        for now in times.iter().chain([&u64::MAX; 8]) {
            let mut turn =
                merge.turn(*now, || calls.next().map(|at| record(*at)), || tables.next().map(|at| record(*at)));
            out.extend(turn.records.drain(..).map(|record| stamp(&record)));
        }
        out
    }

    #[test]
    fn records_come_in_the_order_of_their_stamps() {
        assert_eq!(all(&[2, 5], &[1, 3, 4, 6], &[]), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_is_younger_than_the_last_look_at_the_calls_waits() {
        // At 4 the call that ended at 5 may not have been written yet.
        let (mut merge, mut tables) = (Merge::default(), [3, 6].into_iter());
        let turn = merge.turn(4, || None, || tables.next().map(record));
        assert_eq!((turn.records.len(), turn.more, turn.until_ns), (1, true, 4));
        let mut calls = [5].into_iter();
        let turn = merge.turn(7, || calls.next().map(record), || None);
        assert_eq!(turn.records.iter().map(stamp).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn what_was_cut_off_was_not_handed_on() {
        let (mut merge, mut tables) = (Merge::default(), 1..=2 * BATCH as u64);
        let mut turn = |now| merge.turn(now, || None, || tables.next().map(record)).until_ns;
        assert_eq!((turn(u64::MAX), turn(u64::MAX), turn(9)), (BATCH as u64, 2 * BATCH as u64, 9));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_all_is_in_order(
            mut calls in prop::collection::vec(0u64..1000, 0..50),
            mut tables in prop::collection::vec(0u64..1000, 0..50),
        ) {
            calls.sort_unstable();
            tables.sort_unstable();
            let out = all(&calls, &tables, &[]);
            let mut expected = [calls, tables].concat();
            expected.sort_unstable();
            prop_assert_eq!(out, expected);
        }
    }
}
