//! What waits comes in its order, with its names, and not for ever.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    operation::{Op, Whose},
    pods::{PodUid, cgroup_path::owner_of, named::State},
};

const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";

fn id(digit: char) -> ContainerId {
    ContainerId::parse(&digit.to_string().repeat(64)).unwrap()
}

fn owner(digit: char) -> Owner {
    owner_of(&format!("/kubepods/pod{UID}/{}", id(digit)))
}

fn of(owner: Owner) -> Box<Operation> {
    let whose = Whose { actor: Some(Arc::new(owner)), ..Whose::default() };
    Box::new(Operation { whose, ..Operation::bare(Op::Mount, 0) })
}

fn named(digit: char, uid: &str) -> Named {
    Named {
        id: id(digit),
        sandbox: id('0'),
        pod_uid: PodUid::parse(uid),
        namespace: "default".to_owned(),
        pod: "web-0".to_owned(),
        container: Some(digit.to_string()),
        image: None,
        labels: BTreeMap::new(),
        attempt: 0,
        state: State::Running,
        runtime: "containerd".into(),
    }
}

/// What was shown, each with the name of its actor's container.
fn shown(effects: &[Effect]) -> Vec<(u64, Option<String>)> {
    let one = |effect: &Effect| match effect {
        Effect::Emit { seq, operation } => {
            let name = operation.owners().find_map(|owner| operation.whose.named(owner)?.container.clone());
            Some((*seq, name))
        }
        _ => None,
    };
    effects.iter().filter_map(one).collect()
}

fn asked(effects: &[Effect]) -> Vec<ContainerId> {
    let one = |effect: &Effect| if let Effect::Name(id) = effect { Some(id.clone()) } else { None };
    effects.iter().filter_map(one).collect()
}

#[test]
fn what_is_nobodys_waits_for_nothing() {
    let mut naming = Naming::default();
    assert_eq!(shown(&naming.show(1, of(Owner::default()), 0)), [(1, None)]);
    // No kubelet's runtime has made it.
    let docker = naming.show(2, of(owner_of(&format!("/docker/{}", id('a')))), 0);
    assert_eq!((asked(&docker), shown(&docker)), (vec![], vec![(2, None)]));
    assert_eq!(naming.unnamed, 0);
}

#[test]
fn an_operation_comes_with_its_name_and_nothing_overtakes_it() {
    let mut naming = Naming::default();
    assert_eq!(asked(&naming.show(1, of(owner('a')), 0)), [id('a')]);
    assert!(naming.show(2, of(Owner::default()), 1).is_empty());
    assert!(naming.show(3, of(owner('a')), 2).is_empty(), "it is asked once");
    let all = naming.named(id('a'), Some(named('a', UID)), 3);
    let name = || Some("a".to_owned());
    assert_eq!(shown(&all), [(1, name()), (2, None), (3, name())]);
    assert_eq!(shown(&naming.show(4, of(owner('a')), 4)), [(4, name())]);
    assert_eq!((naming.unnamed, naming.next_deadline_ns()), (0, None));
}

#[test]
fn nothing_waits_for_ever() {
    let mut naming = Naming::default();
    naming.show(1, of(owner('a')), 5);
    assert_eq!(naming.next_deadline_ns(), Some(5 + PATIENCE_NS));
    assert!(naming.go_on(4 + PATIENCE_NS).is_empty());
    assert_eq!(shown(&naming.go_on(5 + PATIENCE_NS)), [(1, None)]);
    assert_eq!(naming.unnamed, 1);
    naming.show(2, of(owner('a')), 6 + PATIENCE_NS);
    naming.show(3, of(owner('b')), 6 + PATIENCE_NS);
    assert_eq!(shown(&naming.end(7 + PATIENCE_NS)), [(2, None), (3, None)]);
    assert_eq!(naming.unnamed, 3);
    assert_eq!(shown(&naming.show(4, of(owner('c')), 8 + PATIENCE_NS)), [(4, None)], "nothing answers after the end");
}

#[test]
fn who_is_not_known_is_asked_for_again_later() {
    let mut naming = Naming::default();
    naming.show(1, of(owner('a')), 0);
    assert_eq!(shown(&naming.named(id('a'), None, 7)), [(1, None)]);
    assert_eq!(asked(&naming.show(2, of(owner('a')), 6 + AGAIN_NS)), []);
    let again = naming.show(3, of(owner('a')), 7 + AGAIN_NS);
    assert_eq!((asked(&again), shown(&again)), (vec![id('a')], vec![(3, None)]), "nobody waits twice");
    naming.named(id('a'), Some(named('a', UID)), 8 + AGAIN_NS);
    assert_eq!(shown(&naming.show(4, of(owner('a')), 9 + AGAIN_NS)), [(4, Some("a".to_owned()))]);
}

#[test]
fn a_name_of_another_pod_is_none() {
    let mut naming = Naming::default();
    naming.show(1, of(owner('a')), 0);
    let other = named('a', "1b7cf5a4-6c4e-4d6e-9f0a-3f1d2c4b5a69");
    assert_eq!(shown(&naming.named(id('a'), Some(other), 1)), [(1, None)]);
    assert_eq!(naming.unnamed, 1);
}

#[test]
fn a_process_beside_the_containers_has_the_pods_name() {
    let mut naming = Naming::default();
    naming.meet(&owner('a'), 0);
    naming.named(id('a'), Some(named('a', UID)), 0);
    let effects = naming.show(1, of(owner_of(&format!("/kubepods/pod{UID}"))), 0);
    let [Effect::Emit { operation, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(
        operation.owners().find_map(|owner| operation.whose.named(owner)).map(|named| named.pod.as_str()),
        Some("web-0")
    );
}

#[test]
fn there_is_an_end_to_the_room() {
    let mut naming = Naming::default();
    let effects: Vec<Effect> =
        (0..MOST_WAITING as u64 + 10).flat_map(|seq| naming.show(seq, of(owner('a')), 0)).collect();
    assert_eq!((shown(&effects).len(), naming.waiting.len()), (10, MOST_WAITING));
    for number in 0..3 * KEPT {
        let id = ContainerId::parse(&format!("{number:064x}")).unwrap();
        naming.named(id, None, 0);
        naming.keep(|| HashSet::from([self::id('a')]));
    }
    assert!(naming.said.len() <= KEPT + 1 && naming.said.contains_key(&id('a')));
}

proptest! {
    /// Whatever comes in whatever order: each operation is shown once, in its order.
    #[test]
    fn the_order_stays(steps in proptest::collection::vec((0..5u8, 0..3usize, 0..PATIENCE_NS), 0..60)) {
        let mut naming = Naming::default();
        let (mut now_ns, mut seq, mut seen) = (0, 0, Vec::new());
        for (kind, which, later_ns) in steps {
            let digit = ['a', 'b', 'c'][which];
            now_ns += later_ns;
            let effects = match kind {
                0 | 1 => {
                    seq += 1;
                    naming.show(seq, of(if kind == 0 { owner(digit) } else { Owner::default() }), now_ns)
                }
                2 => naming.named(id(digit), Some(named(digit, UID)), now_ns),
                3 => naming.named(id(digit), None, now_ns),
                _ => naming.go_on(now_ns),
            };
            seen.extend(shown(&effects).into_iter().map(|(seq, _)| seq));
        }
        seen.extend(shown(&naming.end(now_ns)).into_iter().map(|(seq, _)| seq));
        prop_assert_eq!(seen, (1..=seq).collect::<Vec<_>>());
    }
}
