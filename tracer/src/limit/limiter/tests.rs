//! The limiter on its own, the node's answers given by hand.

mod cgroups;
mod reload;
mod seeded;

use proptest::prelude::*;

use super::{attempt::FIRST_LOOK_NS, *};
use crate::{
    device::Dev,
    host::{Disk, Facts, Protected},
    limit::{
        Limits,
        decide::{Outcome, Reason},
        ledger::Key,
        order::Found,
        policy::Mode,
    },
    operation::{Effect, Mount, Namespace, Op, Operation, PathGap, tests::mount},
};

const POD: &str = "0b7cf5a4-6c4e-4d6e-9f0a-3f1d2c4b5a69";
const CGROUP: &str = "/kubepods/pod0b7cf5a4-6c4e-4d6e-9f0a-3f1d2c4b5a69";
/// The cgroup's id.
const ID: u64 = 77;
const DISK: Dev = Dev { major: 259, minor: 0 };
const LIMIT: Limits = Limits { write_bps: Some(20 << 20), ..Limits::NONE };

fn policy(mode: &str) -> Policy {
    let text = format!(
        "mode: {mode}\nrules:\n- name: all\n  match: {{ volume: \"pvc-*\" }}\n  limits: {{ writeBps: 20Mi }}\n"
    );
    Policy::parse(text.as_bytes(), "policy.yaml").unwrap()
}

/// All was read up to now.
fn deadline(limiter: &mut Limiter, now_ns: u64) -> Vec<Order> {
    limiter.deadline(now_ns, now_ns)
}

fn limiter(mode: &str, pods: &[&str]) -> Limiter {
    let kubelet = Kubelet { directory: b"/var/lib/kubelet".to_vec(), namespace: 1 };
    let cgroup = |path: &str| PodCgroup { path: path.to_owned(), id: ID };
    let pods = pods.iter().map(|path| (pod_of(path).unwrap(), cgroup(path))).collect();
    Limiter::new(policy(mode), kubelet, Clock::new(0, 0), pods)
}

fn path(volume: &str) -> String {
    format!("/var/lib/kubelet/pods/{POD}/volumes/kubernetes.io~csi/{volume}/mount")
}

fn operation(kind: EffectKind, volume: &str) -> Operation {
    let path = Ok(path(volume).into_bytes());
    let id = volume.bytes().map(u32::from).sum();
    let mount = Mount { namespace: Some(Namespace { inum: 1, id: 1 }), path, dev: DISK, ..mount(id) };
    let effects = Some(vec![Effect { kind, propagated: Some(false), section: None, mount }]);
    Operation { effects, ..Operation::bare(Op::Mount, 1_000_000) }
}

fn healthy(current: Option<Limits>) -> Inspected {
    Inspected {
        disk: Ok(Disk { dev: DISK, name: "nvme0n1".to_owned(), diskseq: Some(3) }),
        protected: Ok(Protected::new()),
        cgroup: Some(Ok(Found { cgroup_id: ID, current })),
    }
}

/// A limiter with one rule, for the volumes of a driver.
fn limiter_by_driver(driver: &str) -> Limiter {
    let text = format!(
        "mode: enforce\nrules:\n- name: all\n  match: {{ volume: pvc-1, driver: {driver} }}\n  limits: {{ writeBps: 20Mi }}\n"
    );
    Limiter { policy: Policy::parse(text.as_bytes(), "policy.yaml").unwrap(), ..limiter("enforce", &[CGROUP]) }
}

/// The ticket of the only question about a volume.
fn question(orders: &[Order]) -> Ticket {
    match orders {
        // A mount of the same id ended unseen.
        [Order::LookUp { ticket, sighting }] | [Order::Close(_), Order::LookUp { ticket, sighting }] => {
            assert_eq!((sighting.plugin.as_deref(), sighting.dev), (Some("kubernetes.io~csi"), DISK));
            *ticket
        }
        other => panic!("no question: {other:?}"),
    }
}

fn driver(name: Option<&str>) -> Facts {
    Facts { driver: name.map(str::to_owned), ..Facts::default() }
}

