//! What was lost on the way to the agent: the programs' own counters, the kernel's counts of programs that it skipped, and
//! the namespaces that lost facts were about.

use std::{
    fs, iter,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapError, PerCpuArray, PerCpuValues},
};
use tracer_common::{hook::reason, map};

use super::{
    hooks::{HOOKS, Hook},
    load::{Attached, ProbeError},
};
use crate::operation::{Dropped, Gap, Namespace};

/// The names of `tracer_common::hook::reason`, by number.
pub const REASONS: [&str; reason::COUNT as usize] = ["ring_full", "ring_busy", "list_too_long"];

/// The counts of calls that a second program saw for the first one, by hook.
const COVERED: &str = "COVERED";

/// The key of the map of namespaces that lost facts.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct DirtyKey(map::Dirty);

// SAFETY: no padding, by `tracer_common::map`.
unsafe impl Pod for DirtyKey {}

/// Counted since the programs were attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records that were dropped, by hook and reason, only those that are not 0.
    pub dropped: Vec<Dropped>,
    /// Operations of which no record at all came through.
    pub operations: u64,
    /// Runs that the kernel skipped, by hook; `None` where it does not count them (before 5.12; kprobes: later).
    pub missed: Option<Vec<u64>>,
}

impl Losses {
    /// Records that were dropped.
    pub fn records(&self) -> u64 {
        self.dropped.iter().map(|dropped| dropped.records).sum()
    }

    /// Runs that were skipped, as far as they are counted.
    pub fn runs(&self) -> u64 {
        self.missed.iter().flatten().sum()
    }

    /// What was lost since `before`. Where runs were not counted before, none was.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let was = |one: &Dropped| {
            let same = |other: &&Dropped| (other.hook, other.reason) == (one.hook, one.reason);
            before.dropped.iter().find(same).map_or(0, |other| other.records)
        };
        let since = self.dropped.iter().map(|one| Dropped { records: one.records - was(one), ..*one });
        let dropped = since.filter(|one| one.records > 0).collect();
        let runs_before = before.missed.iter().flatten().copied().chain(iter::repeat(0));
        let runs = |now: &Vec<u64>| now.iter().zip(runs_before).map(|(now, was)| now.saturating_sub(was)).collect();
        Self { dropped, operations: self.operations - before.operations, missed: self.missed.as_ref().map(runs) }
    }

    /// What was lost since `before`; `None` when nothing was. `namespaces` are those that lost facts were about.
    pub fn gap_since(&self, before: &Self, namespaces: Option<Vec<Namespace>>) -> Option<Gap> {
        let dropped = self.since(before).dropped;
        // Where one count could not be read, none is known this time.
        let missed = self.runs().saturating_sub(before.runs());
        if dropped.is_empty() && missed == 0 {
            return None;
        }
        // Nobody knows what a program that was skipped would have said.
        let in_tables = |losses: &Self| -> u64 {
            let runs = losses.missed.as_deref().unwrap_or_default();
            HOOKS.iter().filter(|hook| hook.in_section()).filter_map(|hook| runs.get(hook.number as usize)).sum()
        };
        let namespaces = namespaces.filter(|_| in_tables(self) == in_tables(before));
        Some(Gap { dropped, missed, namespaces, doubt: None })
    }
}

/// Reads the counters.
pub(super) fn read(ebpf: &Ebpf, attached: &[Attached]) -> Result<Losses, ProbeError> {
    let drops = per_cpu(ebpf, "DROPS")?;
    let mut dropped = Vec::new();
    for hook in &HOOKS {
        for (number, reason) in (0..reason::COUNT).zip(REASONS) {
            let records = sum(&drops, "DROPS", hook.number * reason::COUNT + number)?;
            if records > 0 {
                dropped.push(Dropped { hook: hook.name(), reason, records });
            }
        }
    }
    let operations = sum(&per_cpu(ebpf, "LOST")?, "LOST", 0)?;
    Ok(Losses { dropped, operations, missed: missed(ebpf, attached) })
}

/// Takes the namespaces out that lost facts were about; `None` when it may be any.
pub(super) fn take_dirty(ebpf: &mut Ebpf) -> Result<Option<Vec<Namespace>>, ProbeError> {
    let all = take_all_dirty(ebpf)?;
    let name = "DIRTY";
    let map = ebpf.map_mut(name).ok_or(ProbeError::NoSymbol(name))?;
    let mut dirty: HashMap<_, DirtyKey, u64> =
        HashMap::try_from(map).map_err(|source| ProbeError::Map { name, source })?;
    let keys: Vec<DirtyKey> =
        dirty.keys().collect::<Result<_, _>>().map_err(|source| ProbeError::Map { name, source })?;
    for key in &keys {
        // Gone already is as good.
        let _ = dirty.remove(key);
    }
    #[expect(clippy::cast_possible_truncation, reason = "inode numbers of namespaces have 32 bits")]
    let namespaces = keys.iter().map(|DirtyKey(key)| Namespace { inum: key.inum as u32, id: key.id });
    // Detached trees are in none.
    Ok((!all).then(|| namespaces.filter(|namespace| namespace.inum != 0).collect()))
}

