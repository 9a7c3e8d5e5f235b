//! Which operations a filter shows.

use proptest::prelude::*;

use super::*;
use crate::operation::{CallEnd, CallId, Effect, EffectKind, Found, NamespaceChange, Syscall, tests::mount};

const HOST: u32 = 4_026_531_841;
const POD: u32 = 4_026_532_444;

fn namespace(inum: u32) -> Namespace {
    Namespace { inum, id: 1 }
}

fn called(op: Op, errno: u32) -> Operation {
    let actor =
        Actor { pid: 42, tid: 43, comm: b"kube\x1b".to_vec(), uid: 0, cgroup_id: 1, namespace: Some(namespace(HOST)) };
    let claimed = Claimed {
        source: Some(b"//user:secret@nas/x".to_vec()),
        target: Some(b"/srv/link".to_vec()),
        fstype: Some(b"cifs".to_vec()),
        ..Claimed::default()
    };
    let call = CallEnd {
        id: CallId { thread: 1, start_ns: 1 },
        syscall: Syscall::Mount,
        errno,
        end_ns: 2,
        actor: actor.clone(),
        claimed,
        target_id: 1,
        found: Found::None,
        sections: 0,
        target: None,
        superblock: None,
    };
    Operation { actor: Some(actor), call: Some(call), ..Operation::bare(op, 2) }
}

/// ext4 of /dev/nvme0n1 at each of these.
fn with(paths: &[(&str, u32)]) -> Operation {
    let effect = |(path, inum): &(&str, u32)| Effect {
        kind: EffectKind::Attach,
        propagated: None,
        section: None,
        mount: Mount { path: Ok(path.as_bytes().to_vec()), namespace: Some(namespace(*inum)), ..mount(1) },
    };
    Operation { effects: Some(paths.iter().map(effect).collect()), ..called(Op::Mount, 0) }
}

fn list<T>(include: Vec<T>, exclude: Vec<T>) -> List<T> {
    List { include, exclude }
}

/// A list as typed: `a,!b`.
fn globs(typed: &str) -> List<Glob> {
    let (exclude, include): (Vec<&str>, Vec<&str>) = typed.split(',').partition(|item| item.starts_with('!'));
    list(include.into_iter().map(Glob::new).collect(), exclude.into_iter().map(|item| Glob::new(&item[1..])).collect())
}

fn shows(filter: &Filter, operation: &Operation) -> bool {
    filter.verdict(operation) == Verdict::Wanted
}

fn target(typed: &str) -> Filter {
    Filter { target: globs(typed), ..Filter::default() }
}

fn source(typed: &str) -> Filter {
    Filter { source: globs(typed), ..Filter::default() }
}

fn fstype(typed: &str) -> Filter {
    Filter { fstype: globs(typed), ..Filter::default() }
}

fn comm(typed: &str) -> Filter {
    Filter { comm: globs(typed), ..Filter::default() }
}

fn mntns(include: &[u32], exclude: &[u32]) -> Filter {
    Filter { mntns: list(include.to_vec(), exclude.to_vec()), ..Filter::default() }
}

#[test]
fn items_are_alternatives_and_keys_must_agree() {
    let operation = with(&[("/mnt", HOST)]);
    let pids = |include: &[u32], exclude: &[u32]| list(include.to_vec(), exclude.to_vec());
    assert!(shows(&Filter { pid: pids(&[7, 42], &[]), ..Filter::default() }, &operation));
    assert!(!shows(&Filter { pid: pids(&[7], &[]), ..Filter::default() }, &operation));
    assert!(!shows(&Filter { pid: pids(&[], &[42]), ..Filter::default() }, &operation));
    assert!(shows(&Filter { pid: pids(&[42], &[]), ..target("/mnt,/data") }, &operation));
    assert!(!shows(&Filter { pid: pids(&[7], &[]), ..target("/mnt") }, &operation));
    assert!(!shows(&Filter { failed: true, ..Filter::default() }, &operation));
    assert!(shows(&Filter { failed: true, ..Filter::default() }, &called(Op::Umount, 16)));
    assert!(!shows(&Filter { event: list(vec![], vec![Op::Mount]), ..Filter::default() }, &operation));
}

#[test]
fn one_of_an_operations_mounts_is_enough() {
    let both = with(&[("/mnt", HOST), ("/data", POD)]);
    assert!(shows(&target("/data"), &both));
    assert!(shows(&target("!/mnt"), &both), "the other one is not excluded");
    assert!(!shows(&target("!/mnt,!/data"), &both));
    assert!(!shows(&target("/mnt,!/m*"), &both), "the one that is named is excluded, the other is not named");
    assert!(shows(&mntns(&[POD], &[]), &both));
    assert!(shows(&mntns(&[], &[HOST]), &both));
    assert!(!shows(&mntns(&[], &[HOST, POD]), &both));
}

#[test]
fn what_the_caller_said_finds_an_operation_and_hides_none() {
    let bound = with(&[("/mnt", HOST)]);
    assert!(shows(&target("/srv/link"), &bound));
    assert!(!shows(&target("!/mnt"), &bound), "that it was called /srv/link is no reason to show it");
    assert!(shows(&source("/dev/nvme*"), &bound));
    assert!(!shows(&source("!/dev/nvme*"), &bound));
    let failed = called(Op::Mount, 2);
    assert!(shows(&fstype("cifs"), &failed));
    assert!(!shows(&fstype("!cifs"), &failed), "nothing else is known of it");
}