#[test]
fn the_node_is_asked_for_what_a_rule_depends_on() {
    let mut limiter = limiter_by_driver("ebs");
    assert!(limiter.operation(&operation(EffectKind::Attach, "pvc-2"), 0).is_empty(), "another volume");
    let ticket = question(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    inspection(&limiter.looked_up(ticket, driver(Some("ebs")), 0));
    for unfit in [Some("nfs"), None] {
        let ticket = question(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
        assert!(limiter.looked_up(ticket, driver(unfit), 0).is_empty(), "{unfit:?}");
    }
    let ticket = question(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    limiter.operation(&operation(EffectKind::Detach, "pvc-1"), 0);
    assert!(limiter.looked_up(ticket, driver(Some("ebs")), 0).is_empty(), "unmounted meanwhile");
}

fn without_cgroup(reason: Reason) -> Inspected {
    Inspected { cgroup: Some(Err((reason, "gone".to_owned()))), ..healthy(None) }
}

/// The ticket of the only inspection that is asked for.
fn inspection(orders: &[Order]) -> Ticket {
    match orders {
        [Order::Inspect { ticket, cgroup, dev }] => {
            assert_eq!((cgroup.path.as_str(), cgroup.id, *dev), (CGROUP, ID, DISK));
            *ticket
        }
        other => panic!("no inspection: {other:?}"),
    }
}

/// The only decision.
fn decision(orders: &[Order]) -> &Decision {
    let mut decisions = orders.iter().filter_map(|order| match order {
        Order::Decide(decision) => Some(decision),
        _ => None,
    });
    let decision = decisions.next().unwrap_or_else(|| panic!("no decision: {orders:?}"));
    assert!(decisions.next().is_none(), "{orders:?}");
    decision
}

fn written(in_force: Limits) -> Written {
    Written { in_force: Ok(in_force), read_back_ns: 3_000_000 }
}

#[test]
fn a_volume_of_a_known_pod_is_limited() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    let orders = limiter.inspected(ticket, &healthy(None), 0);
    assert!(matches!(orders[..], [Order::Write { limits, .. }] if limits == LIMIT), "{orders:?}");
    let orders = limiter.written(ticket, written(LIMIT), 0);
    let decision = decision(&orders);
    assert_eq!((decision.decision, decision.reason), (Outcome::Applied, Reason::Matched));
    assert_eq!((decision.in_force, decision.mount_to_limit_us), (Some(LIMIT), Some(2000)));
    assert!(matches!(orders[0], Order::Close(_)), "nothing stays open");
    assert_eq!(limiter.next_deadline_ns(), None);
}

#[test]
fn a_volume_that_no_rule_names_is_left_alone() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    assert!(limiter.operation(&operation(EffectKind::Attach, "data"), 0).is_empty());
}

#[test]
fn a_volume_waits_for_its_pod_and_is_limited_when_it_comes() {
    let mut limiter = limiter("enforce", &[]);
    let orders = limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    assert_eq!(decision(&orders).decision, Outcome::Waiting);
    assert!(limiter.cgroup_made(b"/kubepods/besteffort", 3, 0, 5).is_empty(), "not the pod's");
    assert!(limiter.cgroup_made(CGROUP.as_bytes(), ID, 0, 10).is_empty(), "the directory cannot be opened yet");
    assert_eq!(limiter.next_deadline_ns(), Some(10 + FIRST_LOOK_NS));
    let ticket = inspection(&deadline(&mut limiter, 10 + FIRST_LOOK_NS));
    let orders = limiter.inspected(ticket, &without_cgroup(Reason::CgroupGone), 20);
    assert!(matches!(orders[..], [Order::Close(_)]), "it looks again: {orders:?}");
    let again = inspection(&deadline(&mut limiter, u64::MAX / 2));
    assert!(matches!(limiter.inspected(again, &healthy(None), 0)[..], [Order::Write { .. }]));
    let orders = limiter.written(again, written(LIMIT), 0);
    assert_eq!(decision(&orders).mount_to_limit_us, None, "how long it waited is no time to a limit");
}

#[test]
fn what_is_mounted_over_a_volume_and_goes_again_changes_nothing() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    let over = |kind| {
        let mut over = operation(kind, "pvc-1");
        over.effects.as_mut().unwrap()[0].mount.id += 1;
        over
    };
    limiter.operation(&over(EffectKind::Attach), 0);
    limiter.operation(&over(EffectKind::Detach), 0);
    assert_eq!((limiter.uses.len(), limiter.attempts.len()), (1, 1));
    limiter.operation(&operation(EffectKind::Detach, "pvc-1"), 0);
    assert_eq!((limiter.uses.len(), limiter.attempts.len()), (0, 0));
}

#[test]
fn a_volume_whose_path_is_not_known_at_its_end_ends() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    let mut end = operation(EffectKind::Detach, "pvc-1");
    end.effects.as_mut().unwrap()[0].mount.path = Err(PathGap::NotWalked);
    limiter.operation(&end, 0);
    assert_eq!((limiter.uses.len(), limiter.attempts.len()), (0, 0));
}

