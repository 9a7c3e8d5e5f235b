//! A pod's cgroup that comes late, goes, and comes again.

use super::*;

fn expect_look_at(wanted: u64, orders: &[Order]) {
    assert!(matches!(orders, [Order::Inspect { cgroup, .. }] if cgroup.id == wanted), "{orders:?}");
}

#[test]
fn a_pod_that_does_not_come_is_refused_once() {
    let mut limiter = limiter("enforce", &[]);
    limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    assert!(deadline(&mut limiter, 59_999_999_999).is_empty());
    assert!(limiter.deadline(u64::MAX, 59_999_999_999).is_empty(), "its cgroup may be made in what is not read yet");
    let orders = deadline(&mut limiter, 60_000_000_000);
    assert_eq!((decision(&orders).decision, decision(&orders).reason), (Outcome::Refused, Reason::NoSuchPod));
    assert_eq!(limiter.next_deadline_ns(), None);
    limiter.cgroup_made(CGROUP.as_bytes(), ID, 0, 0);
    inspection(&deadline(&mut limiter, FIRST_LOOK_NS));
}

#[test]
fn a_pods_next_cgroup_gets_the_limits_of_its_volumes() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    limiter.inspected(ticket, &healthy(None), 0);
    limiter.written(ticket, written(LIMIT), 0);
    limiter.cgroup_removed(ID);
    limiter.cgroup_made(CGROUP.as_bytes(), ID + 1, 0, 0);
    expect_look_at(ID + 1, &deadline(&mut limiter, FIRST_LOOK_NS));
}

#[test]
fn a_cgroup_that_is_found_gone_does_not_hide_the_next_one() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    limiter.cgroup_removed(ID);
    limiter.cgroup_made(CGROUP.as_bytes(), ID + 1, 0, 0);
    limiter.inspected(ticket, &without_cgroup(Reason::CgroupGone), 0);
    expect_look_at(ID + 1, &deadline(&mut limiter, FIRST_LOOK_NS));
}

#[test]
fn a_removed_cgroup_is_forgotten_with_what_was_written_there() {
    let mut limiter = limiter("enforce", &[CGROUP]);
    let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    limiter.inspected(ticket, &healthy(None), 0);
    limiter.written(ticket, written(LIMIT), 0);
    limiter.cgroup_removed(ID + 1);
    let ticket = inspection(&limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0));
    assert!(!limiter.inspected(ticket, &healthy(Some(LIMIT)), 0).is_empty(), "it is still known");
    limiter.cgroup_removed(ID);
    let orders = limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    assert_eq!(decision(&orders).decision, Outcome::Waiting);
    assert!(limiter.ledger.ours(Key { cgroup_id: ID, disk: DISK, diskseq: Some(3) }).is_none());
}
