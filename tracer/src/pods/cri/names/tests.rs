//! What is made of a runtime's answers, also of odd ones.

use super::*;
use crate::pods::cri::api::{ContainerMetadata, ImageSpec, PodSandboxMetadata};

const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";

fn runtime() -> Arc<str> {
    "containerd".into()
}

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn a_sandbox() -> PodSandbox {
    let metadata = PodSandboxMetadata { name: "web-0".into(), uid: UID.into(), namespace: "shop".into(), attempt: 1 };
    let labels = words(&[("app", "web"), (POD_NAME, "web-0"), (POD_NAMESPACE, "shop"), (POD_UID, UID)]);
    PodSandbox { id: id('a'), metadata: Some(metadata), state: PodSandboxState::SandboxReady.into(), labels }
}

fn a_container() -> Container {
    Container {
        id: id('c'),
        pod_sandbox_id: id('a'),
        metadata: Some(ContainerMetadata { name: "nginx".into(), attempt: 2 }),
        image: Some(ImageSpec { image: "sha256:1234".into(), user_specified_image: "nginx:1.29".into() }),
        image_ref: "sha256:1234".into(),
        state: ContainerState::ContainerRunning.into(),
        labels: words(&[(POD_NAME, "web-0"), (POD_NAMESPACE, "shop"), (POD_UID, UID), (CONTAINER_NAME, "nginx")]),
    }
}

#[test]
fn a_container_has_its_pods_names_and_labels() {
    let (named, nameless) = all(&[a_sandbox()], &[a_container()], &runtime());
    assert_eq!(nameless, 0);
    let container = Named {
        id: ContainerId::parse(&id('c')).unwrap(),
        sandbox: ContainerId::parse(&id('a')).unwrap(),
        pod_uid: PodUid::parse(UID),
        namespace: "shop".into(),
        pod: "web-0".into(),
        container: Some("nginx".into()),
        image: Some("nginx:1.29".into()),
        labels: words(&[("app", "web")]),
        attempt: 2,
        state: State::Running,
        runtime: runtime(),
    };
    let sandbox =
        Named { id: container.sandbox.clone(), container: None, image: None, attempt: 1, ..container.clone() };
    assert_eq!(named, [sandbox, container]);
}

#[test]
fn a_container_whose_sandbox_is_gone_is_known_by_its_own_labels() {
    let named = of_container(&a_container(), None, &runtime()).unwrap();
    assert_eq!((named.namespace.as_str(), named.pod.as_str(), named.pod_uid), ("shop", "web-0", PodUid::parse(UID)));
    assert!(named.labels.is_empty(), "they are the container's");
}

#[test]
fn the_image_is_called_as_whoever_made_the_pod_called_it() {
    let called = |user: &str, image: &str, reference: &str| {
        let spec = ImageSpec { image: image.into(), user_specified_image: user.into() };
        image_of(&Container { image: Some(spec), image_ref: reference.into(), ..a_container() })
    };
    assert_eq!(called("a:1", "b", "c"), Some("a:1".into()));
    assert_eq!(called("", "b", "c"), Some("b".into()), "an older runtime");
    assert_eq!(called("", "", "c"), Some("c".into()));
    assert_eq!(called("", "", ""), None);
    assert_eq!(image_of(&Container { image: None, image_ref: String::new(), ..a_container() }), None);
}

fn image_of(container: &Container) -> Option<String> {
    of_container(container, None, &runtime()).unwrap().image
}

#[test]
fn states_are_the_runtimes_and_new_ones_unknown() {
    let of = |state| of_container(&Container { state, ..a_container() }, None, &runtime()).unwrap().state;
    assert_eq!(
        [0, 1, 2, 3, 4, -1].map(of).map(State::name),
        ["created", "running", "exited", "unknown", "unknown", "unknown"]
    );
    let of = |state| of_sandbox(&PodSandbox { state, ..a_sandbox() }, &runtime()).unwrap().state;
    assert_eq!([0, 1, 2].map(of).map(State::name), ["running", "exited", "unknown"]);
}

#[test]
fn what_has_no_id_is_counted_and_left_out() {
    let odd = ["", "abc", "../../etc/passwd", &id('A')].map(|id| Container { id: id.into(), ..a_container() });
    let (named, nameless) = all(&[PodSandbox { id: "x".into(), ..a_sandbox() }], &odd, &runtime());
    assert_eq!((named, nameless), (Vec::new(), 5));
    let lost = Container { pod_sandbox_id: "x".into(), ..a_container() };
    assert_eq!(of_container(&lost, None, &runtime()), None);
}

#[test]
fn a_runtime_that_says_nothing_is_survived() {
    let nothing = PodSandbox { id: id('a'), ..PodSandbox::default() };
    let named = of_sandbox(&nothing, &runtime()).unwrap();
    assert_eq!((named.pod_uid, named.namespace.as_str(), named.pod.as_str()), (None, "", ""));
    let nothing = Container { id: id('c'), pod_sandbox_id: id('a'), ..Container::default() };
    assert_eq!(of_container(&nothing, None, &runtime()).unwrap().container, None);
    let odd = PodSandboxMetadata { uid: "not a uid".into(), ..PodSandboxMetadata::default() };
    assert_eq!(of_sandbox(&PodSandbox { metadata: Some(odd), ..a_sandbox() }, &runtime()).unwrap().pod_uid, None);
}

#[test]
fn nothing_is_longer_than_it_may_be() {
    let long = "é".repeat(1 << 16);
    let metadata =
        PodSandboxMetadata { name: long.clone(), uid: long.clone(), namespace: long.clone(), attempt: u32::MAX };
    let many = (0..1000).map(|number| (format!("label-{number:04}"), "x".to_owned()));
    let odd = [("k".repeat(LABEL_KEY + 1), "x".to_owned()), ("a-key".to_owned(), "v".repeat(LABEL_VALUE + 1))];
    let labels = many.chain(odd).collect();
    let sandbox = PodSandbox { metadata: Some(metadata), labels, ..a_sandbox() };
    let container = Container {
        metadata: Some(ContainerMetadata { name: long.clone(), attempt: 0 }),
        image: Some(ImageSpec { image: long.clone(), user_specified_image: long }),
        ..a_container()
    };
    let named = of_container(&container, Some(&sandbox), &runtime()).unwrap();
    let words = [&named.namespace, &named.pod, named.container.as_ref().unwrap()];
    assert!(words.iter().all(|word| word.len() <= NAME && word.ends_with('…')));
    assert!(named.image.unwrap().len() <= IMAGE);
    assert_eq!(named.pod_uid, None);
    assert_eq!(named.labels.len(), LABELS);
    assert!(named.labels.keys().all(|key| key.starts_with("label-")), "none is cut, and so another");
}
