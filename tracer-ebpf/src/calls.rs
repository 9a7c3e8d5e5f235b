//! System calls: when they begin, what they are about, how they end, and what their caller claimed. All of it runs outside
//! of sections.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated};
use tracer_common::{
    fact::{CallEnd, FSTYPE_BYTES, MAKES_NAMESPACE, MountFact, SOURCE_BYTES, TARGET_BYTES, kind, syscall, target},
    hook::{self, DOORS, Door},
};

use crate::{
    context::Entry,
    emit::{Wake, actor, call, call_start, header, lost, now, send},
    globals::{
        FILE_PATH, FILES_TABLE, MOUNT_ID, MOUNT_NS, MOUNT_VFSMOUNT, PATH_DENTRY, PATH_MNT, TABLE_FILES, TASK_FILES,
    },
    maps::{CALLS, Call, OPEN, SCRATCH, SCRATCH_MASK, SHORT, SHORT_MASK, short, slot},
    mount::{Place, fill},
    read::{member, pointer, read, user_string, user_word},
    turn::{Turn, bit},
};

/// `OPEN_TREE_CLONE` and `OPEN_TREE_NAMESPACE` of `uapi/linux/mount.h`: without them `open_tree(2)` makes nothing.
const OPEN_TREE_MAKES: u64 = 1 | MAKES_NAMESPACE;
/// `MS_MGC_MSK` and `MS_MGC_VAL` of `uapi/linux/mount.h`: a number without meaning since 2.4 that old callers put into the
/// upper half of mount(2)'s flags. The kernel takes it away first (`path_mount`).
const MAGIC_MASK: u64 = 0xffff_0000;
const MAGIC: u64 = 0xc0ed_0000;

/// The caller's registers: `struct pt_regs` of x86-64, in bytes, in the order of the arguments.
const REGISTERS: [u64; 6] = [112, 104, 96, 56, 72, 64];
/// The same for 32-bit callers: bx, cx, dx, si, di, bp.
const COMPAT_REGISTERS: [u64; 6] = [40, 88, 96, 104, 112, 32];

/// What a caller gave: addresses of its memory, and numbers.
#[derive(Clone, Copy)]
struct Given {
    source: u64,
    target: u64,
    fstype: u64,
    flags: u64,
    attributes: u64,
    /// `struct mount_attr *`.
    setattr: u64,
}

