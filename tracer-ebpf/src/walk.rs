//! The path of a dentry, leaf first: from the dentry to its mount's root, across to the mount below, up to the root of
//! the namespace.

use aya_ebpf::{Global, helpers::generated};
use tracer_common::fact::{ABSENT, FEW_NAMES, MANY_NAMES, MAX_MOUNTS, MAX_WALK_BYTES, NAME_BYTES, walk as status};

use crate::{
    globals::{
        DENTRY_NAME, DENTRY_NAME_618, DENTRY_PARENT, DENTRY_SEQ, MOUNT_MOUNTPOINT, MOUNT_PARENT, MOUNT_VFSMOUNT,
        VFSMOUNT_ROOT,
    },
    maps::{Cursor, SCRATCH, SCRATCH_MASK, Scratch},
    read::{member, pointer, read},
    steps::{REPEATED, Steps},
};

/// Names that a walk may take.
const MAX_NAMES: u32 = if REPEATED { MANY_NAMES } else { FEW_NAMES };
/// Spreads what is summed up over all bits: the golden ratio, as `hash_64` of `linux/hash.h` has it.
const SPREAD: u64 = 0x61c8_8646_80b5_83eb;

/// Walks from `dentry` on `mount` and appends each name with its NUL to scratch slot `number` at `start`. With
/// `mount` 0 the walk stays in the file system and ends at its root.
///
/// A global function: the verifier looks at it once, however often and from wherever it is called. Returns the end of
/// what was written in the lower half, the status (`fact::walk`) in the upper half.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn walk(number: u32, mount: u64, dentry: u64, start: u32) -> u64 {
    let Some(scratch) = SCRATCH.get_ptr_mut(number) else {
        return result(start, status::UNREADABLE);
    };
    // SAFETY: this probe's own slot.
    unsafe {
        (&raw mut (*scratch).cursor).write_volatile(Cursor { end: start, names: 0, mounts: 0, versions: 0, seen: 0 });
    }
    let mut walking = Walking { way: Way::new(mount, dentry), scratch, start, status: status::TOO_DEEP };
    walking.walk();
    // SAFETY: as above.
    let (end, versions, seen) = unsafe { ((*scratch).cursor.end, (*scratch).cursor.versions, (*scratch).cursor.seen) };
    match walking.status {
        status::WHOLE if versions & 1 != 0 || again(mount, dentry) != seen => result(start, status::MOVED),
        status::WHOLE => result(end, status::WHOLE),
        cut => result(start, cut),
    }
}

/// The same way once more, without names: what was seen, if no directory on it was moved meanwhile. All of it was seen once before any
/// of it is seen again, so that equal versions are those of one moment.
#[inline(always)]
fn again(mount: u64, dentry: u64) -> u64 {
    struct Again {
        way: Way,
        seen: u64,
    }
    impl Steps for Again {
        const FEW: u32 = MAX_NAMES + MAX_MOUNTS + 1;
        const MANY: u32 = Self::FEW;

        #[inline(always)]
        fn step(&mut self) -> bool {
            match self.way.next() {
                Next::Crossed => false,
                Next::End | Next::Top => true,
                Next::Name { dentry, version } => {
                    self.seen = with(self.seen, dentry, version);
                    false
                }
            }
        }
    }
    let mut again = Again { way: Way::new(mount, dentry), seen: 0 };
    again.walk();
    again.seen
}

/// What was seen, and a dentry of a version.
#[inline(always)]
fn with(seen: u64, dentry: u64, version: u32) -> u64 {
    (seen ^ dentry ^ u64::from(version) << 1).wrapping_mul(SPREAD)
}

/// `DENTRY.d_seq`: `__d_move` of `fs/dcache.c` makes it odd while a dentry gets another name or parent, and even after that.
#[inline(always)]
fn version(dentry: u64) -> u32 {
    member(dentry, &DENTRY_SEQ)
}

/// A way from a dentry upwards.
struct Way {
    /// `struct mount *`, 0 for a way within its file system.
    mount: u64,
    /// That mount's root: `struct dentry *`.
    root: u64,
    dentry: u64,
}

/// What is next on a way.
enum Next {
    /// The mount below, at the place where this one is mounted.
    Crossed,
    /// A name.
    Name { dentry: u64, version: u32 },
    /// The end: the root of the namespace.
    End,
    /// A dentry without a parent.
    Top,
}

impl Way {
    #[inline(always)]
    fn new(mount: u64, dentry: u64) -> Self {
        Self { mount, root: root_of(mount), dentry }
    }

