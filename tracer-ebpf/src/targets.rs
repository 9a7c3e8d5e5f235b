//! The mounts that calls are about, as the kernel found them: at the caller's path, behind a descriptor. All of it runs
//! outside of sections.

use aya_ebpf::helpers::bpf_probe_read_user;
use tracer_common::{
    fact::{MAKES_NAMESPACE, MountFact, kind, syscall, target},
    hook::{self, reason},
};

use crate::{
    calls::Given,
    context::{Entry, Exit},
    emit::{Wake, call, call_start, dirty, dropped, header, send},
    failures,
    globals::{
        FILE_PATH, FILES_TABLE, FS_PWD, MOUNT_GROUP, MOUNT_ID, MOUNT_MASTER, MOUNT_NS, PATH_DENTRY, TABLE_FILES,
        TASK_FILES, TASK_FS,
    },
    maps::{CALLS, Call, SCRATCH, SCRATCH_MASK, slot},
    mount::{Place, fill, mount_of, own_root, stands_at},
    namespaces::made_behind,
    read::{current, member, pointer, read},
    setting,
    steps::Steps,
    tree::{self, next_mount},
    turn::{Turn, bit},
};

/// `MOVE_MOUNT_SET_GROUP` of `uapi/linux/mount.h`.
const SET_GROUP: u64 = 0x100;
/// `OPEN_TREE_CLONE` of `uapi/linux/mount.h`.
const CLONE: u64 = 1;
/// Arguments of `path_mount` and `path_umount`, on every kernel.
const PATH_MOUNT_ARGUMENTS: u32 = 5;
const PATH_UMOUNT_ARGUMENTS: u32 = 2;
/// `AT_EMPTY_PATH`, `AT_RECURSIVE` and `AT_FDCWD` of `uapi/linux/fcntl.h`.
const EMPTY_PATH: u64 = 0x1000;
const RECURSIVE: u64 = 0x8000;
const CURRENT_DIRECTORY: i32 = -100;

/// Mounts below another one whose attributes are told where the verifier follows each of them.
const FEW_BRANCHES: u32 = 256;
/// The same where they are not followed. Nothing keeps the tree as it is meanwhile.
const MANY_BRANCHES: u32 = 4096;

/// A door whose call is about a mount behind a descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Behind {
    /// The door's exit hook.
    pub(crate) hook: u32,
    /// Which call, and whether 32-bit callers come in here.
    pub(crate) syscall: u32,
    pub(crate) compat: bool,
    pub(crate) turn: Turn,
}

/// Sends the mounts that a call which has ended is about, where a descriptor leads to them or their attributes were set; what became
/// of them. Else it is what became of those that were found before.
#[inline(always)]
pub(crate) fn behind(door: Behind, open: &Call, given: &Given, result: i32, before: u32) -> u32 {
    let flags = given.flags;
    if result < 0 {
        return before;
    }
    match door.syscall {
        syscall::FSMOUNT | syscall::OPEN_TREE | syscall::OPEN_TREE_ATTR if flags & MAKES_NAMESPACE != 0 => {
            made_behind(door.hook, door.syscall, result);
            before
        }
        syscall::FSMOUNT => detached(door, slot::FSMOUNT, result),
        syscall::OPEN_TREE => detached(door, slot::OPEN_TREE, result),
        syscall::OPEN_TREE_ATTR if flags & CLONE != 0 => detached(door, slot::OPEN_TREE_ATTR, result),
        syscall::OPEN_TREE_ATTR | syscall::MOUNT_SETATTR => {
            let recursive = flags & RECURSIVE != 0;
            if open.subject == 0 {
                let subject = behind_descriptor(door.syscall, given, result);
                return if subject == 0 { before } else { with_attributes(door, subject, recursive) };
            }
            // Nothing holds the mount any more.
            if member::<u32>(open.subject, &MOUNT_ID) != open.target_id {
                return target::GONE;
            }
            with_attributes(Behind { hook: hook::SETATTR_TARGET, ..door }, open.subject, recursive)
        }
        _ => before,
    }
}

