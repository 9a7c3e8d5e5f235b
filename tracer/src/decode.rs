//! PURE: bytes of a ring record -> Fact, or a named reason why not. Any bytes give one of the two.

mod batch;

use thiserror::Error;
use tracer_common::fact::{
    self, Cgroup, CgroupEntered, CopyFact, GroupEnd, Header, MountFact, NamespaceFact, Released, SectionEnd, Walk, how,
    kind, syscall, target, walk,
};
use zerocopy::FromBytes;

use crate::{
    device::Dev,
    operation::{
        Actor, Asked, CallEnd, CallId, Cause, Claimed, Found, Mount, MountKey, Namespace, NamespaceChange, Objects,
        PathGap, Role, SectionFact, Superblock, Syscall, Walked,
    },
};

/// What `mark_mounts_for_expiry` of `fs/namespace.c` calls `umount_tree` with.
const EXPIRY: u32 = how::PROPAGATE | how::SYNC;
/// `MNT_UNBINDABLE` of `linux/mount.h`, up to 6.16 in `mnt_flags`.
const MNT_UNBINDABLE: u32 = 0x2000;
/// `T_UNBINDABLE` of `fs/mount.h`, from 6.17 in `mnt_t_flags`.
const T_UNBINDABLE: u32 = 2;

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// It is shorter than its fixed part, or than it says.
    #[error("a record is cut off")]
    Short,
    /// Its kind is unknown: agent and object are not of one build.
    #[error("a record has the unknown kind {0}")]
    Kind(u16),
    /// Its strings are longer than the record.
    #[error("a record's strings are longer than the record")]
    Tail,
    /// It names a system call that is not one.
    #[error("a record names the unknown system call {0}")]
    Syscall(u32),
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The call that its thread was in.
    pub call: Option<CallId>,
    /// The section's number.
    pub section: u64,
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub boot_ns: u64,
}

/// What a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Something inside a section.
    Section(Tag, SectionFact),
    /// A section ends.
    SectionEnd {
        /// Where it belongs.
        tag: Tag,
        /// Who held the semaphore.
        actor: Actor,
        /// Facts that it wrote.
        written: u32,
        /// Facts that it could not write.
        lost: u32,
        /// What its call was asked for.
        asked: Option<Asked>,
        /// What brought it about.
        cause: Option<Cause>,
    },
    /// A mount is in a table that is read just now.
    Seed {
        /// When it was told, `CLOCK_BOOTTIME` in nanoseconds.
        boot_ns: u64,
        /// It.
        mount: Box<Mount>,
    },
    /// The mount that a call is about, which has not ended yet.
    Target(CallId, Box<Mount>),
    /// Nothing refers to the mount with this identity any more.
    Released(u64),
    /// A call ends.
    CallEnd(Box<CallEnd>),
    /// A mount namespace was made.
    NamespaceMade {
        /// The call that gives a descriptor of it and has not ended yet; `None` where a thread is in it.
        call: Option<CallId>,
        /// Who made it.
        actor: Actor,
        /// `CLOCK_BOOTTIME` in nanoseconds.
        boot_ns: u64,
        /// Which.
        change: NamespaceChange,
    },
    /// A cgroup of the v2 hierarchy was made or removed.
    Cgroup {
        /// Which of the two.
        made: bool,
        /// Its path, beginning with a slash.
        path: Vec<u8>,
        /// Its id.
        id: u64,
        /// Who did it, in the initial user namespace.
        uid: u32,
    },
    /// A process that is in another mount namespace than its parent was put into a cgroup of the v2 hierarchy.
    CgroupEntered {
        /// The cgroup's id.
        cgroup_id: u64,
        /// The process's mount namespace.
        namespace: Namespace,
    },
}

