//! A policy that changes, against a node that answers truthfully.

use std::collections::{BTreeSet, VecDeque};

use super::*;

/// One pod's `io.max` for one disk, and what the limiter decides about it.
struct World {
    limiter: Limiter,
    io_max: Option<Limits>,
    mounted: BTreeSet<String>,
}

impl World {
    fn new(rules: &str) -> Self {
        let limiter = Limiter { policy: rules_of("enforce", rules), ..limiter("enforce", &[CGROUP]) };
        Self { limiter, io_max: None, mounted: BTreeSet::new() }
    }

    fn mount(&mut self, volume: &str) -> Vec<Decision> {
        self.mounted.insert(volume.to_owned());
        let orders = self.limiter.operation(&operation(EffectKind::Attach, volume), 0);
        self.settle(orders)
    }

    fn unmount(&mut self, volume: &str) -> Vec<Decision> {
        self.mounted.remove(volume);
        let orders = self.limiter.operation(&operation(EffectKind::Detach, volume), 0);
        self.settle(orders)
    }

    fn policy(&mut self, mode: &str, rules: &str) -> Vec<(String, Outcome, Reason)> {
        let orders = self.limiter.policy_changed(rules_of(mode, rules), 0);
        let decisions = self.settle(orders);
        decisions.into_iter().map(|decision| (decision.volume, decision.decision, decision.reason)).collect()
    }

    /// Answers, as the agent does, in the order of the questions, until there is none left.
    fn settle(&mut self, orders: Vec<Order>) -> Vec<Decision> {
        let (mut orders, mut decisions) = (VecDeque::from(orders), Vec::new());
        while let Some(order) = orders.pop_front() {
            orders.extend(match order {
                Order::LookUp { ticket, .. } => self.limiter.looked_up(ticket, driver(Some("ebs")), 0),
                Order::Inspect { ticket, .. } => self.limiter.inspected(ticket, &healthy(self.io_max), 0),
                Order::Write { ticket, limits } => {
                    self.io_max = (!limits.is_none()).then_some(limits);
                    self.limiter.written(ticket, written(limits), 0)
                }
                Order::Close(_) => Vec::new(),
                Order::Decide(decision) => {
                    decisions.push(*decision);
                    Vec::new()
                }
            });
        }
        assert!(self.limiter.next.is_none() && self.limiter.releases.is_empty() && self.limiter.announced.is_none());
        decisions
    }
}

/// Rules as `MATCH=MEBIBYTES;...`.
fn rules_of(mode: &str, rules: &str) -> Policy {
    let rules = rules.split_terminator(';').enumerate().map(|(number, rule)| {
        let (matches, mebibytes) = rule.split_once('=').unwrap();
        format!("\n- {{name: r{number}, match: {{{matches}}}, limits: {{writeBps: {mebibytes}Mi}}}}")
    });
    let rules: String = rules.collect();
    let rules = if rules.is_empty() { " []".to_owned() } else { rules };
    Policy::parse(format!("mode: {mode}\nrules:{rules}\n").as_bytes(), "policy.yaml").unwrap()
}

fn mebibytes(number: u64) -> Limits {
    Limits { write_bps: Some(number << 20), ..Limits::NONE }
}

fn told(volume: &str, outcome: Outcome, reason: Reason) -> (String, Outcome, Reason) {
    (volume.to_owned(), outcome, reason)
}

const RELEASED: (Outcome, Reason) = (Outcome::Released, Reason::PolicyChanged);

#[test]
fn another_limit_reaches_a_volume_in_use() {
    let mut world = World::new("volume: pvc-1=20");
    let first = world.mount("pvc-1");
    assert_eq!(first[0].mount_to_limit_us, Some(2000));
    assert_eq!(world.policy("enforce", "volume: pvc-1=30"), [told("pvc-1", Outcome::Applied, Reason::Matched)]);
    assert_eq!(world.io_max, Some(mebibytes(30)));
    assert_eq!(world.policy("enforce", "volume: pvc-1=30"), [], "the same policy is no change");
    let orders = world.limiter.policy_changed(rules_of("enforce", "volume: pvc-1=40"), 0);
    assert_eq!(world.settle(orders)[0].mount_to_limit_us, None, "the mount was long ago");
}

#[test]
fn a_volume_that_no_rule_was_for_is_limited_by_a_new_one() {
    let mut world = World::new("volume: other=20");
    assert!(world.mount("pvc-1").is_empty());
    assert_eq!(world.policy("enforce", "driver: ebs=30"), [told("pvc-1", Outcome::Applied, Reason::Matched)]);
    assert_eq!(world.io_max, Some(mebibytes(30)));
}