/// Whether there is something for [`take_dirty`].
pub(super) fn is_dirty(ebpf: &Ebpf) -> Result<bool, ProbeError> {
    let map = |name| ebpf.map(name).ok_or(ProbeError::NoSymbol(name));
    let failed = |name| move |source| ProbeError::Map { name, source };
    let all: Array<_, u64> = Array::try_from(map("ALL_DIRTY")?).map_err(failed("ALL_DIRTY"))?;
    let some: HashMap<_, DirtyKey, u64> = HashMap::try_from(map("DIRTY")?).map_err(failed("DIRTY"))?;
    Ok(all.get(&0, 0).map_err(failed("ALL_DIRTY"))? != 0 || some.keys().next().is_some())
}

/// Whether facts of nobody knows which namespace were lost since this was asked last.
fn take_all_dirty(ebpf: &mut Ebpf) -> Result<bool, ProbeError> {
    let name = "ALL_DIRTY";
    let failed = |source| ProbeError::Map { name, source };
    let map = ebpf.map_mut(name).ok_or(ProbeError::NoSymbol(name))?;
    let mut all: Array<_, u64> = Array::try_from(map).map_err(failed)?;
    let found = all.get(&0, 0).map_err(failed)? != 0;
    if found {
        all.set(0, 0, 0).map_err(failed)?;
    }
    Ok(found)
}

/// Starts the count of covered calls of a hook: a second program that stood alone saw every call.
pub(super) fn forget_covered(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), ProbeError> {
    let map = ebpf.map_mut(COVERED).ok_or(ProbeError::NoSymbol(COVERED))?;
    let failed = |source| ProbeError::Map { name: COVERED, source };
    let mut covered: PerCpuArray<_, u64> = PerCpuArray::try_from(map).map_err(failed)?;
    let none = vec![0; covered.get(&hook.number, 0).map_err(failed)?.len()];
    let none = PerCpuValues::try_from(none).map_err(|source| failed(source.into()))?;
    covered.set(hook.number, none, 0).map_err(failed)
}

/// The kernel's counts of skipped runs, from each program's fdinfo (`recursion_misses`, 5.12 and newer), by hook, without
/// those that a second program ran for.
fn missed(ebpf: &Ebpf, attached: &[Attached]) -> Option<Vec<u64>> {
    let mut missed = vec![0; HOOKS.len()];
    for one in attached.iter().filter(|one| !one.hook.is_spared()) {
        // What the second one is skipped for is missed only if the first one was skipped too, and then counted there.
        for program in one.programs().filter(|program| Some(*program) != one.candidate.second) {
            let fd = ebpf.program(program)?.fd().ok()?.as_fd().as_raw_fd();
            let info = fs::read_to_string(Path::new("/proc/self/fdinfo").join(fd.to_string())).ok()?;
            let line = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
            missed[one.hook.number as usize] += line.trim().parse::<u64>().ok()?;
        }
    }
    // Read after the misses: what is covered in between is not said to be missed.
    let covered = per_cpu(ebpf, COVERED).ok()?;
    for one in attached.iter().filter(|one| one.second) {
        let covered = sum(&covered, COVERED, one.hook.number).ok()?;
        let missed = &mut missed[one.hook.number as usize];
        *missed = missed.saturating_sub(covered);
    }
    Some(missed)
}

fn per_cpu<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<PerCpuArray<&'a aya::maps::MapData, u64>, ProbeError> {
    let map = ebpf.map(name).ok_or(ProbeError::NoSymbol(name))?;
    PerCpuArray::try_from(map).map_err(|source| ProbeError::Map { name, source })
}

fn sum(map: &PerCpuArray<&aya::maps::MapData, u64>, name: &'static str, index: u32) -> Result<u64, ProbeError> {
    let counts = map.get(&index, 0).map_err(|source: MapError| ProbeError::Map { name, source })?;
    Ok(counts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(records: u64, runs: [u64; 2]) -> Losses {
        let dropped = Dropped { hook: HOOKS[0].name(), reason: REASONS[0], records };
        let mut missed = vec![0; HOOKS.len()];
        // One hook that runs inside sections and one that does not.
        (missed[0], missed[HOOKS.len() - 1]) = (runs[0], runs[1]);
        Losses { dropped: vec![dropped], operations: 0, missed: Some(missed) }
    }

    #[test]
    fn a_gap_is_what_was_lost_since() {
        let namespaces = Some(vec![Namespace { inum: 4, id: 5 }]);
        assert_eq!(losses(3, [0, 0]).gap_since(&losses(3, [0, 0]), namespaces.clone()), None);
        let gap = losses(5, [0, 1]).gap_since(&losses(3, [0, 0]), namespaces.clone()).unwrap();
        assert_eq!((gap.dropped[0].records, gap.missed, gap.namespaces), (2, 1, namespaces.clone()));
        let gap = losses(3, [1, 0]).gap_since(&losses(3, [0, 0]), namespaces).unwrap();
        assert_eq!((gap.dropped.len(), gap.missed, gap.namespaces), (0, 1, None), "any table may be wrong");
    }
}
