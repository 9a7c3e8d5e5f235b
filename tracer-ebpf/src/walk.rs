//! The path of a dentry, leaf first: from the dentry to its mount's root, across to the mount below, up to the root of
//! the namespace.

use aya_ebpf::{Global, helpers::generated};
use tracer_common::fact::{ABSENT, MAX_DENTRIES, MAX_MOUNTS, MAX_WALK_BYTES, NAME_BYTES, walk as status};

use crate::{
    globals::{
        DENTRY_NAME, DENTRY_NAME_618, DENTRY_PARENT, MOUNT_MOUNTPOINT, MOUNT_PARENT, MOUNT_VFSMOUNT, VFSMOUNT_ROOT,
    },
    maps::{Cursor, SCRATCH, SCRATCH_MASK, Scratch},
    read::{pointer, read},
};

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
    // SAFETY: this probe's own slot, as long as the mask allows plus more than a name.
    unsafe {
        let cursor = &raw mut (*scratch).cursor;
        cursor.write_volatile(Cursor { end: start, names: 0, mounts: 0, reserved: 0 });
        match steps(scratch, mount, dentry) {
            status::WHOLE if (*cursor).end - start > MAX_WALK_BYTES => result(start, status::TOO_LONG),
            status::WHOLE => result((*cursor).end, status::WHOLE),
            cut => result(start, cut),
        }
    }
}

/// The walk's loop; how it ended.
///
/// # Safety
/// `scratch` is the probe's own slot.
#[inline(always)]
unsafe fn steps(scratch: *mut Scratch, mut mount: u64, mut dentry: u64) -> u16 {
    let in_mount = mount != 0;
    let mut root = root_of(mount);
    for _ in 0..=MAX_DENTRIES + MAX_MOUNTS {
        if in_mount && dentry == root {
            let parent = pointer(mount, &MOUNT_PARENT);
            if parent == mount {
                return status::WHOLE;
            }
            // SAFETY: the caller's promise.
            if unsafe { count(&raw mut (*scratch).cursor.mounts) } >= MAX_MOUNTS {
                return status::TOO_MANY_MOUNTS;
            }
            dentry = pointer(mount, &MOUNT_MOUNTPOINT);
            mount = parent;
            root = root_of(mount);
            continue;
        }
        let parent = pointer(dentry, &DENTRY_PARENT);
        if parent == dentry {
            return if in_mount { status::UNREACHABLE } else { status::WHOLE };
        }
        // SAFETY: the caller's promise.
        if unsafe { count(&raw mut (*scratch).cursor.names) } >= MAX_DENTRIES {
            return status::TOO_DEEP;
        }
        // SAFETY: the caller's promise.
        if !unsafe { append(scratch, name(dentry)) } {
            return status::UNREADABLE;
        }
        dentry = parent;
    }
    status::TOO_DEEP
}

/// Appends a name at the cursor; false where it could not be read.
///
/// # Safety
/// `scratch` is the probe's own slot.
#[inline(always)]
unsafe fn append(scratch: *mut Scratch, name: u64) -> bool {
    // SAFETY: the slot is as long as the mask allows plus more than a name; the helper bears any source.
    unsafe {
        let end = &raw mut (*scratch).cursor.end;
        let at = end.read_volatile();
        let to = scratch.cast::<u8>().add(at as usize & SCRATCH_MASK);
        let bytes = generated::bpf_probe_read_kernel_str(to.cast(), NAME_BYTES as u32, name as *const _);
        end.write_volatile(at.wrapping_add(bytes as u32));
        bytes > 1
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