    #[inline(always)]
    fn next(&mut self) -> Next {
        if self.mount != 0 && self.dentry == self.root {
            let parent = pointer(self.mount, &MOUNT_PARENT);
            if parent == self.mount {
                return Next::End;
            }
            self.dentry = pointer(self.mount, &MOUNT_MOUNTPOINT);
            self.mount = parent;
            self.root = root_of(parent);
            return Next::Crossed;
        }
        let dentry = self.dentry;
        // Before its parent and its name, which must not be older.
        let version = version(dentry);
        self.dentry = pointer(dentry, &DENTRY_PARENT);
        if self.dentry == dentry { Next::Top } else { Next::Name { dentry, version } }
    }
}

/// A walk that writes names.
struct Walking {
    way: Way,
    /// The probe's own slot.
    scratch: *mut Scratch,
    /// Where in it the names begin.
    start: u32,
    status: u16,
}

impl Steps for Walking {
    const FEW: u32 = MAX_NAMES + MAX_MOUNTS + 1;
    const MANY: u32 = Self::FEW;

    #[inline(always)]
    fn step(&mut self) -> bool {
        let in_mount = self.way.mount != 0;
        // SAFETY: the probe's own slot.
        let ended = unsafe {
            match self.way.next() {
                Next::End => Some(status::WHOLE),
                Next::Top => Some(if in_mount { status::UNREACHABLE } else { status::WHOLE }),
                Next::Crossed if count(&raw mut (*self.scratch).cursor.mounts) >= MAX_MOUNTS => {
                    Some(status::TOO_MANY_MOUNTS)
                }
                Next::Crossed => None,
                Next::Name { .. } if count(&raw mut (*self.scratch).cursor.names) >= MAX_NAMES => {
                    Some(status::TOO_DEEP)
                }
                Next::Name { dentry, version } => {
                    note(&raw mut (*self.scratch).cursor, dentry, version);
                    match append(self.scratch, name(dentry)) {
                        None => Some(status::UNREADABLE),
                        Some(end) if end.wrapping_sub(self.start) > MAX_WALK_BYTES => Some(status::TOO_LONG),
                        Some(_) => None,
                    }
                }
            }
        };
        self.status = ended.unwrap_or(self.status);
        ended.is_some()
    }
}

/// Notes that a dentry was seen.
///
/// # Safety
/// `cursor` points into the probe's own slot.
#[inline(always)]
unsafe fn note(cursor: *mut Cursor, dentry: u64, version: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        let (seen, versions) = (&raw mut (*cursor).seen, &raw mut (*cursor).versions);
        seen.write_volatile(with(seen.read_volatile(), dentry, version));
        versions.write_volatile(versions.read_volatile() | version);
    }
}

/// Appends a name at the cursor; where the next one goes, `None` where it could not be read.
///
/// # Safety
/// `scratch` is the probe's own slot.
#[inline(always)]
unsafe fn append(scratch: *mut Scratch, name: u64) -> Option<u32> {
    // SAFETY: the slot is as long as the mask allows plus more than a name; the helper bears any source.
    unsafe {
        let end = &raw mut (*scratch).cursor.end;
        let at = end.read_volatile();
        let to = scratch.cast::<u8>().add(at as usize & SCRATCH_MASK);
        let bytes = generated::bpf_probe_read_kernel_str(to.cast(), NAME_BYTES as u32, name as *const _);
        let next = at.wrapping_add(bytes as u32);
        end.write_volatile(next);
        (bytes > 1).then_some(next)
    }
}

/// Counts one more; how many there were before.
///
/// # Safety
/// `counter` points into the probe's own slot.
#[inline(always)]
unsafe fn count(counter: *mut u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        let before = counter.read_volatile();
        counter.write_volatile(before + 1);
        before
    }
}

#[inline(always)]
fn result(end: u32, status: u16) -> u64 {
    u64::from(status) << 32 | u64::from(end)
}

#[inline(always)]
fn root_of(mount: u64) -> u64 {
    pointer(mount.wrapping_add(u64::from(MOUNT_VFSMOUNT.load())), &VFSMOUNT_ROOT)
}

/// Where the name of a dentry stands: `d_name.name`, by the member that this kernel has.
#[inline(always)]
fn name(dentry: u64) -> u64 {
    let offset: &Global<u32> = if DENTRY_NAME.load() == ABSENT { &DENTRY_NAME_618 } else { &DENTRY_NAME };
    read(dentry.wrapping_add(u64::from(offset.load())))
}
