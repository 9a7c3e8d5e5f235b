//! PURE: what follows from an operation: the mount that it is about, whether it failed, names.

use super::{CallEnd, Claimed, Effect, EffectKind, Mount, Op, Operation, Superblock, Syscall, Volume};
use crate::pods::{cgroup_path::Owner, owners::Home};

impl CallEnd {
    /// How long it took; `None` when its beginning was missed.
    pub fn duration_ns(&self) -> Option<u64> {
        (self.id.start_ns != 0).then(|| self.end_ns.saturating_sub(self.id.start_ns))
    }
}

impl EffectKind {
    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::Move => "move",
            Self::Change => "change",
            Self::Present => "present",
        }
    }
}

/// A mount and its namespace, by numbers that are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The namespace's 64-bit id.
    pub namespace: u64,
    /// `mnt_id_unique`.
    pub mount: u64,
}

/// Mounts of one operation that are asked about at most: each costs a system call, and who mounts far below can have many.
const MAX_ASKED: usize = 32;

impl Effect {
    /// Its mount, if that is there and its path was cut; `None` also where the kernel has no such numbers (before 6.8).
    fn cut(&self) -> Option<Whereabouts> {
        let was_cut = self.mount.path.as_ref().is_err_and(|gap| gap.was_cut());
        let namespace = self.mount.namespace.filter(|namespace| namespace.id != 0)?.id;
        let mount = self.mount.id_unique?;
        (was_cut && self.kind != EffectKind::Detach).then_some(Whereabouts { namespace, mount })
    }
}

impl Operation {
    /// The mounts that are there and whose path was cut, the first ones of many.
    pub fn cut(&self) -> Vec<Whereabouts> {
        self.effects.iter().flatten().filter_map(Effect::cut).take(MAX_ASKED).collect()
    }

    /// The mount at the caller's path, for a call that changed no table.
    pub fn target(&self) -> Option<&Mount> {
        self.call.as_ref()?.target.as_ref()
    }

    /// [`Self::target`], when that is the mount that the caller asked for. For what brings a mount to a path it is only
    /// the one that would have been covered: neither its type nor its source is the failed mount's.
    pub fn subject(&self) -> Option<&Mount> {
        self.target().filter(|_| !matches!(self.op, Op::Mount | Op::Bind | Op::Move | Op::SetGroup))
    }

    /// The file system that it is about, where it is about no mount.
    pub fn superblock(&self) -> Option<&Superblock> {
        self.call.as_ref()?.superblock.as_ref()
    }

    /// The system call that it is.
    pub fn syscall(&self) -> Option<Syscall> {
        let called = self.call.as_ref().map(|call| call.syscall);
        called.or_else(|| self.namespace?.made_by).or_else(|| Some(self.throttled?.syscall))
    }

    /// What the caller said.
    pub fn claimed(&self) -> Option<&Claimed> {
        self.call.as_ref().map(|call| &call.claimed)
    }

    /// Whose a mount of it is: whose the namespace is, or for which pod the kubelet mounted it.
    pub fn home_of(&self, mount: &Mount) -> Option<&Home> {
        let of_namespace = self.whose.namespaces.get(&mount.namespace?.inum);
        of_namespace.or_else(|| self.volume_of(mount).map(|volume| &volume.home))
    }

    /// Which volume a mount of it is.
    pub fn volume_of(&self, mount: &Mount) -> Option<&Volume> {
        self.whose.volumes.get(&mount.objects.mount)
    }

    /// Who has the namespaces that it touches, and who acts.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        let homes = self.whose.namespaces.values().map(|home| home.owner.as_ref());
        let volumes = self.whose.volumes.values().map(|volume| volume.home.owner.as_ref());
        homes.chain(volumes).chain(self.whose.actor.as_deref())
    }

    /// Whether its call ended with an errno. Not when the end was missed: nobody knows.
    pub fn failed(&self) -> bool {
        self.errno().is_some_and(|errno| errno != 0)
    }

    /// How its call ended, or each of those that were only counted; 0 without an error, `None` when nobody knows or no call caused it.
    pub fn errno(&self) -> Option<u32> {
        let called = self.call.as_ref().map(|call| call.errno);
        called.or_else(|| Some(self.throttled?.errno))
    }

    /// The mounts of its effects.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.effects.iter().flatten().map(|effect| &effect.mount)
    }
}