/// The mount whose attributes a call has set, where [`setattr_target`] missed it and a descriptor of the caller's leads to it, or 0: as
/// the descriptor is now, and not as the call found it.
#[inline(always)]
fn behind_descriptor(syscall: u32, given: &Given, result: i32) -> u64 {
    let path = match given.directory {
        _ if syscall == syscall::OPEN_TREE_ATTR => path_of(result),
        _ if given.flags & EMPTY_PATH == 0 || !is_empty(given.target) => return 0,
        CURRENT_DIRECTORY => pointer(current(), &TASK_FS).wrapping_add(u64::from(FS_PWD.load())),
        descriptor => path_of(descriptor),
    };
    mount_of(path)
}

/// The mount behind the descriptor that the call returned. It is in no table: nothing leads to it.
#[inline(always)]
fn detached(door: Behind, first: u32, result: i32) -> u32 {
    let slot = door.turn.slot(first + u32::from(door.compat), slot::SECONDS);
    target_fact(door.hook, slot, mount_of(path_of(result)), None)
}

/// A mount whose attributes were set, or a whole tree of them.
#[inline(always)]
fn with_attributes(door: Behind, root: u64, recursive: bool) -> u32 {
    struct Setting {
        hook_and_slot: u32,
        became: u32,
        root: u64,
        at: u64,
        left: bool,
    }
    impl Steps for Setting {
        const FEW: u32 = FEW_BRANCHES;
        const MANY: u32 = MANY_BRANCHES;

        #[inline(always)]
        fn step(&mut self) -> bool {
            let next = next_mount(self.at, self.root);
            // One that was taken out of its parent's list is its own sibling.
            self.left = next == tree::LEFT || next == self.at;
            let over = next == tree::END || self.left;
            if !over {
                // `LOST` is above `SENT`.
                self.became |= attributes_fact(self.hook_and_slot, next);
            }
            self.at = next;
            over
        }
    }
    let first = if door.syscall == syscall::MOUNT_SETATTR { slot::MOUNT_SETATTR } else { slot::OPEN_TREE_ATTR };
    let hook_and_slot = door.hook << 16 | door.turn.slot(first + u32::from(door.compat), slot::SECONDS);
    let became = attributes_fact(hook_and_slot, root);
    let mut setting = Setting { hook_and_slot, became, root, at: root, left: false };
    if !recursive || setting.walk() && !setting.left {
        return setting.became;
    }
    dropped(door.hook, reason::LIST_TOO_LONG);
    dirty(Some(pointer(root, &MOUNT_NS)));
    target::LOST
}

/// A global function, so that a tree costs the verifier one look and not one for each mount.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn attributes_fact(hook_and_slot: u32, subject: u64) -> u32 {
    let walk_from = stands_at(subject, pointer(subject, &MOUNT_NS));
    target_fact(hook_and_slot >> 16, hook_and_slot & 0xffff, subject, walk_from)
}

/// The `struct path` of the file behind one of the caller's descriptors.
#[inline(always)]
pub(crate) fn path_of(descriptor: i32) -> u64 {
    file_of(descriptor).wrapping_add(u64::from(FILE_PATH.load()))
}

