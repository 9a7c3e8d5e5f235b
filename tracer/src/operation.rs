//! PURE: the vocabulary of what happened: mounts, facts about them, and the operations that users read.
//!
//! Strings are bytes here, because a path is; `output` makes them printable. It is one room, because it is one vocabulary.

mod about;

mod section;

pub use self::about::Whereabouts;
pub use self::section::{
    Asked, Bare, BareMount, BareMounts, ClonedMount, Clones, GoneMount, MountKey, Role, Section, SectionFact,
};
use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    device::Dev,
    pods::{cgroup_path::Owner, kubelet_path::VolumePath, named::Named, owners::Home},
};

/// A mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    /// The inode number of `/proc/PID/ns/mnt`; the kernel uses it again.
    pub inum: u32,
    /// The kernel's 64-bit id, never used again; 0 for an anonymous namespace up to 6.18.
    pub id: u64,
}

/// Why a path is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathGap {
    /// It has more names than a probe walks.
    TooDeep,
    /// It crosses more mounts than a probe walks.
    TooManyMounts,
    /// It has more bytes than a path may have.
    TooLong,
    /// It does not lead to the root of its namespace: a directory on it is deleted, or was moved out of a bind.
    Unreachable,
    /// A directory on it was moved while it was walked.
    Moved,
    /// Kernel memory could not be read.
    Unreadable,
    /// Nobody walked it.
    NotWalked,
}

impl PathGap {
    /// Whether there is a path, and the walk did not come to its end or raced with a move.
    pub fn was_cut(self) -> bool {
        matches!(self, Self::TooDeep | Self::TooManyMounts | Self::TooLong | Self::Moved)
    }

    /// The closed word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooDeep => "too_deep",
            Self::TooManyMounts => "too_many_mounts",
            Self::TooLong => "too_long",
            Self::Unreachable => "unreachable",
            Self::Moved => "moved",
            Self::Unreadable => "unreadable",
            Self::NotWalked => "not_walked",
        }
    }
}

/// A path, or why it is not known.
pub type Walked = Result<Vec<u8>, PathGap>;

/// What tells a mount and what it is made of from others: an identity stands for a kernel object as long as that lives, and is shown
/// nowhere. Equal ones are the same object; 0 is none, and all are 0 where no probe told the mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// The mount.
    pub mount: u64,
    /// The mount that it stands on; itself for a root.
    pub parent: u64,
    /// The dentry that it stands on.
    pub mountpoint: u64,
    /// The dentry that it shows.
    pub root: u64,
    /// The superblock that it shows.
    pub superblock: u64,
    /// The next mount of its peer group; itself when there is no other.
    pub next_peer: u64,
}

/// A mount, as the kernel's objects say it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What it is made of.
    pub objects: Objects,
    /// When a probe began to look at it, `CLOCK_BOOTTIME` in nanoseconds; 0 where none has.
    pub told_ns: u64,
    /// Mounts in its namespace; before the change, if this is the first fact of a section about that namespace.
    pub ns_mounts: u32,
    /// `mnt_id`, the first field of mountinfo; the kernel uses it again.
    pub id: u32,
    /// `mnt_id_unique`, from 6.8.
    pub id_unique: Option<u64>,
    /// The parent's `mnt_id`.
    pub parent_id: u32,
    /// The parent's `mnt_id_unique`, from 6.8.
    pub parent_id_unique: Option<u64>,
    /// The namespace that it is in; `None` when it is in none.
    pub namespace: Option<Namespace>,
    /// The superblock's device.
    pub dev: Dev,
    /// The device that its root is the node of: a raw block volume.
    pub rdev: Option<Dev>,
    /// `MNT_*` of `linux/mount.h`.
    pub flags: u32,
    /// The peer group, when shared.
    pub shared: Option<u32>,
    /// The master's peer group, when a slave.
    pub master: Option<u32>,
    /// It can not be bound.
    pub unbindable: bool,
    /// The file system's type.
    pub fstype: Vec<u8>,
    /// What was mounted, in the mounter's words as the kernel keeps them.
    pub source: Option<Vec<u8>>,
    /// Where it is mounted, seen from its namespace's root.
    pub path: Walked,
    /// Which directory of its file system it shows.
    pub root: Walked,
}

impl Mount {
    /// By what it is told from others.
    pub fn key(&self) -> MountKey {
        MountKey { id_unique: self.id_unique, id: self.id }
    }

    /// What of it is told where it has no names.
    pub fn bare(&self) -> BareMount {
        BareMount {
            identity: self.objects.mount,
            parent: self.objects.parent,
            mountpoint: self.objects.mountpoint,
            root: self.objects.root,
            superblock: self.objects.superblock,
            key: self.key(),
            parent_id: self.parent_id,
            dev: self.dev,
            flags: self.flags,
            shared: self.shared,
            master: self.master,
            unbindable: self.unbindable,
        }
    }

