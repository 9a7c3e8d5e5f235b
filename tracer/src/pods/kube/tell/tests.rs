//! Answers that are whole, and broken ones.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::pods::{PodUid, objects::ClassKind};

const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c50";

fn pods() -> What {
    What::Pods { node: "worker-7".into() }
}

fn claim() -> What {
    What::Claim(ClaimKey { namespace: "shop".into(), name: "data".into() })
}

fn event(kind: &str, object: &serde_json::Value) -> Vec<u8> {
    json!({"type": kind, "object": object}).to_string().into_bytes()
}

#[test]
fn a_list_is_told_as_a_whole() {
    let pod = json!({"metadata": {"uid": UID, "name": "web-0", "namespace": "shop"}});
    let text = json!({"metadata": {"resourceVersion": "7"}, "items": [pod, {"metadata": {"name": "x"}}]}).to_string();
    let listed = list(&pods(), text.as_bytes()).unwrap();
    assert!(matches!(&listed.update, Update::Pods(pods) if pods.len() == 1));
    assert_eq!((&*listed.version, listed.broken), ("7", 1));
    let none = list(&What::Classes(ClassKind::Storage), br#"{"metadata":{"resourceVersion":"1"},"items":null}"#);
    assert_eq!(none.unwrap().update, Update::Classes(ClassKind::Storage, vec![]));
    let gone = list(&claim(), br#"{"metadata":{"resourceVersion":"1"},"items":[]}"#).unwrap();
    assert!(matches!(gone.update, Update::ClaimGone(_)));
}

#[test]
fn a_line_of_a_watch_is_told_as_it_is() {
    let pod = json!({"metadata": {"uid": UID, "name": "web-0", "namespace": "shop", "resourceVersion": "8"}});
    let said = |kind: &str| line(&pods(), &event(kind, &pod)).unwrap();
    assert!(matches!(said("ADDED"), Line::Update(Update::Pod(_), version) if &*version == "8"));
    let uid = PodUid::parse(UID).unwrap();
    assert!(matches!(said("DELETED"), Line::Update(Update::PodGone(gone), _) if gone == uid));
    assert!(matches!(said("BOOKMARK"), Line::Version(version, Broken::No) if &*version == "8"));
    let expired = event("ERROR", &json!({"code": 410, "message": "too old resource version"}));
    assert!(matches!(line(&pods(), &expired).unwrap(), Line::Refused(refusal) if refusal.code == 410));
    let other = json!({"metadata": {"uid": "c", "name": "other", "namespace": "shop", "resourceVersion": "8"}});
    let said = line(&claim(), &event("ADDED", &other)).unwrap();
    assert!(matches!(said, Line::Version(_, Broken::Yes)), "a claim that was not asked for");
}

#[test]
fn a_volume_of_another_claim_is_not_the_one_that_was_asked_for() {
    let what = What::Volume { name: "pvc-1".into(), claim_uid: "c1".into() };
    let volume = |uid: &str| json!({"metadata": {"name": "pvc-1"}, "spec": {"claimRef": {"uid": uid}}}).to_string();
    assert!(one(&what, volume("c1").as_bytes()).unwrap().is_some());
    assert!(one(&what, volume("c2").as_bytes()).unwrap().is_none());
}

#[test]
fn garbage_is_an_error() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "<html>",
        "{\"type\":\"ADDED\"}",
        "{\"type\":\"OTHER\",\"object\":{}}",
        "{\"type\":\"ADDED\",\"object\":[]}",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{}}}",
        "{\"metadata\":{}}",
        "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":{}}",
        "{\"metadata\":{\"resourceVersion\":1},\"items\":[]}",
    ] {
        assert!(line(&pods(), text.as_bytes()).is_err(), "{text}");
        assert!(list(&pods(), text.as_bytes()).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_cut_answer_is_an_error(cut in 0_usize..1000) {
        let pod = json!({"metadata": {"uid": UID, "name": "web-0", "namespace": "shop", "resourceVersion": "8"}});
        let whole = event("ADDED", &pod);
        let cut = cut % whole.len();
        prop_assert!(line(&pods(), &whole[..cut]).is_err());
    }

    #[test]
    fn nothing_panics(bytes: Vec<u8>) {
        for what in [pods(), claim(), What::Classes(ClassKind::Attributes)] {
            let _ = (line(&what, &bytes), list(&what, &bytes), one(&what, &bytes));
        }
    }
}
