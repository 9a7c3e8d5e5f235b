//! System calls: when they begin, what they are about, how they end, and what their caller claimed. All of it runs outside
//! of sections.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use tracer_common::{
    arch::{COMPAT_REGISTERS, REGISTERS},
    fact::{CallEnd, FSTYPE_BYTES, MAKES_NAMESPACE, SOURCE_BYTES, TARGET_BYTES, kind, syscall, target},
    hook::{self, DOORS, Door},
};

use crate::{
    emit::{Wake, actor, call, dirty, header, lost, now, own_namespace, send},
    failures,
    globals::{CONTEXT_ROOT, CONTEXT_TYPE, DENTRY_SB, FILE_DATA, SB_DEV, TYPE_NAME},
    maps::{CALLS, Call, OPEN, SHORT, SHORT_MASK, short},
    read::{member, pointer, read, string, user_string, user_word},
    setting,
    targets::{Behind, behind, file_of},
    turn::Turn,
};

/// `OPEN_TREE_CLONE` and `OPEN_TREE_NAMESPACE` of `uapi/linux/mount.h`: without them `open_tree(2)` makes nothing.
const OPEN_TREE_MAKES: u64 = 1 | MAKES_NAMESPACE;
/// `FSCONFIG_CMD_RECONFIGURE` of `uapi/linux/mount.h`: the only command of `fsconfig(2)` that changes what is mounted.
const RECONFIGURE: u64 = 7;
/// `MS_MGC_MSK` and `MS_MGC_VAL` of `uapi/linux/mount.h`: a number without meaning since 2.4 that old callers put into the
/// upper half of mount(2)'s flags. The kernel takes it away first (`path_mount`).
const MAGIC_MASK: u64 = 0xffff_0000;
const MAGIC: u64 = 0xc0ed_0000;

/// `MS_REMOUNT` of `uapi/linux/mount.h`.
const REMOUNT: u64 = 32;

/// What a caller gave: addresses of its memory, and numbers.
#[derive(Clone, Copy)]
pub(crate) struct Given {
    source: u64,
    pub(crate) target: u64,
    fstype: u64,
    pub(crate) flags: u64,
    attributes: u64,
    /// `struct mount_attr *`.
    setattr: u64,
    /// The descriptor that the call is about, or that its path begins at.
    pub(crate) directory: i32,
    /// The command of `fsconfig(2)`.
    command: u64,
}

/// A call begins.
#[inline(always)]
pub(crate) fn begins(number: usize, registers: u64, turn: Turn) {
    let door = DOORS[number];
    let given = given(door, registers);
    if !changes(door, &given) {
        return;
    }
    let hook = hook::CALL_ENTER + number as u32;
    let before = call();
    if !turn.has_work(hook, before.is_some()) {
        return;
    }
    if let Some(before) = before {
        end_was_skipped(before);
    }
    let syscall = if door.syscall == syscall::OLD_UMOUNT { syscall::UMOUNT } else { door.syscall };
    let call = Call { start_ns: now(), flags: given.flags, registers, ..Call::new(syscall, hook) };
    if OPEN.insert(bpf_get_current_pid_tgid(), call, 0).is_ok() {
        setting::begins(&call);
    }
}

/// This thread's call before has ended without a word, because the kernel skipped its return probes, which it counts nowhere. If it
/// changed attributes, nobody knows of which mount.
#[inline(always)]
fn end_was_skipped(before: *mut Call) {
    // SAFETY: a map value; only this thread writes it.
    let (syscall, flags) = unsafe { ((*before).syscall, (*before).flags) };
    // SAFETY: as above.
    setting::ends(unsafe { &*before });
    if syscall == syscall::MOUNT_SETATTR || syscall == syscall::MOUNT && flags & REMOUNT != 0 {
        dirty(Some(own_namespace()));
    }
}

/// Whether a call can change anything. `open_tree(2)` without a clone only opens; without attributes so does
/// `open_tree_attr(2)`.
#[inline(always)]
fn changes(door: Door, given: &Given) -> bool {
    match door.syscall {
        syscall::OPEN_TREE => given.flags & OPEN_TREE_MAKES != 0,
        syscall::OPEN_TREE_ATTR => given.flags & OPEN_TREE_MAKES != 0 || given.setattr != 0,
        syscall::FSCONFIG => given.command == RECONFIGURE,
        _ => true,
    }
}

/// The registers of the caller whose call is open on this thread, for a return probe.
#[inline(always)]
pub(crate) fn registers() -> Option<u64> {
    // SAFETY: a map value; only this thread writes it.
    call().map(|call| unsafe { (*call).registers })
}

