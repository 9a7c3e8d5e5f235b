//! What is asked for, of what pods use.

use proptest::prelude::*;

use super::*;
use crate::pods::{
    objects::Source,
    view::tests::{claim, pod},
};

fn key(name: &str) -> ClaimKey {
    ClaimKey { namespace: "shop".into(), name: name.into() }
}

fn gone(pod: Pod) -> Update {
    Update::PodGone(pod.uid)
}

#[test]
fn a_pods_claim_is_watched_and_its_volume_fetched() {
    let mut plan = Plan::default();
    let mut take = |update| plan.take(&update);
    assert_eq!(take(Update::Pod(Box::new(pod(0, "data")))), [Step::Watch(key("data"))]);
    assert_eq!(take(Update::Pod(Box::new(pod(1, "data")))), [], "by another pod too");
    assert_eq!(take(Update::Claim(Box::new(claim("data", "c1", None)))), []);
    let bound = || Update::Claim(Box::new(claim("data", "c1", Some("pvc-1"))));
    assert_eq!(take(bound()), [Step::Fetch("pvc-1".into(), "c1".into())]);
    assert_eq!(take(bound()), [], "once");
    assert_eq!(take(gone(pod(0, "data"))), []);
    assert_eq!(take(gone(pod(1, "data"))), [Step::Leave(key("data")), Step::Drop("pvc-1".into())]);
    assert_eq!(take(bound()), [], "what nobody uses");
}

#[test]
fn a_claim_that_is_made_anew_has_another_volume() {
    let mut plan = Plan::default();
    plan.take(&Update::Pod(Box::new(pod(0, "data"))));
    plan.take(&Update::Claim(Box::new(claim("data", "c1", Some("pvc-1")))));
    assert_eq!(plan.take(&Update::ClaimGone(key("data"))), [Step::Drop("pvc-1".into())]);
    let anew = claim("data", "c2", Some("pvc-1"));
    assert_eq!(plan.take(&Update::Claim(Box::new(anew))), [Step::Fetch("pvc-1".into(), "c2".into())]);
}

#[test]
fn a_pod_that_is_over_wants_nothing() {
    let mut plan = Plan::default();
    let over = Pod { over: true, ..pod(0, "data") };
    assert_eq!(plan.take(&Update::Pod(Box::new(over.clone()))), []);
    plan.take(&Update::Pod(Box::new(pod(0, "data"))));
    assert_eq!(plan.take(&Update::Pod(Box::new(over))), [Step::Leave(key("data"))]);
}

#[test]
fn beyond_its_watches_it_looks_and_goes_over_to_a_watch() {
    let mut plan = Plan::default();
    let mut many = pod(0, "");
    let volume = many.volumes[0].clone();
    let of = |number: usize| Source::Claim { name: format!("data-{number:03}").into() };
    many.volumes = (0..WATCHES + 2)
        .map(|number| crate::pods::objects::PodVolume { source: of(number), ..volume.clone() })
        .collect();
    let steps = plan.take(&Update::Pods(vec![many.clone()]));
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Watch(_))).count(), WATCHES);
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Look(_))).count(), 2);
    many.volumes.remove(0);
    let steps = plan.take(&Update::Pod(Box::new(many)));
    assert_eq!(steps, [Step::Leave(key("data-000")), Step::Watch(key("data-064"))]);
}

proptest! {
    #[test]
    fn what_is_asked_for_is_what_is_used(
        changes in prop::collection::vec((0..4_usize, prop::option::of((0..80_usize, 0..80_usize))), 0..60)
    ) {
        let (mut plan, mut asked) = (Plan::default(), HashMap::new());
        let mut pods: HashMap<usize, BTreeSet<ClaimKey>> = HashMap::new();
        for (number, claims) in changes {
            let mut one = pod(number, "");
            let volume = one.volumes[0].clone();
            let update = match claims {
                None => {
                    pods.remove(&number);
                    gone(one)
                }
                Some((from, many)) => {
                    let of = |at: usize| Source::Claim { name: format!("data-{at}").into() };
                    one.volumes = (from..from + many)
                        .map(|at| crate::pods::objects::PodVolume { source: of(at), ..volume.clone() })
                        .collect();
                    pods.insert(number, one.claims().collect());
                    Update::Pod(Box::new(one))
                }
            };
            for step in plan.take(&update) {
                match step {
                    Step::Watch(key) => drop(asked.insert(key, true)),
                    Step::Look(key) => prop_assert!(asked.insert(key, false).is_none()),
                    Step::Leave(key) => prop_assert!(asked.remove(&key).is_some()),
                    Step::Fetch(..) | Step::Drop(_) => prop_assert!(false),
                }
            }
            let used: BTreeSet<&ClaimKey> = pods.values().flatten().collect();
            prop_assert_eq!(asked.keys().collect::<BTreeSet<_>>(), used);
            let watched = asked.values().filter(|watched| **watched).count();
            prop_assert_eq!(watched, asked.len().min(WATCHES));
        }
    }
}
