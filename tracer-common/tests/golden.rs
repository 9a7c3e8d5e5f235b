//! The wire's layout, pinned: sizes, offsets, and one record of each kind as bytes. A change here is a change of the
//! wire, and both sides must be built anew.

use std::mem::{offset_of, size_of};

use tracer_common::fact::{
    self, Actor, Bare, BareMount, CallEnd, Cgroup, CgroupEntered, ClonedMount, Clones, CopyFact, FSTYPE_BYTES,
    GoneMount, GroupEnd, Header, Mount, MountFact, NamespaceFact, Released, SectionEnd, Walk, how, kind, syscall,
    target, walk,
};
use tracer_common::map;
use zerocopy::IntoBytes;

const _: () = assert!(size_of::<Header>() == 40);
const _: () = assert!(size_of::<Walk>() == 4);
const _: () = assert!(size_of::<Mount>() == 160);
const _: () = assert!(size_of::<MountFact>() == 200);
const _: () = assert!(size_of::<CopyFact>() == 56);
const _: () = assert!(size_of::<Clones>() == 72);
const _: () = assert!(size_of::<ClonedMount>() == 40);
const _: () = assert!(size_of::<GroupEnd>() == 48);
const _: () = assert!(size_of::<Released>() == 48);
const _: () = assert!(size_of::<NamespaceFact>() == 112);
const _: () = assert!(size_of::<Actor>() == 40);
const _: () = assert!(size_of::<SectionEnd>() == 112);
const _: () = assert!(size_of::<CallEnd>() == 184);
const _: () = assert!(size_of::<Cgroup>() == 56);

fn header(kind: u16) -> Header {
    Header { kind, hook: 2, bytes: 3, thread: 0x0405, call: 6, section: 7, boot_ns: 8 }
}

/// The header's bytes, little endian.
fn header_bytes(kind: u8) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 2, 0, 3, 0, 0, 0, 5, 4, 0, 0, 0, 0, 0, 0];
    for word in [6, 7, 8u64] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

fn actor() -> Actor {
    Actor { cgroup_id: 1, ns_id: 2, ns_inum: 3, uid: 4, comm: *b"mount\0\0\0\0\0\0\0\0\0\0\0" }
}

fn actor_bytes() -> Vec<u8> {
    let mut bytes = [1u64.to_le_bytes(), 2u64.to_le_bytes()].concat();
    bytes.extend([3, 0, 0, 0, 4, 0, 0, 0]);
    bytes.extend(b"mount\0\0\0\0\0\0\0\0\0\0\0");
    bytes
}

fn mount() -> Mount {
    let mut fstype = [0; FSTYPE_BYTES];
    fstype[..4].copy_from_slice(b"ext4");
    Mount {
        identity: 21,
        parent: 22,
        mountpoint: 23,
        root_dentry: 24,
        superblock: 25,
        next_peer: 26,
        id_unique: 1,
        parent_id_unique: 2,
        ns_id: 3,
        ns_inum: 4,
        id: 5,
        parent_id: 6,
        dev: 7,
        rdev: 8,
        flags: 9,
        t_flags: 10,
        group: 11,
        master: 12,
        ns_mounts: 13,
        reserved: 0,
        source_bytes: 13,
        path: Walk { bytes: 14, status: walk::TOO_DEEP },
        root: Walk { bytes: 15, status: walk::WHOLE },
        fstype,
    }
}

fn mount_bytes() -> Vec<u8> {
    let mut bytes: Vec<u8> = (21..=26u64).chain(1..=3).flat_map(u64::to_le_bytes).collect();
    bytes.extend((4..=13u32).chain([0, 13]).flat_map(u32::to_le_bytes));
    bytes.extend([14, 0, 1, 0, 15, 0, 0, 0]);
    bytes.extend(b"ext4");
    bytes.resize(size_of::<Mount>(), 0);
    bytes
}

