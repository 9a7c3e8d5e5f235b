//! Calls that fail and change nothing: each is told as long as its cgroup has not too many of them. What goes beyond that is counted, so
//! that nobody can drown what others do by failing fast.

use aya_ebpf::{
    macros::map,
    maps::{LruHashMap, PerCpuHashMap},
};
use tracer_common::{fact::target, map::Throttled};

use crate::emit::{lost, now, own_cgroup};

const SECOND_NS: u64 = 1_000_000_000;
/// Failing calls of one cgroup that are told each by itself, a second.
const TOLD_A_SECOND: u64 = 1000;
/// How much a failure fills of its cgroup's bucket, which is full after a second's worth of them.
const DROP_NS: u64 = SECOND_NS / TOLD_A_SECOND;
/// Cgroups whose failures are looked at. The oldest goes when it is full, and has an empty bucket then.
const CGROUPS: u32 = 4096;
/// Kinds of failures that are counted apart, until the agent takes them a second or two later.
const KINDS: u32 = 4096;

/// By cgroup: when its bucket will be empty, `CLOCK_BOOTTIME` in nanoseconds.
#[map]
static FAILURES: LruHashMap<u64, u64> = LruHashMap::with_max_entries(CGROUPS, 0);

/// Failures that were not told. A second that is over changes no more, so that the agent can take it out.
#[map]
static THROTTLED: PerCpuHashMap<Throttled, u64> = PerCpuHashMap::with_max_entries(KINDS, 0);

/// Whether a failure of this thread's cgroup would be told now.
#[inline(always)]
pub(crate) fn has_room() -> bool {
    let now = now();
    // SAFETY: a map value; who reads it while another one writes it decides for one failure as if it had come before.
    FAILURES.get_ptr_mut(own_cgroup()).is_none_or(|level| unsafe { *level } < now + SECOND_NS)
}

/// Counts a call that failed and changed nothing instead of telling it, if its cgroup has too many of them; whether it did. What its
/// target, by `fact::target`, was sent for is told.
///
/// A global function, so that it costs the verifier one look in each program.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn only_counted(found: u32, syscall: u32, errno: u32) -> u32 {
    let told = found != target::NOT_TOLD && (take_room() || found == target::SENT);
    if !told {
        count(syscall, errno);
    }
    u32::from(!told)
}

/// Whether to tell a failure of this thread's cgroup: its bucket has room, and less of it afterwards.
#[inline(always)]
fn take_room() -> bool {
    let (cgroup, now) = (own_cgroup(), now());
    let Some(level) = FAILURES.get_ptr_mut(cgroup) else {
        let _ = FAILURES.insert(cgroup, now + DROP_NS, 0);
        return true;
    };
    // SAFETY: a map value; where two write at once one failure more is told.
    unsafe {
        let from = (*level).max(now);
        let has_room = from < now + SECOND_NS;
        if has_room {
            *level = from + DROP_NS;
        }
        has_room
    }
}

/// Counts a failure that is not told.
#[inline(always)]
fn count(syscall: u32, errno: u32) {
    let kind = Throttled { cgroup_id: own_cgroup(), second: now() / SECOND_NS, syscall, errno };
    if let Some(count) = THROTTLED.get_ptr_mut(kind) {
        // SAFETY: this CPU's own count. Only a program that is stopped between reading and writing it could undo what another one
        // counted.
        unsafe { *count += 1 };
    } else if THROTTLED.insert(kind, 1, 0).is_err() {
        lost();
    }
}
