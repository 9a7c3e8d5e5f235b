//! The maps: one ring, one scratch slot and one drop counter for each probe, the open calls, the open section.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use tracer_common::hook;

/// Default size of the ring in bytes; the agent may set another before loading. 8 MiB hold some 30,000 facts.
const RING_BYTES: u32 = 8 << 20;
/// Calls that may be open at once, one a thread.
const OPEN_CALLS: u32 = 8192;

/// A system call that has begun on a thread.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Call {
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub(crate) start_ns: u64,
    /// `mnt_id` of the mount that the caller's path led to.
    pub(crate) target_id: u32,
    /// Facts that its sections have written so far.
    pub(crate) facts: u32,
    /// Its flags.
    pub(crate) flags: u64,
    /// Which system call.
    pub(crate) syscall: u32,
    /// Keeps the value a multiple of eight bytes.
    pub(crate) reserved: u32,
}

/// The one section that can be open: all who use it hold the namespace semaphore for writing.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Section {
    /// How many sections with facts have ended.
    pub(crate) ended: u64,
    /// Facts written since.
    pub(crate) facts: u32,
    /// Facts lost since.
    pub(crate) lost: u32,
}

/// The mask that shows the verifier that a write position lies within the scratch slot. 16 KiB take the fixed part, two
/// walks and two strings.
pub(crate) const SCRATCH_MASK: usize = 0x3fff;

/// Where a probe puts its record together. Map values begin at a multiple of eight bytes.
#[repr(C, align(8))]
pub(crate) struct Scratch {
    /// The record: room for any masked position and the longest single string behind it.
    pub(crate) record: [u8; SCRATCH_MASK + 1 + tracer_common::fact::CGROUP_PATH_BYTES],
    /// How far a walk has come.
    pub(crate) cursor: Cursor,
}

/// How far a walk has come. Kept in the map and not in registers: what comes out of a map is unknown to the verifier,
/// so that it finds one turn of the walk's loop to be like the other and does not follow every count by itself.
#[repr(C)]
pub(crate) struct Cursor {
    /// Where in the record the next name goes.
    pub(crate) end: u32,
    /// Names so far.
    pub(crate) names: u32,
    /// Mounts crossed so far.
    pub(crate) mounts: u32,
    /// Keeps the slot a multiple of eight bytes.
    pub(crate) reserved: u32,
}

/// The records, to the agent.
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// Records that found no room, by probe.
#[map]
pub(crate) static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(hook::COUNT, 0);

/// One slot for each probe: on a preemptible kernel a program is guarded against itself only.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(hook::COUNT, 0);

/// By thread.
#[map]
pub(crate) static CALLS: HashMap<u64, Call> = HashMap::with_max_entries(OPEN_CALLS, 0);

/// The open section.
#[map]
pub(crate) static SECTION: Array<Section> = Array::with_max_entries(1, 0);
