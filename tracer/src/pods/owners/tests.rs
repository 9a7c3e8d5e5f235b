//! Each way in which a namespace comes to its owner, and what must not make it somebody's.

use proptest::prelude::*;

use super::*;

const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";
const POD: u64 = 100;
const RUNTIME: u64 = 1;

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn pod() -> String {
    format!("/kubepods/pod{UID}")
}

fn container(digit: char) -> String {
    format!("{}/{}", pod(), id(digit))
}

fn ns(inum: u32) -> Namespace {
    Namespace { inum, id: u64::from(inum) + 1000 }
}

/// A pod with the containers a (101) and b (102), made by root, and the runtime's own cgroup.
fn node() -> Owners {
    let mut owners = Owners::default();
    owners.cgroup_made("/system.slice/containerd.service", RUNTIME, 0);
    owners.cgroup_made(&pod(), POD, 0);
    owners.cgroup_made(&container('a'), 101, 0);
    owners.cgroup_made(&container('b'), 102, 0);
    owners
}

fn home(owners: &Owners, inum: u32) -> Option<(String, Role)> {
    let home = owners.of_namespace(ns(inum))?;
    Some((home.owner.container.as_ref()?.id.as_str()[..1].to_owned(), home.role))
}

fn own(container: &str) -> (String, Role) {
    (container.to_owned(), Role::Container)
}

fn nested(container: &str) -> (String, Role) {
    (container.to_owned(), Role::Nested)
}

#[test]
fn runc_enters_the_cgroup_and_then_makes_the_namespace() {
    let mut owners = node();
    owners.namespace_made(ns(1), Some(ns(0)), 101);
    owners.namespace_made(ns(2), Some(ns(0)), 102);
    assert_eq!((home(&owners, 1), home(&owners, 2)), (Some(own("a")), Some(own("b"))));
}

#[test]
fn crun_makes_the_namespace_and_then_enters() {
    let mut owners = node();
    owners.namespace_made(ns(1), Some(ns(0)), RUNTIME);
    assert_eq!(home(&owners, 1), None);
    owners.entered(ns(1), 101);
    assert_eq!(home(&owners, 1), Some(own("a")));
}

#[test]
fn what_a_container_makes_inside_is_nested_and_its_own() {
    let mut owners = node();
    owners.namespace_made(ns(1), Some(ns(0)), 101);
    owners.namespace_made(ns(2), Some(ns(1)), 101);
    // By going into the node's namespace first.
    owners.namespace_made(ns(3), Some(ns(0)), 101);
    assert_eq!((home(&owners, 2), home(&owners, 3)), (Some(nested("a")), Some(nested("a"))));
}

#[test]
fn who_goes_into_a_namespace_takes_nothing() {
    let mut owners = node();
    owners.namespace_made(ns(1), Some(ns(0)), 101);
    owners.entered(ns(1), 102);
    assert_eq!(home(&owners, 1), Some(own("a")));
    // A service with a namespace of its own is nobody's.
    owners.namespace_made(ns(2), Some(ns(0)), RUNTIME);
    owners.entered(ns(2), RUNTIME);
    assert_eq!(home(&owners, 2), None);
    // Nor is it a pod's when one of its processes is put into the pod's cgroup beside the containers.
    owners.entered(ns(2), POD);
    assert_eq!(home(&owners, 2), None);
}

#[test]
fn a_namespace_outlives_its_processes_and_their_cgroup() {
    let mut owners = node();
    owners.namespace_made(ns(1), Some(ns(0)), 101);
    owners.cgroup_removed(101);
    owners.cgroup_removed(POD);
    assert_eq!(home(&owners, 1), Some(own("a")));
    owners.namespace_ended(ns(1));
    assert_eq!(home(&owners, 1), None);
}

#[test]
fn a_number_that_is_used_again_is_another_namespace() {
    let mut owners = node();
    owners.namespace_made(ns(1), Some(ns(0)), 101);
    let other = Namespace { inum: 1, id: 5 };
    assert_eq!(owners.of_namespace(other), None, "its birth was not seen");
    owners.namespace_ended(other);
    assert_eq!(home(&owners, 1), Some(own("a")), "another one has ended");
    owners.namespace_made(other, Some(ns(0)), RUNTIME);
    assert_eq!((owners.of_namespace(other), home(&owners, 1)), (None, None));
}

#[test]
fn those_that_were_there_are_found_in_the_order_of_their_age() {
    let mut owners = Owners::default();
    let found = |inum, since| Inhabitant { inum, id: u64::from(inum) + 1000, cgroup: Some(container('a')), since };
    owners.inhabited(vec![found(2, 9), found(1, 8), Inhabitant { inum: 3, ..Inhabitant::default() }]);
    assert_eq!((home(&owners, 1), home(&owners, 2), home(&owners, 3)), (Some(own("a")), Some(nested("a")), None));
    // What is told is believed, and not who is found in it later.
    owners.cgroup_made(&pod(), POD, 0);
    owners.cgroup_made(&container('b'), 102, 0);
    owners.namespace_made(ns(4), None, 102);
    owners.inhabited(vec![found(4, 1)]);
    assert_eq!(home(&owners, 4), Some(own("b")));
}