    /// The same of one that leaves its namespace.
    pub fn gone(&self) -> GoneMount {
        GoneMount {
            identity: self.objects.mount,
            next_peer: self.objects.next_peer,
            key: self.key(),
            parent_id: self.parent_id,
            shared: self.shared,
            master: self.master,
        }
    }
}

/// A call, named by its thread (`tgid << 32 | tid`) and when it began (`CLOCK_BOOTTIME`, nanoseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    /// `tgid << 32 | tid`.
    pub thread: u64,
    /// When it began.
    pub start_ns: u64,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// The thread's name.
    pub comm: Vec<u8>,
    /// User id in the initial user namespace.
    pub uid: u32,
    /// The cgroup's id in the v2 hierarchy.
    pub cgroup_id: u64,
    /// The thread's mount namespace.
    pub namespace: Option<Namespace>,
}

/// Which system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Syscall {
    /// mount(2).
    Mount,
    /// umount2(2), or the i386 umount(2).
    Umount,
    /// `move_mount(2)`.
    MoveMount,
    /// fsmount(2).
    Fsmount,
    /// `open_tree(2)` with `OPEN_TREE_CLONE`.
    OpenTree,
    /// `mount_setattr(2)`.
    MountSetattr,
    /// `pivot_root(2)`.
    PivotRoot,
    /// `fsconfig(2)` with `FSCONFIG_CMD_RECONFIGURE`.
    Fsconfig,
    /// `open_tree_attr(2)` with `OPEN_TREE_CLONE` or with attributes.
    OpenTreeAttr,
    /// clone(2).
    Clone,
    /// clone3(2).
    Clone3,
    /// unshare(2).
    Unshare,
}

impl Syscall {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Umount => "umount2",
            Self::MoveMount => "move_mount",
            Self::Fsmount => "fsmount",
            Self::OpenTree => "open_tree",
            Self::MountSetattr => "mount_setattr",
            Self::PivotRoot => "pivot_root",
            Self::Fsconfig => "fsconfig",
            Self::OpenTreeAttr => "open_tree_attr",
            Self::Clone => "clone",
            Self::Clone3 => "clone3",
            Self::Unshare => "unshare",
        }
    }
}

/// What the caller gave, copied from its own memory: another thread of it may have changed a string meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// What to mount, or from where to move; the new root.
    pub source: Option<Vec<u8>>,
    /// Where to; where the old root is to go.
    pub target: Option<Vec<u8>>,
    /// The file system's type.
    pub fstype: Option<Vec<u8>>,
    /// The call's flags: `MS_*`, `MNT_*`, `MOVE_MOUNT_*`, `FSMOUNT_*`, `OPEN_TREE_*` or `AT_*`, by the call.
    pub flags: u64,
    /// `MOUNT_ATTR_*` of fsmount(2), or those that `mount_setattr(2)` is to set; 0 for other calls.
    pub attributes: u64,
    /// `MOUNT_ATTR_*` that `mount_setattr(2)` is to clear; 0 for other calls.
    pub cleared: u64,
    /// `MS_SHARED`, `MS_PRIVATE`, `MS_SLAVE` or `MS_UNBINDABLE` of `mount_setattr(2)`; 0 for none and for other calls.
    pub propagation: u64,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEnd {
    /// Which call; its start is 0 when its beginning was missed.
    pub id: CallId,
    /// Which system call.
    pub syscall: Syscall,
    /// 0, or a positive errno.
    pub errno: u32,
    /// When it ended, `CLOCK_BOOTTIME` in nanoseconds.
    pub end_ns: u64,
    /// Who called.
    pub actor: Actor,
    /// What the caller gave.
    pub claimed: Claimed,
    /// `mnt_id` of the mount that an unmount was to take away.
    pub target_id: u32,
    /// Whether the kernel found mounts that the call is about, and no section says it.
    pub found: Found,
    /// How many sections of it changed something.
    pub sections: u32,
    /// That mount, where it is one; `path` is the caller's path, resolved.
    pub target: Option<Mount>,
    /// The file system that was reconfigured.
    pub superblock: Option<Superblock>,
}

/// Mounts that a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// There are none, or sections say it.
    None,
    /// There are.
    Some,
    /// There are, and a record about one was lost.
    Lost,
    /// There was one, and it was unmounted before the call ended.
    Gone,
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Its device.
    pub dev: Dev,
    /// Its type.
    pub fstype: Vec<u8>,
}

