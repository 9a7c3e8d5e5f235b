//! PURE: records that tell of many mounts by numbers alone.

use tracer_common::fact::{self, MAX_BARE, MAX_CLONES, kind};
use zerocopy::FromBytes;

use super::{DecodeError, Fact, Tail, fixed, namespace, some, tag, unbindable};
use crate::{
    device::Dev,
    operation::{Bare, BareMount, BareMounts, ClonedMount, Clones, GoneMount, MountKey, Role, SectionFact},
};

pub(super) fn clones(record: &[u8]) -> Result<Fact, DecodeError> {
    let (batch, tail) = fixed::<fact::Clones>(record)?;
    let one = |one: fact::ClonedMount| ClonedMount {
        identity: one.identity,
        original: one.original,
        id: one.id,
        flags: one.flags,
        shared: some(one.group),
        master: some(one.master),
        unbindable: unbindable(one.flags, one.t_flags),
    };
    let clones = Clones {
        namespace: namespace(batch.ns_inum, batch.ns_id),
        copied_from: namespace(batch.from_inum, batch.from_id),
        mounts: batch.mounts,
        clones: entries(tail, batch.count, MAX_CLONES, one)?,
    };
    Ok(Fact::Section(tag(&batch.header), SectionFact::Clones(clones)))
}

pub(super) fn bare(record: &[u8]) -> Result<Fact, DecodeError> {
    let (batch, tail) = fixed::<fact::Bare>(record)?;
    let key = |identity, id| MountKey { id_unique: (batch.unique != 0).then_some(identity), id };
    let there = |one: fact::BareMount| BareMount {
        identity: one.identity,
        parent: one.parent,
        mountpoint: one.mountpoint,
        root: one.root_dentry,
        superblock: one.superblock,
        key: key(one.identity, one.id),
        parent_id: one.parent_id,
        dev: Dev::from_kernel(one.dev),
        flags: one.flags,
        shared: some(one.group),
        master: some(one.master),
        unbindable: unbindable(one.flags, one.t_flags),
    };
    let gone = |one: fact::GoneMount| GoneMount {
        identity: one.identity,
        next_peer: one.next_peer,
        key: key(one.identity, one.id),
        parent_id: one.parent_id,
        shared: some(one.group),
        master: some(one.master),
    };
    let mounts = if batch.header.kind == kind::GONE {
        BareMounts::Gone(entries(tail, batch.count, MAX_BARE, gone)?)
    } else {
        BareMounts::There(role(batch.what)?, entries(tail, batch.count, MAX_BARE, there)?)
    };
    let (namespace, told_ns) = (namespace(batch.ns_inum, batch.ns_id), batch.header.boot_ns);
    let bare = Bare { namespace, told_ns, ns_mounts: batch.ns_mounts, mounts };
    Ok(Fact::Section(tag(&batch.header), SectionFact::Bare(bare)))
}

/// The role of mounts that are there.
fn role(what: u32) -> Result<Option<Role>, DecodeError> {
    let what = u16::try_from(what).unwrap_or(u16::MAX);
    match what {
        kind::ATTACH => Ok(Some(Role::Attach)),
        kind::MOVE => Ok(Some(Role::Move)),
        kind::CHANGE => Ok(Some(Role::Change)),
        kind::STATE => Ok(None),
        other => Err(DecodeError::Kind(other)),
    }
}

