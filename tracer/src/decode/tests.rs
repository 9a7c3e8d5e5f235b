//! Records made by hand, and records broken by hand.

use proptest::prelude::*;
use zerocopy::{FromZeros as _, IntoBytes};

use super::*;

/// A record of a fixed part and a tail, with its length filled in.
fn record<T: IntoBytes + zerocopy::Immutable>(fixed: &T, tail: &[u8]) -> Vec<u8> {
    let mut bytes = [fixed.as_bytes(), tail].concat();
    let len = u32::try_from(bytes.len()).unwrap();
    bytes[4..8].copy_from_slice(&len.to_ne_bytes());
    bytes
}

fn header(kind: u16) -> Header {
    Header { kind, hook: 4, bytes: 0, thread: 0x2a_0000_002b, call: 7, section: 3, boot_ns: 99 }
}

fn wire_mount(path: &[u8], root: &[u8], source: &[u8]) -> fact::Mount {
    let mut mount = fact::Mount::new_zeroed();
    mount.id = 812;
    mount.id_unique = 5_000_000_000;
    mount.ns_inum = 4_026_531_841;
    mount.dev = 259 << 20 | 1;
    mount.t_flags = fact::ABSENT;
    mount.flags = 0x20 | MNT_UNBINDABLE;
    mount.master = 12;
    mount.fstype[..4].copy_from_slice(b"ext4");
    mount.path = Walk { bytes: path.len().try_into().unwrap(), status: walk::WHOLE };
    mount.root = Walk { bytes: root.len().try_into().unwrap(), status: walk::WHOLE };
    mount.source_bytes = source.len().try_into().unwrap();
    mount
}

fn attach() -> Vec<u8> {
    let mount = wire_mount(b"data\0srv\0", b"", b"/dev/sda1\0");
    let fact = MountFact { header: header(kind::ATTACH), mount };
    record(&fact, b"data\0srv\0/dev/sda1\0")
}

fn mount_in(record: &[u8]) -> (Role, Mount) {
    match decode(record).unwrap() {
        Fact::Section(_, SectionFact::Mount(role, mount)) => (role, *mount),
        other => panic!("not about a mount: {other:?}"),
    }
}

#[test]
fn an_attach_is_read() {
    let Fact::Section(tag, fact) = decode(&attach()).unwrap() else { panic!("no fact of a section") };
    assert_eq!(tag.call, Some(CallId { thread: 0x2a_0000_002b, start_ns: 7 }));
    let SectionFact::Mount(Role::Attach, mount) = fact else { panic!("no attach: {fact:?}") };
    assert_eq!(mount.path.unwrap(), b"/srv/data", "names come leaf first");
    assert_eq!(mount.root.unwrap(), b"/");
    assert_eq!(mount.source.unwrap(), b"/dev/sda1");
    assert_eq!(mount.dev.to_string(), "259:1");
    assert_eq!((mount.shared, mount.master, mount.unbindable), (None, Some(12), true));
    assert_eq!((mount.id_unique, mount.parent_id_unique), (Some(5_000_000_000), None));
}

#[test]
fn the_new_flag_word_wins_where_the_kernel_has_it() {
    let mut mount = wire_mount(b"", b"", b"");
    mount.t_flags = 0;
    let fact = MountFact { header: header(kind::MOVE), mount };
    let (role, mount) = mount_in(&record(&fact, b""));
    assert_eq!((role, mount.unbindable), (Role::Move, false));
}

#[test]
fn a_walk_that_was_cut_has_a_reason() {
    let mut mount = wire_mount(b"", b"", b"");
    mount.path.status = walk::TOO_DEEP;
    let fact = MountFact { header: header(kind::DETACH), mount };
    let (role, mount) = mount_in(&record(&fact, b""));
    assert_eq!((role, mount.path), (Role::Detach, Err(PathGap::TooDeep)));
}

#[test]
fn a_failed_call_is_read_with_its_claims() {
    let mut end = fact::CallEnd::new_zeroed();
    end.header = header(kind::CALL_END);
    (end.start_ns, end.result, end.syscall, end.target) = (7, -1, syscall::MOUNT, target::LOST);
    (end.source_bytes, end.target_bytes) = (5, 4);
    end.fstype[..5].copy_from_slice(b"tmpfs");
    let Fact::CallEnd(end) = decode(&record(&end, b"disk\0mnt\0")).unwrap() else { panic!("not a call") };
    assert_eq!((end.errno, end.syscall, end.found), (1, Syscall::Mount, Found::Lost));
    assert_eq!(end.claimed.source.unwrap(), b"disk");
    assert_eq!(end.claimed.target.unwrap(), b"mnt");
    assert_eq!(end.claimed.fstype.unwrap(), b"tmpfs");
    assert_eq!((end.actor.pid, end.actor.tid), (42, 43));
}

#[test]
fn a_descriptor_is_no_error() {
    let mut end = fact::CallEnd::new_zeroed();
    (end.header, end.result, end.syscall) = (header(kind::CALL_END), 7, syscall::FSMOUNT);
    let Fact::CallEnd(end) = decode(&record(&end, b"")).unwrap() else { panic!("not a call") };
    assert_eq!((end.errno, end.syscall), (0, Syscall::Fsmount));
}