#[test]
fn a_volume_that_is_unmounted_while_it_waits_is_forgotten() {
    let mut limiter = limiter("enforce", &[]);
    limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    assert!(limiter.operation(&operation(EffectKind::Detach, "pvc-1"), 0).is_empty());
    limiter.cgroup_made(CGROUP.as_bytes(), ID, 0, 0);
    assert!(deadline(&mut limiter, u64::MAX).is_empty(), "its disk is none of the pod's now");
}

#[test]
fn a_known_cgroup_that_is_gone_makes_the_volume_wait() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    let orders = limiter.inspected(ticket, &without_cgroup(Reason::CgroupGone), 0);
    assert_eq!((decision(&orders).decision, decision(&orders).reason), (Outcome::Waiting, Reason::NoSuchPod));
}

#[test]
fn only_roots_cgroup_of_a_pods_name_is_the_pods_and_only_the_first() {
    const FAKE: &[u8] = b"/user.slice/user-1000/kubepods/pod0b7cf5a4-6c4e-4d6e-9f0a-3f1d2c4b5a69";
    let mut limiter = limiter("enforce", &[]);
    limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    limiter.cgroup_made(FAKE, 5, 1000, 0);
    assert!(deadline(&mut limiter, FIRST_LOOK_NS).is_empty(), "a user's own");
    limiter.cgroup_made(CGROUP.as_bytes(), ID, 0, 0);
    inspection(&deadline(&mut limiter, FIRST_LOOK_NS));
    limiter.cgroup_made(FAKE, 5, 0, 0);
    inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-2"), 0));
    limiter.cgroup_removed(5);
    inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-3"), 0));
}

#[test]
fn a_volume_that_is_unmounted_before_its_cgroup_can_be_opened_is_not_limited() {
    let mut limiter = limiter("enforce", &[]);
    limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    limiter.cgroup_made(CGROUP.as_bytes(), ID, 0, 0);
    let ticket = inspection(&deadline(&mut limiter, FIRST_LOOK_NS));
    limiter.inspected(ticket, &without_cgroup(Reason::IoControllerOff), 0);
    let orders = limiter.operation(&operation(EffectKind::Detach, "pvc-1"), 0);
    assert!(matches!(orders[..], [Order::Close(_)]), "{orders:?}");
    assert!(deadline(&mut limiter, u64::MAX).is_empty());
}

#[test]
fn what_this_agent_wrote_is_not_foreign() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    let first = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    limiter.inspected(first, &healthy(None), 0);
    limiter.written(first, written(LIMIT), 0);
    let second = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-2"), 0));
    let orders = limiter.inspected(second, &healthy(Some(LIMIT)), 0);
    assert_eq!((decision(&orders).decision, decision(&orders).reason), (Outcome::Applied, Reason::AlreadyInForce));
    let third = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-3"), 0));
    let foreign = Limits { write_bps: Some(1 << 20), ..Limits::NONE };
    let orders = limiter.inspected(third, &healthy(Some(foreign)), 0);
    assert_eq!(decision(&orders).reason, Reason::ForeignLimit);
}

/// Whatever number it has, and however healthy what has that number is.
#[test]
fn a_file_system_without_a_disk_of_its_own_is_refused() {
    for (fstype, refused) in
        [("fuseblk", true), ("bcachefs", true), ("fuse.ntfs", true), ("ext4", false), ("xfs", false)]
    {
        let mut limiter = limiter("enforce", &[CGROUP]);
        let mut operation = operation(EffectKind::Attach, "pvc-1");
        for effect in operation.effects.iter_mut().flatten() {
            effect.mount.fstype = fstype.as_bytes().to_vec();
        }
        let ticket = inspection(&limiter.operation(&operation, 0));
        let orders = limiter.inspected(ticket, &healthy(None), 0);
        if refused {
            assert_eq!(decision(&orders).reason, Reason::NoBlockDevice, "{fstype}");
            assert!(matches!(orders[0], Order::Close(_)), "{fstype}: {orders:?}");
        } else {
            assert!(matches!(orders[..], [Order::Write { .. }]), "{fstype}: {orders:?}");
        }
    }
}

#[test]
fn a_disk_that_cannot_be_told_from_a_protected_one_is_refused() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    let unknown = Inspected { protected: Err("cannot read".to_owned()), cgroup: None, ..healthy(None) };
    let orders = limiter.inspected(ticket, &unknown, 0);
    assert_eq!((decision(&orders).decision, decision(&orders).reason), (Outcome::Refused, Reason::DiskUnreadable));
}