/// What brought an operation about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A system call that is asked for it.
    Syscall,
    /// The mount point was unlinked, removed or renamed, in another namespace.
    Rmdir,
    /// The namespace ended.
    NamespaceEnd,
    /// Nobody had used it for some time.
    Expiry,
    /// The last descriptor of a detached tree was closed.
    LastClose,
}

impl Cause {
    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Rmdir => "rmdir",
            Self::NamespaceEnd => "namespace_end",
            Self::Expiry => "expiry",
            Self::LastClose => "last_close",
        }
    }
}

/// What kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A new mount.
    Mount,
    /// A clone of a mount.
    Bind,
    /// Options of a mount or its file system change.
    Remount,
    /// It was in a namespace before.
    Move,
    /// Only propagation changed.
    Propagation,
    /// Options of a file system change, by `fsconfig(2)`.
    Reconfigure,
    /// Attributes of a mount change, by `mount_setattr(2)`.
    Setattr,
    /// A mount joins the peer group of another, by `move_mount(2)`.
    SetGroup,
    /// Another mount becomes the root, by `pivot_root(2)`.
    PivotRoot,
    /// A detach.
    Umount,
    /// A new mount that is in no namespace of a process yet.
    Fsmount,
    /// A clone that is in no namespace of a process yet.
    DetachedCopy,
    /// A mount namespace was made.
    NamespaceCreated,
    /// A mount namespace ended, and all that was mounted in it alone.
    NamespaceDestroyed,
    /// The kernel mounted by itself, on a path lookup.
    Automount,
    /// The kernel unmounted by itself what nobody used.
    Expired,
    /// It was mounted before anybody looked.
    Existing,
    /// Something was lost; what, [`Operation::gap`] says.
    Gap,
    /// Calls failed that were only counted; which, [`Operation::throttled`] says.
    Throttled,
}

impl Op {
    /// Every one of them, for `--event`.
    pub const ALL: &[Self] = &[
        Self::Mount,
        Self::Bind,
        Self::Remount,
        Self::Move,
        Self::Propagation,
        Self::Reconfigure,
        Self::Setattr,
        Self::SetGroup,
        Self::PivotRoot,
        Self::Umount,
        Self::Fsmount,
        Self::DetachedCopy,
        Self::NamespaceCreated,
        Self::NamespaceDestroyed,
        Self::Automount,
        Self::Expired,
        Self::Existing,
        Self::Gap,
        Self::Throttled,
    ];

    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Bind => "bind",
            Self::Remount => "remount",
            Self::Move => "move",
            Self::Propagation => "propagation",
            Self::Reconfigure => "reconfigure",
            Self::Setattr => "setattr",
            Self::SetGroup => "set_group",
            Self::PivotRoot => "pivot_root",
            Self::Umount => "umount",
            Self::Fsmount => "fsmount",
            Self::DetachedCopy => "detached_copy",
            Self::NamespaceCreated => "namespace_created",
            Self::NamespaceDestroyed => "namespace_destroyed",
            Self::Automount => "automount",
            Self::Expired => "expired",
            Self::Existing => "existing",
            Self::Gap => "gap",
            Self::Throttled => "throttled",
        }
    }
}

/// What happened to one mount in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// It is there now.
    Attach,
    /// It is gone from there.
    Detach,
    /// It stands elsewhere now.
    Move,
    /// It stands where it stood, with other attributes or another propagation.
    Change,
    /// It was there before.
    Present,
}

/// One effect of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What happened.
    pub kind: EffectKind,
    /// Whether propagation brought it about; `None` when nobody can say.
    pub propagated: Option<bool>,
    /// The hold of the namespace semaphore in which it happened: effects sorted by it stand in the order in which the
    /// tables changed. `None` for a change that needs no such hold.
    pub section: Option<u64>,
    /// The mount.
    pub mount: Mount,
}

/// The namespace that an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceChange {
    /// Which one was made or ended.
    pub namespace: Namespace,
    /// Of which it was made as a copy.
    pub copied_from: Option<Namespace>,
    /// Mounts in it at that time.
    pub mounts: u32,
    /// The call that made it.
    pub made_by: Option<Syscall>,
}

/// What was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Records that were dropped, by the function of their hook and the reason.
    pub dropped: Vec<Dropped>,
    /// Runs of programs that the kernel skipped, where it counts them.
    pub missed: u64,
    /// The namespaces whose facts were lost; `None` when it may be any.
    pub namespaces: Option<Vec<Namespace>>,
    /// Why their tables are in doubt, where no fact was lost.
    pub doubt: Option<Doubt>,
}

/// Why a table may be wrong of which no fact was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The kernel counts another number of mounts in it.
    Count,
    /// Attributes of a tree were told while somebody moved mounts of it.
    Attributes,
}