/// A call ends.
#[inline(always)]
pub(crate) fn ends(number: usize, registers: u64, result: u64, turn: Turn) {
    let (door, hook) = (DOORS[number], hook::CALL_EXIT + number as u32);
    if !turn.has_work(hook, call().is_none()) {
        return;
    }
    // SAFETY: a map value; only this thread writes it.
    let Some(open) = call().map(|open| unsafe { *open }).or_else(|| begun_unseen(door)) else { return };
    let result = result as i32;
    let given = given(door, registers);
    if !changes(door, &given) {
        return;
    }
    if result < 0 && open.sections == 0 && failures::only_counted(open.target, open.syscall, result.unsigned_abs()) != 0
    {
        closes(&open);
        return;
    }
    let door_of = Behind { hook, syscall: door.syscall, compat: door.compat, turn };
    let found = if open.target == target::NOT_TOLD { target::NONE } else { open.target };
    let target_became = behind(door_of, &open, &given, result, found);
    let Some(slot) = SHORT.get_ptr_mut(turn.slot(number as u32, short::SECONDS)) else { return };
    let end = slot.cast::<CallEnd>();
    // SAFETY: this program's own slot, longer than the fixed part.
    unsafe {
        (*end).header = header(kind::CALL_END, hook, open.start_ns, 0);
        (*end).start_ns = open.start_ns;
        (*end).flags = given.flags;
        (*end).attributes = given.attributes;
        (*end).cleared = 0;
        (*end).propagation = 0;
        if given.setattr != 0 {
            (*end).attributes = user_word(given.setattr);
            (*end).cleared = user_word(given.setattr + 8);
            (*end).propagation = user_word(given.setattr + 16);
        }
        (*end).result = result;
        (*end).syscall = open.syscall;
        (*end).target = target_became;
        (*end).target_id = open.target_id;
        (*end).sections = open.sections;
        (*end).dev = 0;
        actor(&raw mut (*end).actor);
        (*end).fstype = [0; FSTYPE_BYTES];
        user_string((&raw mut (*end).fstype).cast(), FSTYPE_BYTES as u32, given.fstype);
        if door.syscall == syscall::FSCONFIG && result == 0 {
            let context = pointer(file_of(given.directory), &FILE_DATA);
            let name = pointer(pointer(context, &CONTEXT_TYPE), &TYPE_NAME);
            string((&raw mut (*end).fstype).cast(), FSTYPE_BYTES as u32, name);
            (*end).dev = member(pointer(pointer(context, &CONTEXT_ROOT), &DENTRY_SB), &SB_DEV);
        }
    }
    let mut bytes = size_of::<CallEnd>();
    // SAFETY: the slot is as long as the mask allows plus more than either string.
    let sent = unsafe {
        let source_bytes = user_string(slot.cast::<u8>().add(bytes), SOURCE_BYTES as u32, given.source);
        (*end).source_bytes = source_bytes as u32;
        bytes += source_bytes;
        let to = slot.cast::<u8>().add(bytes & SHORT_MASK);
        let target_bytes = whole(user_string(to, TARGET_BYTES as u32, given.target));
        (*end).target_bytes = target_bytes as u32;
        bytes = (bytes & SHORT_MASK) + (target_bytes & (2 * TARGET_BYTES - 1));
        send(&CALLS, hook, slot.cast(), bytes, 0, Wake::Yes)
    };
    closes(&open);
    if !sent && open.delivered == 0 {
        lost();
    }
    if !sent && door.syscall == syscall::MOUNT_SETATTR {
        // Its end alone says that attributes changed.
        dirty(Some(own_namespace()));
    }
}

/// Forgets this thread's call.
#[inline(always)]
fn closes(open: &Call) {
    if OPEN.remove(bpf_get_current_pid_tgid()).is_ok() {
        setting::ends(open);
    }
}

/// A string that was cut is none.
#[inline(always)]
fn whole(bytes: usize) -> usize {
    if bytes >= TARGET_BYTES { 0 } else { bytes }
}

/// A mount(2) whose beginning was missed: its sections carry no call, and its end has no beginning. They are joined by
/// their thread. An unmount needs no join: what it detached says by itself that it was one.
#[inline(always)]
fn begun_unseen(door: Door) -> Option<Call> {
    let call = Call { facts: 1, seen: 0, ..Call::new(door.syscall, 0) };
    if door.syscall == syscall::MOUNT { Some(call) } else { None }
}

/// Where each system call has its arguments.
#[inline(always)]
fn given(door: Door, registers: u64) -> Given {
    let none = Given { source: 0, target: 0, fstype: 0, flags: 0, attributes: 0, setattr: 0, directory: 0, command: 0 };
    let argument = |n| argument(door, registers, n);
    let word = |n| argument(n) & 0xffff_ffff;
    match door.syscall {
        syscall::MOUNT => {
            let flags = argument(3);
            let flags = if flags & MAGIC_MASK == MAGIC { flags & !MAGIC_MASK } else { flags };
            Given { source: argument(0), target: argument(1), fstype: argument(2), flags, ..none }
        }
        syscall::UMOUNT => Given { target: argument(0), flags: word(1), ..none },
        syscall::OLD_UMOUNT => Given { target: argument(0), ..none },
        syscall::MOVE_MOUNT => Given { source: argument(1), target: argument(3), flags: word(4), ..none },
        syscall::FSMOUNT => Given { flags: word(1), attributes: word(2), ..none },
        syscall::OPEN_TREE => Given { source: argument(1), flags: word(2), ..none },
        syscall::OPEN_TREE_ATTR => {
            // Without a size there are no attributes.
            let setattr = if argument(4) == 0 { 0 } else { argument(3) };
            let (source, target) = if word(2) & OPEN_TREE_MAKES == 0 { (0, argument(1)) } else { (argument(1), 0) };
            Given { source, target, flags: word(2), setattr, ..none }
        }
        syscall::FSCONFIG => Given { directory: word(0) as i32, command: word(1), ..none },
        syscall::PIVOT_ROOT => Given { source: argument(0), target: argument(1), ..none },
        _ => Given { directory: word(0) as i32, target: argument(1), flags: word(2), setattr: argument(3), ..none },
    }
}

#[inline(always)]
fn argument(door: Door, registers: u64, n: usize) -> u64 {
    if door.compat {
        read::<u64>(registers + COMPAT_REGISTERS[n]) & 0xffff_ffff
    } else {
        read(registers + REGISTERS[n])
    }
}