#[test]
fn a_reconfigured_file_system_is_no_claim() {
    let mut end = fact::CallEnd::new_zeroed();
    (end.header, end.syscall, end.dev) = (header(kind::CALL_END), syscall::FSCONFIG, 45);
    end.fstype[..5].copy_from_slice(b"tmpfs");
    let Fact::CallEnd(good) = decode(&record(&end, b"")).unwrap() else { panic!("not a call") };
    let expected = Superblock { dev: Dev { major: 0, minor: 45 }, fstype: b"tmpfs".to_vec() };
    assert_eq!((good.superblock, good.claimed.fstype), (Some(expected), None));
    end.result = -22;
    let Fact::CallEnd(failed) = decode(&record(&end, b"")).unwrap() else { panic!("not a call") };
    assert_eq!((failed.superblock, failed.claimed.fstype), (None, None), "it may have been any descriptor");
}

#[test]
fn a_section_says_why_trees_went() {
    let said = |syscall, how| {
        let mut end = SectionEnd::new_zeroed();
        (end.header, end.syscall, end.how) = (header(kind::SECTION_END), syscall, how);
        let Fact::SectionEnd { cause, .. } = decode(&record(&end, b"")).unwrap() else { panic!("no end") };
        cause
    };
    assert_eq!(said(0, 0), None, "nothing went");
    assert_eq!(said(0, how::NAMESPACE), Some(Cause::NamespaceEnd));
    assert_eq!(said(0, how::CONNECTED), Some(Cause::Rmdir));
    assert_eq!(said(0, how::CONNECTED | how::DETACHED), Some(Cause::LastClose));
    assert_eq!(said(0, EXPIRY | how::KERNEL_THREAD), Some(Cause::Expiry));
    assert_eq!(said(0, EXPIRY), None, "an unmount whose call was missed");
    assert_eq!(said(syscall::UMOUNT, how::PROPAGATE), Some(Cause::Syscall));
    assert_eq!(said(syscall::COPY_NAMESPACE, 0), None);
}

#[test]
fn a_target_is_read_with_its_call() {
    let fact = MountFact { header: header(kind::TARGET), mount: wire_mount(b"mnt\0", b"", b"") };
    let Fact::Target(call, mount) = decode(&record(&fact, b"mnt\0")).unwrap() else { panic!("not a target") };
    assert_eq!((call.start_ns, mount.path.unwrap()), (7, b"/mnt".to_vec()));
}

#[test]
fn namespaces_begin_and_end() {
    let mut fact = NamespaceFact::new_zeroed();
    (fact.header, fact.id, fact.inum, fact.mounts) = (header(kind::NAMESPACE_MADE), 9, 4, 42);
    (fact.from_id, fact.from_inum) = (1, 3);
    fact.syscall = syscall::UNSHARE;
    let Fact::NamespaceMade { change, .. } = decode(&record(&fact, b"")).unwrap() else { panic!("no birth") };
    assert_eq!(change.made_by, Some(Syscall::Unshare));
    assert_eq!((change.namespace, change.mounts), (Namespace { inum: 4, id: 9 }, 42));
    assert_eq!(change.copied_from, Some(Namespace { inum: 3, id: 1 }));
    (fact.header, fact.from_id, fact.from_inum) = (header(kind::NAMESPACE_END), 0, 0);
    let end = decode(&record(&fact, b"")).unwrap();
    let Fact::Section(_, SectionFact::NamespaceEnd(change)) = end else { panic!("no end: {end:?}") };
    assert_eq!((change.namespace.inum, change.copied_from), (4, None));
}

#[test]
fn what_cannot_be_read_is_named() {
    let whole = attach();
    assert_eq!(decode(b"").unwrap_err(), DecodeError::Short, "nothing at all");
    assert_eq!(decode(&whole[..whole.len() - 1]).unwrap_err(), DecodeError::Short, "shorter than it says");
    let mut fixed_only = whole[..60].to_vec();
    fixed_only[4..8].copy_from_slice(&60u32.to_ne_bytes());
    assert_eq!(decode(&fixed_only).unwrap_err(), DecodeError::Short, "cut within the fixed part");
    let mut unknown = whole.clone();
    unknown[0..2].copy_from_slice(&77u16.to_ne_bytes());
    assert_eq!(decode(&unknown).unwrap_err(), DecodeError::Kind(77), "a kind from the future");
    let mount = wire_mount(&[b'x'; 200], b"", b"");
    let fact = MountFact { header: header(kind::ATTACH), mount };
    assert_eq!(decode(&record(&fact, b"x")).unwrap_err(), DecodeError::Tail, "a path longer than the tail");
    let mut end = fact::CallEnd::new_zeroed();
    (end.header, end.syscall) = (header(kind::CALL_END), 99);
    assert_eq!(decode(&record(&end, b"")).unwrap_err(), DecodeError::Syscall(99), "no such call");
}

proptest! {
    #[test]
    fn any_bytes_give_a_fact_or_a_reason(bytes: Vec<u8>) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_broken_record_gives_a_fact_or_a_reason(at in 0usize..170, byte: u8) {
        let mut bytes = attach();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}
