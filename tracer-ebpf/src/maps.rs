//! The maps: two rings, what a probe puts its record together in, counters of what was lost, the open calls, the open
//! section.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use tracer_common::{
    fact::{CGROUP_PATH_BYTES, SOURCE_BYTES, TARGET_BYTES, target},
    hook,
    map::{Dirty, Reading},
};

/// Size of a ring in bytes; the agent sets another before loading.
const RING_BYTES: u32 = 8 << 20;
/// Calls that may be open at once, one a thread.
const OPEN_CALLS: u32 = 8192;
/// Namespaces whose losses are kept apart.
const DIRTY_NAMESPACES: u32 = 256;

/// A system call that has begun on a thread.
///
/// What is 0 at its beginning stands between what is not: a longer run of zeros would be set by a loop, byte by byte.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Call {
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub(crate) start_ns: u64,
    /// The mount that is to change, where no hook inside its section tells which: `struct mount *`, or 0. That of a call that sets
    /// attributes may be gone at its end.
    pub(crate) subject: u64,
    /// Its flags.
    pub(crate) flags: u64,
    /// The root that `pivot_root(2)` replaces: `struct mount *`, or 0.
    pub(crate) old_root: u64,
    /// `struct pt_regs` of the caller.
    pub(crate) registers: u64,
    /// `mnt_id` of the mount that an unmount is to take away, or whose attributes are to be set.
    pub(crate) target_id: u32,
    /// Facts of its sections so far, those included that found no room.
    pub(crate) facts: u32,
    /// The hooks that have seen it, by [`crate::turn::bit`].
    pub(crate) seen: u64,
    /// Sections of it that the agent can read.
    pub(crate) delivered: u32,
    /// Which system call.
    pub(crate) syscall: u32,
    /// See `fact::target`.
    pub(crate) target: u32,
    /// Sections of it that changed something, those included that the agent cannot read.
    pub(crate) sections: u32,
}

impl Call {
    /// A call of which nothing is known but the system call and that `hook` has seen it.
    #[inline(always)]
    pub(crate) const fn new(syscall: u32, hook: u32) -> Self {
        Self {
            start_ns: 0,
            flags: 0,
            registers: 0,
            subject: 0,
            old_root: 0,
            target_id: 0,
            facts: 0,
            delivered: 0,
            syscall,
            target: target::NONE,
            sections: 0,
            seen: crate::turn::bit(hook),
        }
    }
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
    /// Root of the tree whose mounts enter a namespace just now, `struct mount *`; 0 between two trees.
    pub(crate) entering: u64,
    /// How trees went since, see `fact::how`.
    pub(crate) how: u64,
    /// Mounts told since, each by a fact of its own.
    pub(crate) named: u64,
}

/// Whose arguments were saved.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct SavedKey {
    /// `tgid << 32 | tid`.
    pub(crate) thread: u64,
    /// The hook of the return probe.
    pub(crate) hook: u64,
}

/// The mask that shows the verifier that a write position lies within the scratch slot. 16 KiB take the fixed part, two
/// walks and two strings.
pub(crate) const SCRATCH_MASK: usize = 0x3fff;

/// The slots for records with walks: one for each program that walks, because on a preemptible kernel a program is
/// guarded against itself only. What runs inside sections runs one at a time and shares one.
pub(crate) mod slot {
    pub(crate) const TABLES: u32 = 0;
    pub(crate) const MOUNT_TARGET: u32 = 1;
    pub(crate) const UMOUNT_KEPT: u32 = 2;
    pub(crate) const MOVE_TARGET: u32 = 3;
    pub(crate) const PIVOT_TARGET: u32 = 4;
    /// The doors of `fsmount(2)`, `open_tree(2)`, `open_tree_attr(2)` and `mount_setattr(2)`, two each.
    pub(crate) const FSMOUNT: u32 = 5;
    pub(crate) const OPEN_TREE: u32 = 7;
    pub(crate) const OPEN_TREE_ATTR: u32 = 9;
    pub(crate) const MOUNT_SETATTR: u32 = 11;
    /// How far behind the slot of a first program that of the second one is: all but the tables' have two.
    pub(crate) const SECONDS: u32 = 12;
    pub(crate) const COUNT: u32 = 1 + 2 * SECONDS;
}