#[test]
fn what_no_rule_wants_any_more_is_released() {
    let mut world = World::new("volume: pvc-1=20");
    world.mount("pvc-1");
    assert_eq!(world.policy("enforce", ""), [told("pvc-1", RELEASED.0, RELEASED.1)]);
    assert_eq!(world.io_max, None);
    assert_eq!(world.policy("enforce", "volume: x=30"), [], "once");
}

#[test]
fn observe_releases_first_and_observes_then() {
    let mut world = World::new("volume: pvc-1=20");
    world.mount("pvc-1");
    let expected = [told("pvc-1", RELEASED.0, RELEASED.1), told("pvc-1", Outcome::Observed, Reason::Matched)];
    assert_eq!(world.policy("observe", "volume: pvc-1=20"), expected);
    assert_eq!(world.io_max, None);
    assert_eq!(world.policy("enforce", "volume: pvc-1=20"), [told("pvc-1", Outcome::Applied, Reason::Matched)]);
}

#[test]
fn of_two_volumes_the_one_that_is_still_wanted_counts() {
    let mut world = World::new("volume: pvc-1=20;volume: pvc-2=30");
    world.mount("pvc-1");
    world.mount("pvc-2");
    assert_eq!(world.io_max, Some(mebibytes(20)));
    assert_eq!(world.policy("enforce", "volume: pvc-2=30"), [told("pvc-2", Outcome::Applied, Reason::Matched)]);
    assert_eq!(world.io_max, Some(mebibytes(30)));
    let both = "volume: pvc-1=50;volume: pvc-2=60";
    let each = ["pvc-1", "pvc-2"].map(|volume| told(volume, Outcome::Applied, Reason::Matched));
    assert_eq!(world.policy("enforce", both), each);
    assert_eq!(world.io_max, Some(mebibytes(50)));
}

#[test]
fn two_volumes_that_are_decided_at_once_leave_the_smaller_limit() {
    let mut world = World::new("volume: pvc-1=20");
    world.mount("pvc-1");
    world.mount("pvc-2");
    // The second finds the old limit, which is what both want together, while the first one's write is under way.
    world.policy("enforce", "volume: pvc-1=21;volume: pvc-2=20");
    assert_eq!(world.io_max, Some(mebibytes(20)));
}

#[test]
fn what_someone_else_wrote_since_is_not_released() {
    let mut world = World::new("volume: pvc-1=20");
    world.mount("pvc-1");
    world.io_max = Some(mebibytes(7));
    assert_eq!(world.policy("enforce", ""), [told("pvc-1", Outcome::Refused, Reason::ForeignLimit)]);
    assert_eq!(world.io_max, Some(mebibytes(7)));
    assert_eq!(world.policy("enforce", "volume: x=30"), [], "it is not ours any more");
}

#[test]
fn a_release_that_fails_is_tried_with_the_next_policy() {
    let mut world = World::new("volume: pvc-1=20");
    world.mount("pvc-1");
    let ticket = inspection(&inspections(world.limiter.policy_changed(rules_of("enforce", ""), 0)));
    world.limiter.inspected(ticket, &healthy(world.io_max), 0);
    let failed = Written { in_force: Err((Reason::CgroupReadOnly, "read-only".to_owned())), read_back_ns: 0 };
    let orders = world.limiter.written(ticket, failed, 0);
    assert_eq!((decision(&orders).decision, decision(&orders).reason), (Outcome::Refused, Reason::CgroupReadOnly));
    assert_eq!(world.policy("enforce", "volume: x=30"), [told("pvc-1", RELEASED.0, RELEASED.1)]);
}

#[test]
fn a_disk_that_went_took_its_limit_along() {
    let mut world = World::new("volume: pvc-1=20");
    world.mount("pvc-1");
    let ticket = inspection(&inspections(world.limiter.policy_changed(rules_of("enforce", ""), 0)));
    let gone = Inspected { disk: Err((crate::host::NoDisk::Gone, "gone".to_owned())), cgroup: None, ..healthy(None) };
    assert!(matches!(world.limiter.inspected(ticket, &gone, 0)[..], [Order::Close(_)]), "nothing to tell");
    assert_eq!(world.policy("enforce", "volume: x=30"), []);
}