/// Reads one record.
pub fn decode(record: &[u8]) -> Result<Fact, DecodeError> {
    let header = Header::read_from_prefix(record).map_err(|_| DecodeError::Short)?.0;
    if header.bytes as usize != record.len() {
        return Err(DecodeError::Short);
    }
    match header.kind {
        kind::ATTACH | kind::MOVE | kind::CHANGE | kind::DETACH | kind::SEED | kind::TARGET => mount_fact(record),
        kind::CLONES => batch::clones(record),
        kind::BARE | kind::GONE => batch::bare(record),
        kind::GROUP_END => {
            let (end, _) = fixed::<GroupEnd>(record)?;
            let fact = SectionFact::GroupEnd { group: end.group, heir: some(end.heir) };
            Ok(Fact::Section(tag(&header), fact))
        }
        kind::COPY => {
            let (copy, _) = fixed::<CopyFact>(record)?;
            let key = MountKey { id_unique: some(copy.id_unique), id: copy.id };
            Ok(Fact::Section(tag(&header), SectionFact::Copy(key)))
        }
        kind::NAMESPACE_MADE | kind::NAMESPACE_END => {
            let (fact, _) = fixed::<NamespaceFact>(record)?;
            let change = NamespaceChange {
                namespace: Namespace { inum: fact.inum, id: fact.id },
                copied_from: namespace(fact.from_inum, fact.from_id),
                mounts: fact.mounts,
                made_by: maker(fact.syscall),
            };
            if header.kind == kind::NAMESPACE_END {
                return Ok(Fact::Section(tag(&header), SectionFact::NamespaceEnd(change)));
            }
            let actor = actor(&header, &fact.actor);
            Ok(Fact::NamespaceMade { call: tag(&header).call, actor, boot_ns: header.boot_ns, change })
        }
        kind::SECTION_END => {
            let (end, _) = fixed::<SectionEnd>(record)?;
            let actor = actor(&header, &end.actor);
            let asked = match end.syscall {
                0 | syscall::COPY_NAMESPACE => None,
                number => Some(Asked { syscall: call(number)?, flags: end.flags, target_id: end.target_id }),
            };
            let cause = if asked.is_some() { Some(Cause::Syscall) } else { cause(end.how) };
            Ok(Fact::SectionEnd { tag: tag(&header), actor, written: end.facts, lost: end.lost, asked, cause })
        }
        kind::RELEASED => Ok(Fact::Released(fixed::<Released>(record)?.0.identity)),
        kind::CALL_END => call_end(record),
        kind::CGROUP_MKDIR | kind::CGROUP_RMDIR => {
            let (cgroup, tail) = fixed::<Cgroup>(record)?;
            let path = until_nul(Tail(tail).take(cgroup.path_bytes as usize)?).to_vec();
            Ok(Fact::Cgroup { made: header.kind == kind::CGROUP_MKDIR, path, id: cgroup.cgroup_id, uid: cgroup.uid })
        }
        kind::CGROUP_ENTERED => {
            let (entered, _) = fixed::<CgroupEntered>(record)?;
            let namespace = Namespace { inum: entered.ns_inum, id: entered.ns_id };
            Ok(Fact::CgroupEntered { cgroup_id: entered.cgroup_id, namespace })
        }
        other => Err(DecodeError::Kind(other)),
    }
}

fn mount_fact(record: &[u8]) -> Result<Fact, DecodeError> {
    let (fact, tail) = fixed::<MountFact>(record)?;
    let mount = Box::new(Mount { told_ns: fact.header.boot_ns, ..mount(&fact.mount, &mut Tail(tail))? });
    let role = match fact.header.kind {
        kind::TARGET => {
            return Ok(Fact::Target(CallId { thread: fact.header.thread, start_ns: fact.header.call }, mount));
        }
        kind::SEED => {
            return Ok(Fact::Seed { boot_ns: fact.header.boot_ns, mount });
        }
        kind::ATTACH => Role::Attach,
        kind::MOVE => Role::Move,
        kind::CHANGE => Role::Change,
        _ => Role::Detach,
    };
    Ok(Fact::Section(tag(&fact.header), SectionFact::Mount(role, mount)))
}

fn unbindable(flags: u32, t_flags: u32) -> bool {
    if t_flags == fact::ABSENT { flags & MNT_UNBINDABLE != 0 } else { t_flags & T_UNBINDABLE != 0 }
}

fn call_end(record: &[u8]) -> Result<Fact, DecodeError> {
    let (end, tail) = fixed::<fact::CallEnd>(record)?;
    let mut tail = Tail(tail);
    let source = tail.take(end.source_bytes as usize)?;
    let target = tail.take(end.target_bytes as usize)?;
    let syscall = call(end.syscall)?;
    let superblock = syscall == Syscall::Fsconfig && end.result == 0;
    Ok(Fact::CallEnd(Box::new(CallEnd {
        id: CallId { thread: end.header.thread, start_ns: end.start_ns },
        syscall,
        errno: if end.result < 0 { end.result.unsigned_abs() } else { 0 },
        end_ns: end.header.boot_ns,
        actor: actor(&end.header, &end.actor),
        claimed: Claimed {
            source: text(source),
            target: text(target),
            fstype: text(&end.fstype).filter(|_| syscall != Syscall::Fsconfig),
            flags: end.flags,
            attributes: end.attributes,
            cleared: end.cleared,
            propagation: end.propagation,
        },
        target_id: end.target_id,
        found: match end.target {
            target::NONE => Found::None,
            target::SENT => Found::Some,
            target::GONE => Found::Gone,
            _ => Found::Lost,
        },
        sections: end.sections,
        target: None,
        superblock: superblock
            .then(|| Superblock { dev: Dev::from_kernel(end.dev), fstype: until_nul(&end.fstype).to_vec() }),
    })))
}

/// Why a section without a call let trees go: by the flags of `umount_tree`, whose callers each have their own.
fn cause(how: u32) -> Option<Cause> {
    let has = |flag| how & flag != 0;
    match how & (how::SYNC | how::PROPAGATE | how::CONNECTED) {
        0 if has(how::NAMESPACE) => Some(Cause::NamespaceEnd),
        how::CONNECTED if has(how::DETACHED) => Some(Cause::LastClose),
        how::CONNECTED => Some(Cause::Rmdir),
        EXPIRY if has(how::KERNEL_THREAD) => Some(Cause::Expiry),
        _ => None,
    }
}