/// Where a probe puts a record with walks together. Map values begin at a multiple of eight bytes.
#[repr(C, align(8))]
pub(crate) struct Scratch {
    /// The record: room for any masked position and the longest single string behind it.
    pub(crate) record: [u8; SCRATCH_MASK + 1 + CGROUP_PATH_BYTES],
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
    /// The versions of all dentries so far, or-ed: odd when one was being moved.
    pub(crate) versions: u32,
    /// All dentries so far and their versions, summed up.
    pub(crate) seen: u64,
}

/// The mask for the short slots: the fixed part and two strings.
pub(crate) const SHORT_MASK: usize = 0x3ff;

/// The short slots: one for each door's end, and one for each cgroup tracepoint.
pub(crate) mod short {
    use tracer_common::hook::DOOR_COUNT;

    pub(crate) const CGROUP_MKDIR: u32 = DOOR_COUNT;
    pub(crate) const CGROUP_RMDIR: u32 = CGROUP_MKDIR + 1;
    /// How far behind the slot of a door's first program that of the second one is.
    pub(crate) const SECONDS: u32 = CGROUP_RMDIR + 1;
    pub(crate) const COUNT: u32 = SECONDS + DOOR_COUNT;
}

/// Where a probe puts a record without walks together.
#[repr(C, align(8))]
pub(crate) struct Short {
    /// The record: room for any masked position and the longest string behind it.
    pub(crate) record: [u8; SHORT_MASK + 1 + TARGET_BYTES],
}

const _: () = assert!(size_of::<tracer_common::fact::CallEnd>() + SOURCE_BYTES <= SHORT_MASK);
const _: () = assert!(CGROUP_PATH_BYTES <= TARGET_BYTES);

/// What happens inside sections: lossless by design.
#[map]
pub(crate) static TABLES: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// What happens outside of them: calls, their targets, namespaces that were made, cgroups.
#[map]
pub(crate) static CALLS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// Records that were dropped, by probe and reason.
#[map]
pub(crate) static DROPS: PerCpuArray<u64> = PerCpuArray::with_max_entries(hook::COUNT * hook::reason::COUNT, 0);

/// Operations of which no record at all could be written.
#[map]
pub(crate) static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Calls that a second program saw for the first one, by hook; the agent takes them from what the kernel skipped.
#[map]
pub(crate) static COVERED: PerCpuArray<u64> = PerCpuArray::with_max_entries(hook::COUNT, 0);

/// Namespaces whose facts were lost, and how many of them; the agent takes them out.
#[map]
pub(crate) static DIRTY: HashMap<Dirty, u64> = HashMap::with_max_entries(DIRTY_NAMESPACES, 0);

/// Not 0 when facts were lost of a namespace that nobody knows, or that found no room in [`DIRTY`]; the agent clears it.
#[map]
pub(crate) static ALL_DIRTY: Array<u64> = Array::with_max_entries(1, 0);

/// How many threads are setting attributes just now, see [`crate::setting`].
#[map]
pub(crate) static SETTING: Array<u64> = Array::with_max_entries(1, 0);

/// By [`slot`].
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(slot::COUNT, 0);

/// By [`short`].
#[map]
pub(crate) static SHORT: PerCpuArray<Short> = PerCpuArray::with_max_entries(short::COUNT, 0);

/// By thread. The oldest goes when it is full: a return that was missed leaves its call open for ever.
#[map]
pub(crate) static OPEN: LruHashMap<u64, Call> = LruHashMap::with_max_entries(OPEN_CALLS, 0);

/// Arguments for return probes.
#[map]
pub(crate) static SAVED: LruHashMap<SavedKey, [u64; 4]> = LruHashMap::with_max_entries(OPEN_CALLS, 0);

/// The reading that is going on.
#[map]
pub(crate) static READING: Array<Reading> = Array::with_max_entries(1, 0);

/// The open section.
#[map]
pub(crate) static SECTION: Array<Section> = Array::with_max_entries(1, 0);