/// Whatever the node answers, at the look or at the write, the volume is refused with this reason, nothing stays open, and
/// the next volume is limited. What the guest tests cannot make happen between a look and its write is here.
#[test]
fn after_every_refusal_the_next_volume_is_limited() {
    let refusals = Reason::ALL.iter().filter(|reason| {
        !matches!(reason, Reason::Matched | Reason::AlreadyInForce | Reason::PolicyChanged | Reason::NoSuchPod)
    });
    for reason in refusals {
        let mut limiter = limiter("enforce", &[CGROUP]);
        let refused = |orders: &[Order]| {
            assert_eq!((decision(orders).decision, decision(orders).reason), (Outcome::Refused, *reason));
            assert!(matches!(orders[0], Order::Close(_)), "{orders:?}");
        };
        // A cgroup that is gone at the look is waited for.
        if *reason != Reason::CgroupGone {
            let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
            refused(&limiter.inspected(ticket, &without_cgroup(*reason), 0));
        }
        let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-2"), 0));
        limiter.inspected(ticket, &healthy(None), 0);
        let failed = Written { in_force: Err((*reason, "no".to_owned())), read_back_ns: 0 };
        refused(&limiter.written(ticket, failed, 0));
        let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-3"), 0));
        limiter.inspected(ticket, &healthy(None), 0);
        let orders = limiter.written(ticket, written(LIMIT), 0);
        assert_eq!(decision(&orders).decision, Outcome::Applied, "after {reason:?}");
    }
}

/// Something that may happen.
#[derive(Clone, Debug)]
enum Step {
    Mount(u8),
    Unmount(u8),
    Cgroup,
    Answer { protected: bool, gone: bool, foreign: bool },
    Later(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..3).prop_map(Step::Mount),
        (0u8..3).prop_map(Step::Unmount),
        Just(Step::Cgroup),
        any::<(bool, bool, bool)>().prop_map(|(protected, gone, foreign)| Step::Answer { protected, gone, foreign }),
        any::<u32>().prop_map(Step::Later),
    ]
}

proptest! {
    /// In no order of events is a protected disk, or anything while observing, ordered to be written; and every
    /// inspection that is asked for can be answered and ends.
    #[test]
    fn no_order_of_events_leads_to_a_write_that_was_not_wanted(
        steps in proptest::collection::vec(step(), 0..60),
        enforce: bool,
        known: bool,
    ) {
        let pods: &[&str] = if known { &[CGROUP] } else { &[] };
        let mut limiter = limiter(if enforce { "enforce" } else { "observe" }, pods);
        let (mut now, mut asked): (u64, Vec<Ticket>) = (0, Vec::new());
        for step in steps {
            let (orders, may_write) = match step {
                Step::Mount(n) => (limiter.operation(&operation(EffectKind::Attach, &format!("pvc-{n}")), now), false),
                Step::Unmount(n) => (limiter.operation(&operation(EffectKind::Detach, &format!("pvc-{n}")), now), false),
                Step::Cgroup => (limiter.cgroup_made(CGROUP.as_bytes(), ID, 0, now), false),
                Step::Later(ns) => { now += u64::from(ns) * 20; (deadline(&mut limiter, now), false) }
                Step::Answer { protected, gone, foreign } => {
                    let Some(ticket) = asked.pop() else { continue };
                    let found = foreign.then_some(Limits { read_iops: Some(99), ..Limits::NONE });
                    let mut answer = if gone { without_cgroup(Reason::CgroupGone) } else { healthy(found) };
                    if protected {
                        answer.protected = Ok(Protected::from([(DISK, vec!["holds /".to_owned()])]));
                    }
                    (limiter.inspected(ticket, &answer, now), enforce && !protected && !gone && !foreign)
                }
            };
            for order in orders {
                match order {
                    Order::Inspect { ticket, .. } => asked.push(ticket),
                    Order::LookUp { .. } => prop_assert!(false, "no rule depends on it"),
                    Order::Write { ticket, limits } => {
                        prop_assert!(may_write);
                        prop_assert_eq!(limits, LIMIT);
                        let failed = Written { in_force: Err((Reason::WriteRefused, String::new())), read_back_ns: now };
                        let after = limiter.written(ticket, failed, now);
                        prop_assert_eq!(decision(&after).decision, Outcome::Refused);
                    }
                    Order::Close(_) => {}
                    Order::Decide(decision) => prop_assert!(enforce || decision.decision != Outcome::Applied),
                }
            }
        }
        prop_assert_eq!(limiter.policy.mode == Mode::Enforce, enforce);
    }
}