#[test]
fn a_failed_mount_is_not_taken_for_the_one_below_it() {
    let mut failed = called(Op::Mount, 2);
    if let Some(call) = &mut failed.call {
        call.target = Some(Mount { path: Ok(b"/srv/found".to_vec()), ..mount(1) });
    }
    assert!(!shows(&fstype("ext4"), &failed));
    assert!(shows(&target("/srv/found"), &failed));
    failed.op = Op::Umount;
    assert!(shows(&fstype("ext4"), &failed), "an unmount is about the mount at its path");
}

#[test]
fn patterns_are_compared_with_what_is_printed() {
    let operation = called(Op::Mount, 2);
    assert!(shows(&comm("kube\\x1b"), &operation));
    assert!(shows(&comm("kube?x1b"), &operation), "an escape is four characters");
    assert!(shows(&source("//***@nas/x"), &operation));
    assert!(!shows(&source("*secret*"), &operation), "nobody can feel for a secret");
}

#[test]
fn what_is_unknown_is_only_shown_when_nothing_is_named() {
    let unknown = Operation::bare(Op::Umount, 1);
    assert!(!shows(&comm("kubelet"), &unknown));
    assert!(shows(&comm("!kubelet"), &unknown));
    assert!(!shows(&target("*"), &unknown));
}

#[test]
fn a_namespace_is_found_by_its_own_number() {
    let change =
        NamespaceChange { namespace: namespace(POD), copied_from: Some(namespace(HOST)), mounts: 3, made_by: None };
    let created = Operation { namespace: Some(change), ..Operation::bare(Op::NamespaceCreated, 1) };
    assert!(shows(&mntns(&[POD], &[]), &created));
    assert!(!shows(&mntns(&[HOST], &[]), &created), "the origin does not change");
}

#[test]
fn only_events_hide_a_loss() {
    let gap = Operation::bare(Op::Gap, 1);
    let throttled = Operation::bare(Op::Throttled, 1);
    let strict =
        Filter { pid: list(vec![1], vec![]), failed: true, ..Filter { target: globs("/nowhere"), ..mntns(&[1], &[]) } };
    let with =
        |include: &[Op], exclude: &[Op]| Filter { event: list(include.to_vec(), exclude.to_vec()), ..strict.clone() };
    assert_eq!(strict.verdict(&gap), Verdict::Loss);
    assert_eq!(with(&[], &[Op::Umount]).verdict(&gap), Verdict::Loss);
    assert_eq!(
        (strict.verdict(&throttled), with(&[], &[Op::Throttled]).verdict(&throttled)),
        (Verdict::Loss, Verdict::Hidden)
    );
    assert_eq!(with(&[Op::Throttled], &[]).verdict(&gap), Verdict::Hidden);
    assert_eq!(with(&[Op::Mount], &[]).verdict(&gap), Verdict::Hidden);
    assert_eq!(with(&[], &[Op::Gap]).verdict(&gap), Verdict::Hidden);
    assert_eq!(with(&[Op::Mount, Op::Gap], &[]).verdict(&gap), Verdict::Wanted);
}

proptest! {
    /// The rule of a list, said in another way: over sets.
    #[test]
    fn a_list_is_what_it_names_without_what_it_excludes(
        include in proptest::collection::vec(0_u8..6, 0..4),
        exclude in proptest::collection::vec(0_u8..6, 0..4),
        values in proptest::collection::vec(0_u8..6, 0..4),
    ) {
        let named: Vec<u8> = if include.is_empty() { (0..6).collect() } else { include.clone() };
        let left: Vec<u8> = named.into_iter().filter(|one| !exclude.contains(one)).collect();
        let expected = if values.is_empty() { include.is_empty() } else { values.iter().any(|one| left.contains(one)) };
        prop_assert_eq!(list(include, exclude).wants(values, vec![], u8::eq), expected);
    }

    /// Hints can only add, and only to a list that names something.
    #[test]
    fn hints_only_add(
        include in proptest::collection::vec(0_u8..4, 0..3),
        exclude in proptest::collection::vec(0_u8..4, 0..3),
        own in proptest::collection::vec(0_u8..4, 1..3),
        hints in proptest::collection::vec(0_u8..4, 0..3),
    ) {
        let list = list(include, exclude);
        let without = list.wants(own.clone(), vec![], u8::eq);
        let with = list.wants(own, hints, u8::eq);
        prop_assert!(with >= without);
        prop_assert!(!list.include.is_empty() || with == without);
    }
}

#[test]
fn a_mount_alone_is_wanted_by_what_it_tells() {
    let wants = |filter: Filter, mount: &Mount| filter.wants(mount);
    let (plain, secret) = (mount(2), Mount { source: Some(b"//u:p@nas/x".to_vec()), ..mount(3) });
    assert!(wants(Filter::default(), &plain) && Filter::default().wants_all_mounts());
    assert!(wants(Filter { fstype: globs("ext*"), ..Filter::default() }, &plain));
    assert!(!wants(Filter { fstype: globs("!ext4"), ..Filter::default() }, &plain));
    assert!(wants(Filter { source: globs("//***@nas/x"), ..Filter::default() }, &secret));
    assert!(!wants(Filter { source: globs("*u:p*"), ..Filter::default() }, &secret), "not by its password");
    let unknown = Mount { source: None, ..mount(4) };
    assert!(!wants(Filter { source: globs("*"), ..Filter::default() }, &unknown));
    assert!(wants(Filter { source: globs("!/dev/*"), ..Filter::default() }, &unknown));
}
