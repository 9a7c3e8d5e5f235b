//! What was told in any order: whose volumes are, and what is left when the pods are gone.

use proptest::prelude::*;

use super::*;
use crate::pods::objects::Container;

const UIDS: [&str; 4] = [
    "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c50",
    "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c51",
    "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c52",
    "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c53",
];
const HASH: &str = "0123456789abcdef0123456789abcdef";

fn uid(text: &str) -> PodUid {
    PodUid::parse(text).unwrap()
}

fn volume_of(name: &str, source: Source) -> PodVolume {
    PodVolume { name: name.into(), source }
}

/// A pod of the namespace `shop` with a volume `data` of this claim.
pub(crate) fn pod(number: usize, claim: &str) -> Pod {
    Pod {
        uid: uid(UIDS[number]),
        config_hash: None,
        namespace: "shop".into(),
        name: format!("web-{number}").into(),
        labels: Words::new(),
        over: false,
        volumes: vec![volume_of("data", Source::Claim { name: claim.into() })],
        containers: Vec::<Container>::new(),
    }
}

/// A claim of the namespace `shop`.
pub(crate) fn claim(name: &str, uid: &str, volume: Option<&str>) -> Claim {
    Claim {
        key: ClaimKey { namespace: "shop".into(), name: name.into() },
        uid: uid.into(),
        owner_uid: None,
        labels: Words::new(),
        annotations: Words::new(),
        storage_class: Some("fast".into()),
        attributes_class: Some("gold".into()),
        volume: volume.map(Into::into),
        write_many: false,
    }
}

fn volume(name: &str, claim_uid: &str) -> Volume {
    Volume {
        name: name.into(),
        claim_uid: Some(claim_uid.into()),
        annotations: Words::new(),
        storage_class: Some("fast".into()),
        driver: Some("csi.example.org".into()),
        handle: Some("vol-1".into()),
        block: false,
    }
}

fn view(updates: impl IntoIterator<Item = Update>) -> PodView {
    let mut view = PodView::default();
    updates.into_iter().for_each(|update| view.apply(update));
    view
}

fn bound() -> PodView {
    view([
        Update::Pods(vec![pod(0, "data")]),
        Update::Claim(Box::new(claim("data", "c1", Some("pvc-1")))),
        Update::Volume(Box::new(volume("pvc-1", "c1"))),
    ])
}

