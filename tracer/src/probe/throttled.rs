//! Takes out the failing calls that the programs only counted, because their cgroup had too many of them.

use aya::{
    Ebpf, Pod,
    maps::{MapData, MapError, PerCpuHashMap},
};
use tracer_common::map;

use super::load::ProbeError;
use crate::{decode::call, operation::Throttled};

const NAME: &str = "THROTTLED";
const SECOND_NS: u64 = 1_000_000_000;

/// The key of the map.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Kind(map::Throttled);

// SAFETY: no padding, by `tracer_common::map`.
unsafe impl Pod for Kind {}

/// Whether there are any.
pub(super) fn any(ebpf: &Ebpf) -> Result<bool, ProbeError> {
    let map = ebpf.map(NAME).ok_or(ProbeError::NoSymbol(NAME))?;
    let counts: PerCpuHashMap<&MapData, Kind, u64> = PerCpuHashMap::try_from(map).map_err(failed)?;
    Ok(counts.keys().next().is_some())
}

/// Takes out those of the seconds that were over by then (`CLOCK_BOOTTIME` in nanoseconds).
pub(super) fn take(ebpf: &mut Ebpf, until_ns: u64) -> Result<Vec<Throttled>, ProbeError> {
    let map = ebpf.map_mut(NAME).ok_or(ProbeError::NoSymbol(NAME))?;
    let mut counts: PerCpuHashMap<&mut MapData, Kind, u64> = PerCpuHashMap::try_from(map).map_err(failed)?;
    let kinds: Vec<Kind> = counts.keys().collect::<Result<_, _>>().map_err(failed)?;
    let mut taken = Vec::new();
    for kind in kinds.into_iter().filter(|kind| end_ns(kind) <= until_ns) {
        let calls = counts.get(&kind, 0).map_err(failed)?.iter().sum();
        counts.remove(&kind).map_err(failed)?;
        taken.extend(told(&kind, calls));
    }
    taken.sort_by_key(|one| (one.end_ns, one.cgroup_id, one.errno));
    Ok(taken)
}

/// As users read it; `None` for a number that is no call, which no program counts.
fn told(kind: &Kind, calls: u64) -> Option<Throttled> {
    let map::Throttled { cgroup_id, syscall, errno, .. } = kind.0;
    Some(Throttled { cgroup_id, end_ns: end_ns(kind), syscall: call(syscall).ok()?, errno, calls })
}

/// When its second was over.
fn end_ns(kind: &Kind) -> u64 {
    (kind.0.second + 1) * SECOND_NS
}

fn failed(source: MapError) -> ProbeError {
    ProbeError::Map { name: NAME, source }
}