#[test]
fn a_volume_that_waits_goes_on_waiting_by_the_new_policy() {
    let mut limiter = limiter("enforce", &[]);
    limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    let orders = limiter.policy_changed(rules_of("enforce", "volume: pvc-1, driver: ebs=30"), 5);
    let ticket = question(&orders);
    assert!(limiter.looked_up(ticket, driver(Some("ebs")), 5).is_empty(), "it is not told twice");
    assert_eq!(limiter.next_deadline_ns(), Some(60_000_000_000), "its minute goes on");
    limiter.cgroup_made(CGROUP.as_bytes(), ID, 0, 10);
    let orders = limiter.policy_changed(rules_of("enforce", "volume: pvc-1=40"), 20);
    assert!(matches!(orders[..], [Order::Close(_)]), "the cgroup cannot be opened yet: {orders:?}");
    let ticket = inspection(&deadline(&mut limiter, 20 + FIRST_LOOK_NS));
    let orders = limiter.inspected(ticket, &healthy(None), 20);
    assert!(matches!(orders[..], [Order::Write { limits, .. }] if limits == mebibytes(40)), "{orders:?}");
    limiter.policy_changed(rules_of("enforce", ""), 30);
    assert!(limiter.next.is_some(), "a write is under way");
    let orders = limiter.written(ticket, written(mebibytes(40)), 30);
    assert_eq!(inspections(orders).len(), 1, "and then released");
}

#[test]
fn a_volume_that_waits_and_is_not_wanted_any_more_is_forgotten() {
    let mut limiter = limiter("enforce", &[]);
    limiter.operation(&operation(EffectKind::Attach, "pvc-1"), 0);
    assert!(limiter.policy_changed(rules_of("enforce", ""), 0).is_empty());
    assert_eq!(limiter.next_deadline_ns(), None);
}

#[test]
fn a_policy_waits_for_answers_but_not_for_volumes_that_went() {
    let mut world = World::new("volume: other=20");
    world.mount("pvc-1");
    let asked = world.limiter.policy_changed(rules_of("enforce", "driver: ebs=30"), 0);
    question(&asked);
    assert!(world.limiter.next.is_some());
    world.limiter.operation(&operation(EffectKind::Detach, "pvc-1"), 0);
    assert!(world.limiter.next.is_none(), "nobody is left to ask for");
    assert_eq!(world.limiter.policy, rules_of("enforce", "driver: ebs=30"));
}

/// The inspections among some orders.
fn inspections(orders: Vec<Order>) -> Vec<Order> {
    orders.into_iter().filter(|order| matches!(order, Order::Inspect { .. })).collect()
}

/// Something that may happen.
#[derive(Clone, Debug)]
enum Step {
    Mount(u8),
    Unmount(u8),
    /// Whether it enforces, whether its rules need the driver, and for each volume the mebibytes or no rule.
    Policy(bool, bool, [Option<u64>; 3]),
}

fn step() -> impl Strategy<Value = Step> {
    let limits = proptest::array::uniform3(proptest::option::of(20_u64..24));
    prop_oneof![
        (0_u8..3).prop_map(Step::Mount),
        (0_u8..3).prop_map(Step::Unmount),
        (any::<bool>(), any::<bool>(), limits).prop_map(|(enforce, ask, rules)| Step::Policy(enforce, ask, rules)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After every change of policy `io.max` says what this policy wants of the volumes that are mounted, and nothing else.
    #[test]
    fn after_a_new_policy_nothing_of_the_old_one_is_left(steps in proptest::collection::vec(step(), 0..40)) {
        let mut world = World::new("");
        for step in steps {
            match step {
                Step::Mount(volume) => drop(world.mount(&format!("pvc-{volume}"))),
                Step::Unmount(volume) => drop(world.unmount(&format!("pvc-{volume}"))),
                Step::Policy(enforce, ask, limits) => {
                    let key = if ask { ", driver: e*" } else { "" };
                    let named = |volume: usize| format!("pvc-{volume}");
                    let ruled: Vec<(usize, u64)> =
                        limits.iter().enumerate().filter_map(|(volume, limit)| Some((volume, (*limit)?))).collect();
                    let rule = |(volume, limit): &(usize, u64)| format!("volume: {}{key}={limit};", named(*volume));
                    let rules = ruled.iter().map(rule).collect::<Vec<_>>().concat();
                    let mode = if enforce { "enforce" } else { "observe" };
                    let before = world.limiter.policy.clone();
                    world.policy(mode, &rules);
                    if world.limiter.policy == before {
                        continue;
                    }
                    let in_use = ruled.iter().filter(|(volume, _)| enforce && world.mounted.contains(&named(*volume)));
                    let least = in_use.map(|(_, limit)| *limit).min();
                    prop_assert_eq!(world.io_max, least.map(mebibytes));
                }
            }
        }
    }
}