#[test]
fn after_a_loss_a_number_alone_is_no_namespace() {
    let mut owners = Owners::default();
    owners.inhabited(vec![Inhabitant { inum: 1, id: 0, cgroup: Some(container('a')), since: 1 }]);
    assert_eq!(home(&owners, 1), Some(own("a")));
    owners.lost();
    assert_eq!(home(&owners, 1), None);
}

#[test]
fn a_users_cgroup_is_no_pods() {
    let mut owners = Owners::default();
    let slice = format!("/user.slice/user-1000.slice{}", pod());
    owners.cgroup_made(&slice, 7, 1000);
    owners.cgroup_made(&format!("{slice}/{}", id('a')), 8, 1000);
    assert_eq!((owners.of_cgroup(7), owners.of_cgroup(8)), (None, None));
    assert!(!owners.must_ask(7) && owners.must_ask(8), "the node knows whose it is");
    // What a container's own user makes below it is the container's, and what it makes elsewhere is its own.
    let mut owners = node();
    owners.cgroup_made(&format!("{}/init", container('a')), 9, 100_000);
    owners.cgroup_made(&format!("/user.slice/docker-{}.scope", id('c')), 10, 1000);
    let of = |cgroup| owners.of_cgroup(cgroup).map(|owner| (owner.pod.is_some(), owner.container.is_some()));
    assert_eq!((of(9), of(10)), (Some((true, true)), Some((false, true))));
}

#[test]
fn what_is_asked_is_asked_once() {
    let mut owners = Owners::default();
    assert!(owners.must_ask(5) && owners.must_ask(6));
    owners.cgroup_found(5, None);
    owners.cgroup_found(6, Some(&container('a')));
    assert!(!owners.must_ask(5) && !owners.must_ask(6));
    assert!(owners.of_cgroup(5).is_none() && owners.of_cgroup(6).is_some());
}

#[test]
fn there_is_an_end_to_the_room() {
    let mut owners = node();
    for cgroup in 1000..1000 + 2 * MOST_CGROUPS as u64 {
        owners.cgroup_made("/a", cgroup, 0);
    }
    assert!(owners.cgroups.len() <= MOST_CGROUPS);
    assert!(owners.of_cgroup(POD).is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Made(u32, u64),
    Entered(u32, u64),
    Ended(u32),
    Removed(u64),
    Lost,
}

fn any_step() -> impl Strategy<Value = Step> {
    let cgroup = || prop_oneof![Just(RUNTIME), Just(POD), Just(101u64), Just(102), Just(999)];
    prop_oneof![
        (0..4u32, cgroup()).prop_map(|(ns, cgroup)| Step::Made(ns, cgroup)),
        (0..4u32, cgroup()).prop_map(|(ns, cgroup)| Step::Entered(ns, cgroup)),
        (0..4u32).prop_map(Step::Ended),
        cgroup().prop_map(Step::Removed),
        Just(Step::Lost),
    ]
}

proptest! {
    /// Whoever has a namespace made it, or was the first to enter it, while it lived; and no container has two of its own at once.
    #[test]
    fn nobody_gets_what_somebody_else_made(steps in proptest::collection::vec(any_step(), 0..40)) {
        let mut owners = node();
        // The cgroups that may own each namespace.
        let mut may: HashMap<u32, HashSet<u64>> = HashMap::new();
        for step in steps {
            match step {
                Step::Made(inum, cgroup) => {
                    owners.namespace_made(ns(inum), None, cgroup);
                    may.insert(inum, HashSet::from([cgroup]));
                }
                Step::Entered(inum, cgroup) => {
                    owners.entered(ns(inum), cgroup);
                    may.entry(inum).or_default().insert(cgroup);
                }
                Step::Ended(inum) => {
                    owners.namespace_ended(ns(inum));
                    may.remove(&inum);
                }
                Step::Removed(cgroup) => owners.cgroup_removed(cgroup),
                Step::Lost => owners.lost(),
            }
            let mut whole = HashSet::new();
            for inum in 0..4 {
                let Some(home) = owners.of_namespace(ns(inum)) else { continue };
                let of = |cgroup: &u64| home.owner == Arc::new(owner_of(&match cgroup {
                    101 => container('a'),
                    102 => container('b'),
                    _ => pod(),
                }));
                prop_assert!(may.get(&inum).is_some_and(|may| may.iter().any(of)), "{inum}: {home:?}, {may:?}");
                if home.role == Role::Container {
                    prop_assert!(whole.insert(home.owner.container.clone()), "two of one container's own");
                }
            }
        }
    }
}