impl Doubt {
    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Attributes => "attributes",
        }
    }
}

/// Records of one hook that were dropped for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The hook's name, as `check` prints it.
    pub hook: &'static str,
    /// Why.
    pub reason: &'static str,
    /// How many.
    pub records: u64,
}

/// Failing calls of one kind within a second that were only counted, because their cgroup had too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttled {
    /// The callers' cgroup v2 id.
    pub cgroup_id: u64,
    /// When that second ended, `CLOCK_BOOTTIME` in nanoseconds.
    pub end_ns: u64,
    /// Which call.
    pub syscall: Syscall,
    /// Why they failed.
    pub errno: u32,
    /// How many.
    pub calls: u64,
}

/// One operation, as users read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What kind.
    pub op: Op,
    /// The call, when one caused it and its end was seen.
    pub call: Option<CallEnd>,
    /// What brought it about; `None` when nobody can say.
    pub cause: Option<Cause>,
    /// Who acted.
    pub actor: Option<Actor>,
    /// When it ended, `CLOCK_BOOTTIME` in nanoseconds.
    pub end_ns: u64,
    /// What it changed, the direct effects first; `None` for a kind whose effects are not traced yet.
    pub effects: Option<Vec<Effect>>,
    /// Effects beyond these, of which only the number is known.
    pub unlisted: u64,
    /// Whether nothing of it was lost.
    pub complete: bool,
    /// The namespace that was made or ended.
    pub namespace: Option<NamespaceChange>,
    /// What was lost.
    pub gap: Option<Gap>,
    /// What was only counted.
    pub throttled: Option<Throttled>,
    /// Where the kernel said just afterwards that mounts are whose path was cut, by `mnt_id_unique`.
    pub later: BTreeMap<u64, Vec<u8>>,
    /// Whose it is.
    pub whose: Whose,
}

/// Whose the parts of an operation are, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// Whose the cgroup of the actor is.
    pub actor: Option<Arc<Owner>>,
    /// Whose the mount namespaces of its mounts are, and the one that was made or ended, by inode number.
    pub namespaces: BTreeMap<u32, Home>,
    /// The volumes that its mounts in nobody's namespace are, by [`Objects::mount`].
    pub volumes: BTreeMap<u64, Volume>,
    /// What they are called, as far as a runtime says it.
    pub names: Vec<Arc<Named>>,
}

/// A volume as the kubelet's directory names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The pod that it is for.
    pub home: Home,
    /// What the path says.
    pub path: VolumePath,
}

impl Whose {
    /// What an owner is called.
    pub fn named(&self, owner: &Owner) -> Option<&Named> {
        self.names.iter().map(Arc::as_ref).find(|named| named.is_of(owner))
    }
}

impl Operation {
    /// An operation of which nothing but the kind and the time is known.
    pub fn bare(op: Op, end_ns: u64) -> Self {
        Self {
            op,
            call: None,
            cause: None,
            actor: None,
            end_ns,
            effects: None,
            unlisted: 0,
            complete: true,
            namespace: None,
            gap: None,
            throttled: None,
            later: BTreeMap::new(),
            whose: Whose::default(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A mount to begin a test with.
    pub(crate) fn mount(id: u32) -> Mount {
        let identity = u64::from(id) + 1000;
        Mount {
            objects: Objects {
                mount: identity,
                parent: 1001,
                mountpoint: identity + 1_000_000,
                root: identity + 2_000_000,
                superblock: 7,
                next_peer: identity,
            },
            told_ns: 0,
            ns_mounts: 0,
            id,
            id_unique: Some(identity),
            parent_id: 1,
            parent_id_unique: Some(1001),
            namespace: Some(Namespace { inum: 4_026_531_841, id: 1 }),
            dev: Dev { major: 259, minor: 0 },
            rdev: None,
            flags: 0x20,
            shared: None,
            master: None,
            unbindable: false,
            fstype: b"ext4".to_vec(),
            source: Some(b"/dev/nvme0n1".to_vec()),
            path: Ok(b"/mnt".to_vec()),
            root: Ok(b"/".to_vec()),
        }
    }

    /// The same by numbers alone; `role` is `None` where nobody changed it itself.
    pub(crate) fn bare(role: Option<Role>, mounts: &[Mount]) -> SectionFact {
        let (namespace, ns_mounts) = mounts.first().map_or((None, 0), |first| (first.namespace, first.ns_mounts));
        let mounts = match role {
            Some(Role::Detach) => BareMounts::Gone(mounts.iter().map(Mount::gone).collect()),
            role => BareMounts::There(role, mounts.iter().map(Mount::bare).collect()),
        };
        SectionFact::Bare(Bare { namespace, told_ns: 0, ns_mounts, mounts })
    }
}
