//! PURE: a pod's identity as Kubernetes writes it. Touches nothing.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Length of a UUID with its dashes.
const UUID: usize = 36;
/// Length of a static pod's uid: an MD5 sum in hexadecimal (kubelet, pkg/kubelet/config/common.go).
const STATIC: usize = 32;
/// Where a UUID has its dashes (RFC 9562, section 4).
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// A pod's uid: a lower-case UUID with dashes, or the 32 hexadecimal digits of a static pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct PodUid(Box<str>);

impl TryFrom<String> for PodUid {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("this is no pod's uid")
    }
}

impl PodUid {
    /// From its canonical form; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let valid = match text.len() {
            UUID => {
                text.bytes().enumerate().all(|(at, byte)| if DASHES.contains(&at) { byte == b'-' } else { hex(byte) })
            }
            STATIC => text.bytes().all(hex),
            _ => false,
        };
        valid.then(|| Self(text.into()))
    }

    /// From a systemd unit's name, where `-` would mean a parent and is therefore written `_`.
    pub fn parse_systemd(text: &str) -> Option<Self> {
        if text.contains('-') {
            return None;
        }
        Self::parse(&text.replace('_', "-"))
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PodUid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A uid of either kind.
    pub(crate) fn any_uid() -> impl Strategy<Value = PodUid> {
        let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        prop_oneof![uuid, "[0-9a-f]{32}"].prop_filter_map("a uid", |text| PodUid::parse(&text))
    }

    #[test]
    fn look_alikes_are_refused() {
        for bad in [
            "",
            "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5",
            "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d6",
            "0F7CA4D1-7B0C-4A4E-9D5E-5A1D2F3B4C5D",
            "0f7ca4d1_7b0c_4a4e_9d5e_5a1d2f3b4c5d",
            "0f7ca4d17-b0c-4a4e-9d5e-5a1d2f3b4c5d",
            "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5g",
            "0F7ca4d17b0c4a4e9d5e5a1d2f3b4c5d",
            "0f7ca4d17b0c4a4e9d5e5a1d2f3b4c5",
        ] {
            assert_eq!(PodUid::parse(bad), None, "{bad}");
        }
        assert_eq!(PodUid::parse_systemd("0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d"), None);
    }

    proptest! {
        #[test]
        fn both_forms_name_the_same_pod(uid in any_uid()) {
            prop_assert_eq!(PodUid::parse(uid.as_str()), Some(uid.clone()));
            prop_assert_eq!(PodUid::parse_systemd(&uid.as_str().replace('-', "_")), Some(uid));
        }
    }
}