/// The `struct file` behind one of the caller's descriptors.
#[inline(always)]
pub(crate) fn file_of(descriptor: i32) -> u64 {
    let table = pointer(pointer(current(), &TASK_FILES), &FILES_TABLE);
    read::<u64>(pointer(table, &TABLE_FILES) + u64::from(descriptor.cast_unsigned()) * 8)
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
pub(crate) fn mount_target(context: &impl Exit, turn: Turn) {
    let Some(call) = unseen(hook::MOUNT_TARGET, turn) else { return };
    let failed = is_negative(context.result(PATH_MOUNT_ARGUMENTS));
    let path = context.argument(1);
    let subject = mount_of(path);
    // SAFETY: a map value; only this thread writes it.
    unsafe {
        if (*call).facts == 0 {
            let walk_from = Some((subject, pointer(path, &PATH_DENTRY)));
            let slot = turn.slot(slot::MOUNT_TARGET, slot::SECONDS);
            (*call).target = target_unless(failed, hook::MOUNT_TARGET, slot, subject, walk_from);
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
pub(crate) fn umount_kept(context: &impl Exit, turn: Turn) {
    let Some(call) = unseen(hook::UMOUNT_KEPT, turn) else { return };
    let failed = is_negative(context.result(PATH_UMOUNT_ARGUMENTS));
    let path = context.argument(0);
    let subject = mount_of(path);
    // SAFETY: a map value; only this thread writes it.
    unsafe {
        if (*call).facts == 0 && (*call).target_id == member::<u32>(subject, &MOUNT_ID) {
            let walk_from = Some((subject, pointer(path, &PATH_DENTRY)));
            let slot = turn.slot(slot::UMOUNT_KEPT, slot::SECONDS);
            (*call).target = target_unless(failed, hook::UMOUNT_KEPT, slot, subject, walk_from);
        }
    }
}

/// `int user_path_at(int dfd, const char *name, unsigned flags, struct path *path)` has returned, or before 6.12
/// `user_path_at_empty`, which has the path in the same place. Whether it found something the call's own result says.
#[inline(always)]
pub(crate) fn setattr_target(context: &impl Exit, turn: Turn) {
    if !setting::is_this_thread() {
        return;
    }
    let Some(call) = unseen(hook::SETATTR_TARGET, turn) else { return };
    let subject = mount_of(context.argument(3));
    // SAFETY: a map value; only this thread writes it.
    unsafe {
        (*call).subject = subject;
        (*call).target_id = member(subject, &MOUNT_ID);
    }
}

/// `int security_move_mount(const struct path *from_path, const struct path *to_path)`: `move_mount(2)` has found both. What
/// joins a peer group is private before, and no hook inside its section tells that it did.
#[inline(always)]
pub(crate) fn move_target(context: &impl Entry, turn: Turn) {
    let Some(call) = unseen(hook::MOVE_TARGET, turn) else { return };
    let path = context.argument(1);
    let subject = mount_of(path);
    let is_private = member::<u32>(subject, &MOUNT_GROUP) == 0 && pointer(subject, &MOUNT_MASTER) == 0;
    let walk_from = Some((subject, pointer(path, &PATH_DENTRY)));
    // SAFETY: a map value; only this thread writes it.
    unsafe {
        if (*call).flags & SET_GROUP != 0 && is_private {
            (*call).subject = subject;
        }
        let slot = turn.slot(slot::MOVE_TARGET, slot::SECONDS);
        // Who succeeds has sections, which tell more.
        (*call).target = target_unless(true, hook::MOVE_TARGET, slot, subject, walk_from);
    }
}

/// `int security_sb_pivotroot(const struct path *old_path, const struct path *new_path)`: `pivot_root(2)` has found both.
#[inline(always)]
pub(crate) fn pivot_target(context: &impl Entry, turn: Turn) {
    let Some(call) = unseen(hook::PIVOT_TARGET, turn) else { return };
    let path = context.argument(1);
    let subject = mount_of(path);
    let walk_from = Some((subject, pointer(path, &PATH_DENTRY)));
    // SAFETY: a map value; only this thread writes it.
    unsafe {
        (*call).subject = subject;
        (*call).old_root = own_root();
        let slot = turn.slot(slot::PIVOT_TARGET, slot::SECONDS);
        (*call).target = target_unless(true, hook::PIVOT_TARGET, slot, subject, walk_from);
    }
}

/// The same as [`target_fact`], unless the call fails, or may, and its cgroup has too many failures.
#[inline(always)]
fn target_unless(fails: bool, hook: u32, number: u32, subject: u64, walk_from: Option<(u64, u64)>) -> u32 {
    if fails && !failures::has_room() { target::NOT_TOLD } else { target_fact(hook, number, subject, walk_from) }
}

/// Whether the result of a function that returns `int` is an error.
#[inline(always)]
fn is_negative(result: u64) -> bool {
    (result as u32).cast_signed() < 0
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
    if !sent {
        dirty(Some(place.namespace));
    }
    if sent { target::SENT } else { target::LOST }
}

/// Whether a string of the caller's is there and empty.
#[inline(always)]
fn is_empty(address: u64) -> bool {
    // SAFETY: the helper bears any address.
    unsafe { bpf_probe_read_user(address as *const u8) == Ok(0) }
}