/// A call begins.
#[inline(always)]
pub(crate) fn begins(number: usize, registers: u64, turn: Turn) {
    let door = DOORS[number];
    let flags = given(door, registers).flags;
    if door.syscall == syscall::OPEN_TREE && flags & OPEN_TREE_MAKES == 0 {
        return;
    }
    let hook = hook::CALL_ENTER + number as u32;
    if !turn.has_work(hook, call().is_some()) {
        return;
    }
    let syscall = if door.syscall == syscall::OLD_UMOUNT { syscall::UMOUNT } else { door.syscall };
    let call = Call {
        start_ns: now(),
        flags,
        registers,
        target_id: 0,
        facts: 0,
        delivered: 0,
        syscall,
        target: target::NONE,
        sections: 0,
        seen: bit(hook),
    };
    let _ = OPEN.insert(bpf_get_current_pid_tgid(), call, 0);
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
    let target = detached(number, door, open.flags, result, turn).unwrap_or(open.target);
    let Some(slot) = SHORT.get_ptr_mut(turn.slot(number as u32, short::SECONDS)) else { return };
    let end = slot.cast::<CallEnd>();
    let given = given(door, registers);
    // SAFETY: this program's own slot, longer than the fixed part.
    unsafe {
        (*end).header = header(kind::CALL_END, hook, open.start_ns, 0);
        (*end).start_ns = open.start_ns;
        (*end).flags = given.flags;
        (*end).attributes = given.attributes;
        (*end).cleared = 0;
        (*end).propagation = 0;
        if door.syscall == syscall::MOUNT_SETATTR {
            (*end).attributes = user_word(given.setattr);
            (*end).cleared = user_word(given.setattr + 8);
            (*end).propagation = user_word(given.setattr + 16);
        }
        (*end).result = result;
        (*end).syscall = open.syscall;
        (*end).target = target;
        (*end).target_id = open.target_id;
        (*end).sections = open.sections;
        (*end).reserved = 0;
        actor(&raw mut (*end).actor);
        (*end).fstype = [0; FSTYPE_BYTES];
        user_string((&raw mut (*end).fstype).cast(), FSTYPE_BYTES as u32, given.fstype);
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
    let _ = OPEN.remove(bpf_get_current_pid_tgid());
    if !sent && open.delivered == 0 {
        lost();
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
    let call = Call {
        start_ns: 0,
        flags: 0,
        registers: 0,
        target_id: 0,
        facts: 1,
        delivered: 0,
        syscall: door.syscall,
        target: target::NONE,
        sections: 0,
        seen: 0,
    };
    if door.syscall == syscall::MOUNT { Some(call) } else { None }
}

/// Where each system call has its arguments.
#[inline(always)]
fn given(door: Door, registers: u64) -> Given {
    let none = Given { source: 0, target: 0, fstype: 0, flags: 0, attributes: 0, setattr: 0 };
    let argument = |n| argument(door, registers, n);
    match door.syscall {
        syscall::MOUNT => {
            let flags = argument(3);
            let flags = if flags & MAGIC_MASK == MAGIC { flags & !MAGIC_MASK } else { flags };
            Given { source: argument(0), target: argument(1), fstype: argument(2), flags, ..none }
        }
        syscall::UMOUNT => Given { target: argument(0), flags: argument(1) & 0xffff_ffff, ..none },
        syscall::OLD_UMOUNT => Given { target: argument(0), ..none },
        syscall::MOVE_MOUNT => {
            Given { source: argument(1), target: argument(3), flags: argument(4) & 0xffff_ffff, ..none }
        }
        syscall::FSMOUNT => Given { flags: argument(1) & 0xffff_ffff, attributes: argument(2) & 0xffff_ffff, ..none },
        syscall::OPEN_TREE => Given { source: argument(1), flags: argument(2) & 0xffff_ffff, ..none },
        _ => Given { target: argument(1), flags: argument(2) & 0xffff_ffff, setattr: argument(3), ..none },
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

/// The open call of this thread, where this program has a hook's work to do, and notes that the hook has seen it.
#[inline(always)]
fn unseen(hook: u32, turn: Turn) -> Option<*mut Call> {
    let call = call()?;
    // SAFETY: a map value; only this thread writes it.
    unsafe {
        let done = (*call).seen & bit(hook) != 0;
        (*call).seen |= bit(hook);
        turn.has_work(hook, done).then_some(call)
    }
}

/// `int path_mount(const char *dev_name, struct path *path, ...)` has returned: where no section has said which mount
/// the call is about, the path says it.
#[inline(always)]
pub(crate) fn mount_target(context: &impl Entry, turn: Turn) {
    let Some(call) = unseen(hook::MOUNT_TARGET, turn) else { return };
    let path = context.argument(1);
    let subject = mount_of(path);
    // SAFETY: a map value; only this thread writes it.
    unsafe {
        if (*call).facts == 0 {
            let walk_from = Some((subject, pointer(path, &PATH_DENTRY)));
            (*call).target =
                target_fact(hook::MOUNT_TARGET, turn.slot(slot::MOUNT_TARGET, slot::SECONDS), subject, walk_from);
        }
    }
}

/// `int path_umount(struct path *path, int flags)` begins: this is the mount that is to go.
#[inline(always)]
pub(crate) fn umount_target(context: &impl Entry, turn: Turn) {
    let subject = mount_of(context.argument(0));
    if let Some(call) = unseen(hook::UMOUNT_TARGET, turn) {
        // SAFETY: a map value; only this thread writes it.
        unsafe { (*call).target_id = member(subject, &MOUNT_ID) };
    }
}

/// `path_umount` has returned, and it has put the path: the number tells whether the mount is still the one that the
/// call began with.
#[inline(always)]
pub(crate) fn umount_kept(context: &impl Entry, turn: Turn) {
    let Some(call) = unseen(hook::UMOUNT_KEPT, turn) else { return };
    let path = context.argument(0);
    let subject = mount_of(path);
    // SAFETY: a map value; only this thread writes it.
    unsafe {
        if (*call).facts == 0 && (*call).target_id == member::<u32>(subject, &MOUNT_ID) {
            let walk_from = Some((subject, pointer(path, &PATH_DENTRY)));
            (*call).target =
                target_fact(hook::UMOUNT_KEPT, turn.slot(slot::UMOUNT_KEPT, slot::SECONDS), subject, walk_from);
        }
    }
}

/// The mount behind the descriptor that fsmount(2) or `open_tree(2)` returned; `None` for the other calls, and where the
/// descriptor is of a namespace.
#[inline(always)]
fn detached(number: usize, door: Door, flags: u64, result: i32, turn: Turn) -> Option<u32> {
    let first = match door.syscall {
        syscall::FSMOUNT => slot::FIRST_DETACHED,
        syscall::OPEN_TREE => slot::FIRST_DETACHED + 2,
        _ => return None,
    };
    if result < 0 || flags & MAKES_NAMESPACE != 0 {
        return None;
    }
    // SAFETY: the helper takes nothing.
    let task = unsafe { generated::bpf_get_current_task() };
    let table = pointer(pointer(task, &TASK_FILES), &FILES_TABLE);
    let file = read::<u64>(pointer(table, &TABLE_FILES) + u64::from(result.cast_unsigned()) * 8);
    let path = file.wrapping_add(u64::from(FILE_PATH.load()));
    let subject = mount_of(path);
    let hook = hook::CALL_EXIT + number as u32;
    // It is in no table: nothing leads to it.
    let slot = turn.slot(first + u32::from(door.compat), slot::SECONDS);
    Some(target_fact(hook, slot, subject, None))
}

/// Sends the mount that the open call is about; what became of it, as `fact::target` says it.
#[inline(always)]
fn target_fact(hook: u32, number: u32, subject: u64, walk_from: Option<(u64, u64)>) -> u32 {
    let Some(slot) = SCRATCH.get_ptr_mut(number) else { return target::LOST };
    // SAFETY: this program's own slot, longer than the fixed part.
    unsafe { (*slot.cast::<MountFact>()).header = header(kind::TARGET, hook, call_start(), 0) };
    let place = Place { mount: subject, namespace: pointer(subject, &MOUNT_NS), walk_from };
    let bytes = fill(number, slot, &place) & SCRATCH_MASK;
    // SAFETY: the slot is longer than the mask.
    let sent = unsafe { send(&CALLS, hook, slot.cast(), bytes, 0, Wake::No) };
    if sent { target::SENT } else { target::LOST }
}

/// The mount that a `struct path` leads to.
#[inline(always)]
fn mount_of(path: u64) -> u64 {
    pointer(path, &PATH_MNT).wrapping_sub(u64::from(MOUNT_VFSMOUNT.load()))
}
