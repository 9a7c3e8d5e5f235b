//! PURE: what a runtime says of a container beyond the interface: a text of its own, by custom JSON. Touches nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Under this key containerd, CRI-O and cri-dockerd put it.
const KEY: &str = "info";

/// The one thing that is wanted of it.
#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    pid: Option<i64>,
}

/// The process that a container began with, in the runtime's own pid namespace, which is the node's. `None` where the runtime does not say
/// it, or there is none (any more).
pub fn pid(info: &BTreeMap<String, String>) -> Result<Option<u32>, serde_json::Error> {
    let Some(text) = info.get(KEY) else { return Ok(None) };
    let info: Info = serde_json::from_str(text)?;
    // None is 0 to one, and -1 to another.
    Ok(info.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(KEY.to_owned(), text.to_owned())])
    }

    #[test]
    fn the_pid_is_found_among_the_rest() {
        let text = r#"{"sandboxID":"a","pid":4711,"config":{"pid":1},"runtimeSpec":{"process":{"args":["x"]}}}"#;
        assert_eq!(pid(&said(text)).unwrap(), Some(4711));
        for ended in [r#"{"pid":0}"#, r#"{"pid":-1}"#] {
            assert_eq!(pid(&said(ended)).unwrap(), None);
        }
        assert_eq!(pid(&said("{}")).unwrap(), None);
        assert_eq!(pid(&BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn what_is_no_pid_is_an_error() {
        let deep = "[".repeat(1 << 20);
        for bad in ["", "null", "{", r#"{"pid":1.5}"#, r#"{"pid":"1"}"#, deep.as_str()] {
            assert!(pid(&said(bad)).is_err(), "{}", &bad[..bad.len().min(40)]);
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = pid(&said(&String::from_utf8_lossy(&bytes)));
        }

        #[test]
        fn any_json_like_answer_is_survived(text in r#"[{}\[\]":,pid0-9.eE+\\u-]{0,64}"#) {
            let _ = pid(&said(&text));
        }
    }
}