/// The system call with this number of `tracer_common::fact::syscall`.
pub fn call(number: u32) -> Result<Syscall, DecodeError> {
    match number {
        syscall::MOUNT => Ok(Syscall::Mount),
        syscall::UMOUNT => Ok(Syscall::Umount),
        syscall::MOVE_MOUNT => Ok(Syscall::MoveMount),
        syscall::FSMOUNT => Ok(Syscall::Fsmount),
        syscall::OPEN_TREE => Ok(Syscall::OpenTree),
        syscall::MOUNT_SETATTR => Ok(Syscall::MountSetattr),
        syscall::PIVOT_ROOT => Ok(Syscall::PivotRoot),
        syscall::FSCONFIG => Ok(Syscall::Fsconfig),
        syscall::OPEN_TREE_ATTR => Ok(Syscall::OpenTreeAttr),
        other => Err(DecodeError::Syscall(other)),
    }
}

fn maker(number: u32) -> Option<Syscall> {
    match number {
        syscall::CLONE => Some(Syscall::Clone),
        syscall::CLONE3 => Some(Syscall::Clone3),
        syscall::UNSHARE => Some(Syscall::Unshare),
        _ => None,
    }
}

fn mount(mount: &fact::Mount, tail: &mut Tail<'_>) -> Result<Mount, DecodeError> {
    let path = walked(mount.path, tail.take(mount.path.bytes.into())?);
    let root = walked(mount.root, tail.take(mount.root.bytes.into())?);
    let source = tail.take(mount.source_bytes as usize)?;
    Ok(Mount {
        objects: Objects {
            mount: mount.identity,
            parent: mount.parent,
            mountpoint: mount.mountpoint,
            root: mount.root_dentry,
            superblock: mount.superblock,
            next_peer: mount.next_peer,
        },
        told_ns: 0,
        ns_mounts: mount.ns_mounts,
        id: mount.id,
        id_unique: some(mount.id_unique),
        parent_id: mount.parent_id,
        parent_id_unique: some(mount.parent_id_unique),
        namespace: namespace(mount.ns_inum, mount.ns_id),
        dev: Dev::from_kernel(mount.dev),
        rdev: some(mount.rdev).map(Dev::from_kernel),
        flags: mount.flags,
        shared: some(mount.group),
        master: some(mount.master),
        unbindable: unbindable(mount.flags, mount.t_flags),
        fstype: until_nul(&mount.fstype).to_vec(),
        source: text(source),
        path,
        root,
    })
}

/// Names come leaf first, each ended by a NUL.
fn walked(walk: Walk, names: &[u8]) -> Walked {
    let gap = match walk.status {
        walk::WHOLE => {
            let mut path = Vec::with_capacity(names.len() + 1);
            for name in names.split(|byte| *byte == 0).rev().filter(|name| !name.is_empty()) {
                path.push(b'/');
                path.extend(name);
            }
            return Ok(if path.is_empty() { b"/".to_vec() } else { path });
        }
        walk::TOO_DEEP => PathGap::TooDeep,
        walk::TOO_MANY_MOUNTS => PathGap::TooManyMounts,
        walk::TOO_LONG => PathGap::TooLong,
        walk::UNREACHABLE => PathGap::Unreachable,
        walk::MOVED => PathGap::Moved,
        walk::NOT_WALKED => PathGap::NotWalked,
        _ => PathGap::Unreadable,
    };
    Err(gap)
}

fn actor(header: &Header, actor: &fact::Actor) -> Actor {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of pid_tgid")]
    let (pid, tid) = ((header.thread >> 32) as u32, header.thread as u32);
    Actor {
        pid,
        tid,
        comm: until_nul(&actor.comm).to_vec(),
        uid: actor.uid,
        cgroup_id: actor.cgroup_id,
        namespace: namespace(actor.ns_inum, actor.ns_id),
    }
}

fn tag(header: &Header) -> Tag {
    let call = some(header.call).map(|start_ns| CallId { thread: header.thread, start_ns });
    Tag { call, section: header.section, boot_ns: header.boot_ns }
}

fn namespace(inum: u32, id: u64) -> Option<Namespace> {
    some(inum).map(|inum| Namespace { inum, id })
}

fn fixed<T: FromBytes>(record: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(record).map_err(|_| DecodeError::Short)
}

fn some<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn text(bytes: &[u8]) -> Option<Vec<u8>> {
    let bytes = until_nul(bytes);
    (!bytes.is_empty()).then(|| bytes.to_vec())
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What is left of a record's strings.
struct Tail<'a>(&'a [u8]);

impl<'a> Tail<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(DecodeError::Tail)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