fn claimed<'a>(view: &'a PodView, pod: &str, directory: &str) -> Claimed<'a> {
    match view.claim_of(&uid(pod), directory) {
        Ok(Whose::Claim(claimed)) => claimed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_is_called_as_the_volume_that_its_claim_is_bound_to() {
    let mut view = bound();
    let found = claimed(&view, UIDS[0], "pvc-1");
    assert_eq!((found.pod_volume, &*found.claim.key.name), ("data", "data"));
    assert_eq!(found.volume.and_then(|volume| volume.handle.as_deref()), Some("vol-1"));
    assert_eq!((found.storage_class, found.shared), (None, false));
    assert_eq!(view.claim_of(&uid(UIDS[0]), "data"), Err(Why::NotInSpec), "what the pod calls it is no directory");
    assert_eq!(view.claim_of(&uid(UIDS[1]), "pvc-1"), Err(Why::PodUnknown));
    let words = Words::from([("mount-tracer.io/read-bps".into(), "1Mi".into())]);
    for kind in [ClassKind::Storage, ClassKind::Attributes] {
        let name = if kind == ClassKind::Storage { "fast" } else { "gold" };
        view.apply(Update::Class(kind, Class { name: name.into(), annotations: words.clone() }));
    }
    let found = claimed(&view, UIDS[0], "pvc-1");
    assert_eq!((found.storage_class, found.attributes_class), (Some(&words), Some(&words)));
    view.apply(Update::ClassGone(ClassKind::Storage, "fast".into()));
    view.apply(Update::Classes(ClassKind::Attributes, Vec::new()));
    let found = claimed(&view, UIDS[0], "pvc-1");
    assert_eq!((found.storage_class, found.attributes_class), (None, None));
}

#[test]
fn what_may_still_be_told_is_waited_for() {
    let mut view = view([Update::Pods(vec![pod(0, "data")])]);
    assert_eq!(view.claim_of(&uid(UIDS[0]), "pvc-1"), Err(Why::ClaimUnknown));
    view.apply(Update::Claim(Box::new(claim("data", "c1", None))));
    assert_eq!(view.claim_of(&uid(UIDS[0]), "pvc-1"), Err(Why::ClaimUnknown), "it is not bound yet");
    view.apply(Update::Claim(Box::new(claim("data", "c1", Some("pvc-1")))));
    assert_eq!(claimed(&view, UIDS[0], "pvc-1").volume, None);
    assert_eq!(view.claim_of(&uid(UIDS[0]), "pvc-2"), Err(Why::NotInSpec));
}

#[test]
fn a_volume_without_a_claim_is_called_as_its_pod_calls_it() {
    let mut inline = pod(0, "data");
    inline.volumes.push(volume_of("cache", Source::Csi { driver: "inline.example.org".into() }));
    inline.volumes.push(volume_of("pvc-1", Source::Other));
    let claim = Update::Claim(Box::new(claim("data", "c1", Some("pvc-1"))));
    let view = view([Update::Pod(Box::new(inline.clone())), claim]);
    assert_eq!(view.claim_of(&uid(UIDS[0]), "cache"), Ok(Whose::Pod(&inline.volumes[1])));
    assert_eq!(view.claim_of(&uid(UIDS[0]), "pvc-1"), Err(Why::VolumeAmbiguous));
}

#[test]
fn an_ephemeral_volumes_claim_is_its_own_pods() {
    let mut one = pod(0, "");
    one.volumes = vec![volume_of("scratch", Source::Ephemeral)];
    let mut its = claim("web-0-scratch", "c1", Some("pvc-1"));
    let strangers = view([Update::Pod(Box::new(one.clone())), Update::Claim(Box::new(its.clone()))]);
    assert_eq!(strangers.claim_of(&uid(UIDS[0]), "pvc-1"), Err(Why::ClaimUnknown), "somebody made it before");
    its.owner_uid = Some(UIDS[0].into());
    let owns = view([Update::Pod(Box::new(one)), Update::Claim(Box::new(its))]);
    assert_eq!(&*claimed(&owns, UIDS[0], "pvc-1").claim.uid, "c1");
}

#[test]
fn a_volume_counts_for_the_claim_that_it_is_bound_to() {
    let mut view = bound();
    view.apply(Update::Claim(Box::new(claim("data", "c2", Some("pvc-1")))));
    assert_eq!(claimed(&view, UIDS[0], "pvc-1").volume, None, "the claim was made anew with the same name");
}

#[test]
fn a_static_pods_cgroup_has_its_hash() {
    let mut mirror = pod(0, "data");
    mirror.config_hash = Some(uid(HASH));
    let mut view = view([Update::Pod(Box::new(mirror.clone()))]);
    assert_eq!(view.pod(&uid(HASH)), Ok(&mirror));
    assert_eq!(view.pod(&mirror.uid), Ok(&mirror));
    let mut liar = pod(1, "other");
    liar.config_hash = Some(uid(HASH));
    view.apply(Update::Pod(Box::new(liar.clone())));
    assert_eq!(view.pod(&uid(HASH)), Err(Why::PodAmbiguous));
    liar.config_hash = Some(mirror.uid.clone());
    view.apply(Update::Pod(Box::new(liar)));
    assert_eq!(view.pod(&mirror.uid), Ok(&mirror), "nobody's annotation stands for somebody's uid");
}

#[test]
fn what_two_pods_use_is_shared_and_stays_until_the_last_one_goes() {
    let mut view = bound();
    view.apply(Update::Pod(Box::new(pod(1, "data"))));
    assert!(claimed(&view, UIDS[0], "pvc-1").shared);
    view.apply(Update::PodGone(uid(UIDS[0])));
    assert!(!claimed(&view, UIDS[1], "pvc-1").shared);
    view.apply(Update::PodGone(uid(UIDS[1])));
    assert_eq!(view.known(), Known::default());
    let mut many = claim("data", "c1", Some("pvc-1"));
    many.write_many = true;
    let view = self::view([Update::Pod(Box::new(pod(0, "data"))), Update::Claim(Box::new(many))]);
    assert!(claimed(&view, UIDS[0], "pvc-1").shared);
}

#[test]
fn there_is_an_end_to_the_room() {
    let numbered = |number: usize| Pod { uid: uid(&format!("{number:032x}")), ..pod(0, "data") };
    let mut view = view([Update::Pods((0..=MOST_PODS).map(numbered).collect())]);
    assert_eq!((view.known().pods, view.known().refused), (MOST_PODS, 1));
    view.apply(Update::Pod(Box::new(numbered(0))));
    assert_eq!(view.known().refused, 1, "one that is there has its place");
    let class = |number: usize| Class { name: number.to_string().into(), annotations: Words::new() };
    view.apply(Update::Classes(ClassKind::Storage, (0..=MOST_CLASSES).map(class).collect()));
    assert_eq!((view.known().classes, view.known().refused), (MOST_CLASSES, 2));
}

fn any_pod() -> impl Strategy<Value = Pod> {
    let source = prop_oneof![
        (0..3).prop_map(|number| Source::Claim { name: format!("c{number}").into() }),
        Just(Source::Ephemeral),
        Just(Source::Other),
    ];
    let volumes = prop::collection::vec(source, 0..3);
    (0..UIDS.len(), 0..2, 0..2, volumes, any::<bool>()).prop_map(|(number, name, namespace, sources, over)| {
        let volumes = sources.into_iter().enumerate();
        let volumes = volumes.map(|(at, source)| volume_of(&format!("v{at}"), source)).collect();
        let (name, namespace) = (format!("web-{name}").into(), format!("n{namespace}").into());
        Pod { namespace, name, over, volumes, ..pod(number, "") }
    })
}

proptest! {
    #[test]
    fn a_pod_uses_the_claims_that_it_has(pod in any_pod(), key in any_key()) {
        prop_assert_eq!(pod.uses(&key), pod.claims().any(|claim| claim == key));
    }
}

fn any_key() -> impl Strategy<Value = ClaimKey> {
    let name = prop_oneof![
        (0..3).prop_map(|number| format!("c{number}")),
        (0..2, 0..3).prop_map(|(pod, volume)| format!("web-{pod}-v{volume}")),
    ];
    (0..2, name).prop_map(|(namespace, name)| ClaimKey { namespace: format!("n{namespace}").into(), name: name.into() })
}

fn any_update() -> impl Strategy<Value = Update> {
    let a_claim = (any_key(), 0..4, prop::option::of(0..UIDS.len()), prop::option::of(0..3));
    prop_oneof![
        1 => prop::collection::vec(any_pod(), 0..4).prop_map(Update::Pods),
        4 => any_pod().prop_map(|pod| Update::Pod(Box::new(pod))),
        2 => (0..UIDS.len()).prop_map(|number| Update::PodGone(uid(UIDS[number]))),
        6 => a_claim.prop_map(|(key, uid, owner, volume)| {
            let volume = volume.map(|number| format!("pv{number}"));
            let owner_uid = owner.map(|number| UIDS[number].into());
            let claim = claim("", &format!("u{uid}"), volume.as_deref());
            Update::Claim(Box::new(Claim { key, owner_uid, ..claim }))
        }),
        1 => any_key().prop_map(Update::ClaimGone),
        4 => (0..3, 0..4).prop_map(|(name, claim)| {
            Update::Volume(Box::new(volume(&format!("pv{name}"), &format!("u{claim}"))))
        }),
        1 => (0..3).prop_map(|name| Update::VolumeGone(format!("pv{name}").into())),
    ]
}

/// What was told last of each name, by a way of keeping it that forgets nothing.
#[derive(Default)]
struct Last {
    pods: HashMap<PodUid, Pod>,
    claims: HashMap<ClaimKey, Claim>,
}

impl Last {
    fn take(&mut self, update: &Update) {
        match update {
            Update::Pods(pods) => self.pods = pods.iter().map(|pod| (pod.uid.clone(), pod.clone())).collect(),
            Update::Pod(pod) => drop(self.pods.insert(pod.uid.clone(), (**pod).clone())),
            Update::PodGone(uid) => drop(self.pods.remove(uid)),
            Update::Claim(claim) => drop(self.claims.insert(claim.key.clone(), (**claim).clone())),
            Update::ClaimGone(key) => drop(self.claims.remove(key)),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn no_volume_is_anothers(updates in prop::collection::vec(any_update(), 0..60)) {
        let (mut view, mut last) = (PodView::default(), Last::default());
        for update in updates {
            last.take(&update);
            view.apply(update);
            for (number, directory) in (0..UIDS.len()).flat_map(|number| (0..3).map(move |pv| (number, format!("pv{pv}")))) {
                let pod_uid = uid(UIDS[number]);
                let Ok(Whose::Claim(found)) = view.claim_of(&pod_uid, &directory) else { continue };
                let pod = &last.pods[&pod_uid];
                prop_assert_eq!(&last.claims[&found.claim.key], found.claim, "it is the last word on it");
                prop_assert_eq!(&found.claim.key.namespace, &pod.namespace);
                prop_assert_eq!(found.claim.volume.as_deref(), Some(&*directory));
                let named: Vec<&PodVolume> = pod.volumes.iter().filter(|one| *one.name == *found.pod_volume).collect();
                prop_assert_eq!(named.len(), 1);
                match &named[0].source {
                    Source::Claim { name } => prop_assert_eq!(name, &found.claim.key.name),
                    Source::Ephemeral => prop_assert_eq!(found.claim.owner_uid.as_deref(), Some(UIDS[number])),
                    other => prop_assert!(false, "{:?}", other),
                }
                if let Some(volume) = found.volume {
                    prop_assert_eq!(volume.claim_uid.as_ref(), Some(&found.claim.uid));
                }
            }
        }
    }

    #[test]
    fn nothing_is_left_behind(updates in prop::collection::vec(any_update(), 0..60)) {
        let mut view = view(updates);
        let used: HashSet<ClaimKey> = view.pods().flat_map(Pod::claims).collect();
        prop_assert!(view.claims.keys().all(|key| used.contains(key)));
        let is_bound = |name: &str| view.claims.values().any(|claim| claim.volume.as_deref() == Some(name));
        prop_assert!(view.volumes.keys().all(|name| is_bound(name)));
        for text in UIDS {
            view.apply(Update::PodGone(uid(text)));
        }
        prop_assert_eq!(view, PodView::default());
    }
}