#[test]
fn a_mount_fact() {
    let fact = MountFact { header: header(kind::ATTACH), mount: mount() };
    assert_eq!(fact.as_bytes(), [header_bytes(13), mount_bytes()].concat());
}

#[test]
fn a_copy() {
    let fact = CopyFact { header: header(kind::COPY), id_unique: 1, id: 2, reserved: 0 };
    assert_eq!(fact.as_bytes(), [header_bytes(14), vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]].concat());
}

#[test]
fn clones() {
    let batch =
        Clones { header: header(kind::CLONES), ns_id: 1, from_id: 2, ns_inum: 3, from_inum: 4, mounts: 5, count: 6 };
    let ids: Vec<u8> = [1u64, 2].into_iter().flat_map(u64::to_le_bytes).collect();
    let numbers: Vec<u8> = (3..=6u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(batch.as_bytes(), [header_bytes(22), ids, numbers].concat());
    let one = ClonedMount { identity: 1, original: 2, id: 3, flags: 4, t_flags: 5, group: 6, master: 7, reserved: 0 };
    let ids: Vec<u8> = [1u64, 2].into_iter().flat_map(u64::to_le_bytes).collect();
    let numbers: Vec<u8> = (3..=7u32).chain([0]).flat_map(u32::to_le_bytes).collect();
    assert_eq!(one.as_bytes(), [ids, numbers].concat());
}

#[test]
fn mounts_by_numbers_alone() {
    let batch = Bare {
        header: header(kind::BARE),
        ns_id: 1,
        ns_inum: 2,
        ns_mounts: 3,
        what: 4,
        unique: 5,
        count: 6,
        reserved: 0,
    };
    let numbers = |all: &[u32]| -> Vec<u8> { all.iter().copied().flat_map(u32::to_le_bytes).collect() };
    let ids = |all: &[u64]| -> Vec<u8> { all.iter().copied().flat_map(u64::to_le_bytes).collect() };
    assert_eq!(batch.as_bytes(), [header_bytes(18), ids(&[1]), numbers(&[2, 3, 4, 5, 6, 0])].concat());
    let there = BareMount {
        identity: 1,
        parent: 2,
        mountpoint: 3,
        root_dentry: 4,
        superblock: 5,
        id: 6,
        parent_id: 7,
        dev: 8,
        flags: 9,
        t_flags: 10,
        group: 11,
        master: 12,
        reserved: 0,
    };
    let expected = [ids(&[1, 2, 3, 4, 5]), numbers(&[6, 7, 8, 9, 10, 11, 12, 0])].concat();
    assert_eq!(there.as_bytes(), expected);
    let gone = GoneMount { identity: 1, next_peer: 2, id: 3, parent_id: 4, group: 5, master: 6 };
    assert_eq!(gone.as_bytes(), [ids(&[1, 2]), numbers(&[3, 4, 5, 6])].concat());
    assert_eq!((kind::GONE, fact::NAMED_MOUNTS, fact::MAX_BARE), (19, 1024, 64));
}

#[test]
fn what_lies_in_maps() {
    let kind = map::Throttled { cgroup_id: 1, second: 2, syscall: 3, errno: 4 };
    let numbers: Vec<u8> = [3u32, 4].into_iter().flat_map(u32::to_le_bytes).collect();
    let ids: Vec<u8> = [1u64, 2].into_iter().flat_map(u64::to_le_bytes).collect();
    assert_eq!(kind.as_bytes(), [ids.clone(), numbers].concat());
    assert_eq!(map::Dirty { id: 1, inum: 2 }.as_bytes(), ids);
    assert_eq!(map::Reading { thread: 1, last: 2 }.as_bytes(), ids);
}

#[test]
fn the_end_of_a_group() {
    let end = GroupEnd { header: header(kind::GROUP_END), group: 1, heir: 2 };
    assert_eq!(end.as_bytes(), [header_bytes(23), vec![1, 0, 0, 0, 2, 0, 0, 0]].concat());
}

#[test]
fn a_release() {
    let released = Released { header: header(kind::RELEASED), identity: 258 };
    assert_eq!(released.as_bytes(), [header_bytes(42), vec![2, 1, 0, 0, 0, 0, 0, 0]].concat());
}

#[test]
fn a_namespaces_birth() {
    let fact = NamespaceFact {
        header: header(kind::NAMESPACE_MADE),
        id: 1,
        from_id: 2,
        inum: 3,
        from_inum: 4,
        mounts: 5,
        syscall: syscall::CLONE3,
        actor: actor(),
    };
    let ids: Vec<u8> = [1u64, 2].into_iter().flat_map(u64::to_le_bytes).collect();
    let numbers: Vec<u8> = [3u32, 4, 5, 12].into_iter().flat_map(u32::to_le_bytes).collect();
    assert_eq!(fact.as_bytes(), [header_bytes(60), ids, numbers, actor_bytes()].concat());
}

#[test]
fn a_sections_end() {
    let end = SectionEnd {
        header: header(kind::SECTION_END),
        facts: 1,
        lost: 2,
        flags: 3,
        syscall: 4,
        target_id: 5,
        how: how::CONNECTED | how::DETACHED,
        reserved: 0,
        actor: actor(),
    };
    let numbers: Vec<u8> = [1u32, 2, 3, 0, 4, 5, 0x204, 0].into_iter().flat_map(u32::to_le_bytes).collect();
    assert_eq!(end.as_bytes(), [header_bytes(30), numbers, actor_bytes()].concat());
}

#[test]
fn a_calls_end() {
    let end = CallEnd {
        header: header(kind::CALL_END),
        start_ns: 1,
        flags: 2,
        attributes: 3,
        cleared: 4,
        propagation: 5,
        result: -1,
        syscall: syscall::UMOUNT,
        target: target::SENT,
        target_id: 4,
        source_bytes: 5,
        target_bytes: 6,
        sections: 7,
        dev: 8,
        actor: actor(),
        fstype: [7; FSTYPE_BYTES],
    };
    let words: Vec<u8> = (1..=5u64).flat_map(u64::to_le_bytes).collect();
    let numbers: Vec<u8> = [u32::MAX, 2, 1, 4, 5, 6, 7, 8].into_iter().flat_map(u32::to_le_bytes).collect();
    let expected = [header_bytes(40), words, numbers, actor_bytes(), vec![7; FSTYPE_BYTES]].concat();
    assert_eq!(end.as_bytes(), expected);
    assert_eq!(offset_of!(CallEnd, actor), 112);
}

#[test]
fn a_cgroups_birth() {
    let made = Cgroup { header: header(kind::CGROUP_MKDIR), cgroup_id: 0x0102, path_bytes: 3, uid: 4 };
    let numbers = vec![2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0];
    assert_eq!(made.as_bytes(), [header_bytes(50), numbers].concat());
}

#[test]
fn a_process_in_a_cgroup() {
    let entered = CgroupEntered { header: header(52), cgroup_id: 0x0102, ns_id: 3, ns_inum: 4, reserved: 0 };
    let numbers = vec![2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(entered.as_bytes(), [header_bytes(52), numbers].concat());
}

#[test]
fn numbers_of_the_wire_stay_what_they_are() {
    assert_eq!(
        [
            kind::ATTACH,
            kind::COPY,
            kind::MOVE,
            kind::CHANGE,
            kind::STATE,
            kind::DETACH,
            kind::SEED,
            kind::CLONES,
            kind::GROUP_END,
            kind::SECTION_END,
            kind::CALL_END,
            kind::TARGET,
            kind::CGROUP_MKDIR,
            kind::CGROUP_RMDIR,
            kind::CGROUP_ENTERED,
            kind::NAMESPACE_MADE,
            kind::NAMESPACE_END,
        ],
        [13, 14, 15, 16, 17, 20, 21, 22, 23, 30, 40, 41, 50, 51, 52, 60, 61]
    );
}