/// As many entries as the record says, which may be so many at most.
fn entries<W: FromBytes, T>(
    tail: &[u8],
    count: u32,
    most: usize,
    each: impl Fn(W) -> T,
) -> Result<Vec<T>, DecodeError> {
    let count = count as usize;
    if count > most {
        return Err(DecodeError::Tail);
    }
    let mut tail = Tail(tail);
    (0..count).map(|_| Ok(each(fixed::<W>(tail.take(size_of::<W>())?)?.0))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::{FromZeros as _, IntoBytes as _};

    use super::{super::decode, *};
    use crate::operation::Namespace;

    /// A batch of as many mounts, which says that it has `count`.
    fn batch(kind: u16, what: u16, mounts: &[&[u8]], count: u32) -> Vec<u8> {
        let mut fixed = fact::Bare::new_zeroed();
        (fixed.header.kind, fixed.what, fixed.count) = (kind, what.into(), count);
        (fixed.ns_inum, fixed.ns_id, fixed.ns_mounts, fixed.unique) = (4, 5, 6, 1);
        let tail = mounts.concat();
        fixed.header.bytes = u32::try_from(size_of::<fact::Bare>() + tail.len()).unwrap();
        [fixed.as_bytes(), &tail].concat()
    }

    fn there(identity: u64) -> fact::BareMount {
        let mut mount = fact::BareMount::new_zeroed();
        (mount.identity, mount.id, mount.parent_id, mount.dev, mount.t_flags) = (identity, 7, 8, 259 << 20 | 1, 2);
        (mount.parent, mount.mountpoint, mount.root_dentry, mount.superblock) = (1, 2, 3, 4);
        (mount.flags, mount.group, mount.master) = (32, 11, 12);
        mount
    }

    fn bare(record: &[u8]) -> Bare {
        match decode(record).unwrap() {
            Fact::Section(_, SectionFact::Bare(bare)) => bare,
            other => panic!("no mounts by numbers alone: {other:?}"),
        }
    }

    #[test]
    fn mounts_that_are_there() {
        let (one, two) = (there(70), there(71));
        let read = bare(&batch(kind::BARE, kind::MOVE, &[one.as_bytes(), two.as_bytes()], 2));
        assert_eq!((read.namespace, read.ns_mounts), (Some(Namespace { inum: 4, id: 5 }), 6));
        let BareMounts::There(Some(Role::Move), mounts) = read.mounts else { panic!("not moved: {read:?}") };
        let expected = BareMount {
            identity: 70,
            parent: 1,
            mountpoint: 2,
            root: 3,
            superblock: 4,
            key: MountKey { id_unique: Some(70), id: 7 },
            parent_id: 8,
            dev: Dev { major: 259, minor: 1 },
            flags: 32,
            shared: Some(11),
            master: Some(12),
            unbindable: true,
        };
        assert_eq!((mounts.len(), mounts[0], mounts[1].identity), (2, expected, 71));
        let states = bare(&batch(kind::BARE, kind::STATE, &[one.as_bytes()], 1));
        assert_eq!((states.mounts.role(), states.mounts.count()), (None, 1), "nobody changed it itself");
    }

    #[test]
    fn mounts_that_go() {
        let one = fact::GoneMount { identity: 70, next_peer: 71, id: 7, parent_id: 8, group: 0, master: 12 };
        let BareMounts::Gone(mounts) = bare(&batch(kind::GONE, kind::DETACH, &[one.as_bytes()], 1)).mounts else {
            panic!("they do not go")
        };
        let key = MountKey { id_unique: Some(70), id: 7 };
        let expected = GoneMount { identity: 70, next_peer: 71, key, parent_id: 8, shared: None, master: Some(12) };
        assert_eq!(mounts, [expected]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let one = there(70);
        let more = decode(&batch(kind::BARE, kind::MOVE, &[one.as_bytes()], 2));
        assert_eq!(more, Err(DecodeError::Tail), "more than there are");
        let many = vec![one.as_bytes(); MAX_BARE + 1];
        let count = u32::try_from(many.len()).unwrap();
        assert_eq!(decode(&batch(kind::BARE, kind::MOVE, &many, count)), Err(DecodeError::Tail), "more than fit");
        let gone = decode(&batch(kind::BARE, kind::DETACH, &[one.as_bytes()], 1));
        assert_eq!(gone, Err(DecodeError::Kind(kind::DETACH)), "what goes is told otherwise");
    }

    proptest! {
        #[test]
        fn a_broken_record_gives_a_fact_or_a_reason(at in 0usize..150, byte: u8, gone: bool) {
            let kind = if gone { kind::GONE } else { kind::BARE };
            let mut bytes = batch(kind, kind::ATTACH, &[there(1).as_bytes()], 1);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
