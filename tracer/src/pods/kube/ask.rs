//! PURE: requests as paths. Touches nothing.

use std::{fmt::Write as _, time::Duration};

use crate::pods::objects::{ClaimKey, ClassKind};

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The pods of a node.
    Pods {
        /// Its name.
        node: Box<str>,
    },
    /// All classes of a kind.
    Classes(ClassKind),
    /// A claim.
    Claim(ClaimKey),
    /// A volume, for the claim with this uid.
    Volume {
        /// Its name.
        name: Box<str>,
        /// The claim's.
        claim_uid: Box<str>,
    },
}

impl What {
    /// The kind as roles name it: its resource, and its group.
    pub fn resource(&self) -> &'static str {
        match self {
            Self::Pods { .. } => "pods",
            Self::Classes(ClassKind::Storage) => "storageclasses.storage.k8s.io",
            Self::Classes(ClassKind::Attributes) => "volumeattributesclasses.storage.k8s.io",
            Self::Claim(_) => "persistentvolumeclaims",
            Self::Volume { .. } => "persistentvolumes",
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// All of it that there is.
    List(What),
    /// What becomes of it.
    Watch {
        /// Of what.
        what: What,
        /// Behind which version; 0 begins with what there is.
        version: Box<str>,
        /// How long the server is asked to keep it up.
        lasts: Duration,
    },
    /// One object by its name.
    Get(What),
}

impl Ask {
    /// What it is about.
    pub fn what(&self) -> &What {
        match self {
            Self::List(what) | Self::Get(what) | Self::Watch { what, .. } => what,
        }
    }

    /// The verb as roles name it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::List(_) => "list",
            Self::Watch { .. } => "watch",
            Self::Get(_) => "get",
        }
    }

    /// Path and query. `resourceVersion=0` takes what the API server has in memory, and costs its database nothing.
    pub fn uri(&self) -> String {
        let mut uri = path(self.what(), matches!(self, Self::Get(_)));
        uri.push('?');
        if !matches!(self, Self::Get(_)) {
            uri += &selector(self.what());
        }
        match self {
            Self::List(_) | Self::Get(_) => uri += "resourceVersion=0",
            Self::Watch { version, lasts, .. } => {
                let (version, lasts) = (escaped(version), lasts.as_secs().max(1));
                let _ =
                    write!(uri, "watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={lasts}");
            }
        }
        uri
    }
}

fn path(what: &What, one: bool) -> String {
    match what {
        What::Pods { .. } => "/api/v1/pods".to_owned(),
        What::Classes(ClassKind::Storage) => "/apis/storage.k8s.io/v1/storageclasses".to_owned(),
        What::Classes(ClassKind::Attributes) => "/apis/storage.k8s.io/v1/volumeattributesclasses".to_owned(),
        What::Claim(ClaimKey { namespace, name }) => {
            let all = format!("/api/v1/namespaces/{}/persistentvolumeclaims", escaped(namespace));
            if one { format!("{all}/{}", escaped(name)) } else { all }
        }
        What::Volume { name, .. } => format!("/api/v1/persistentvolumes/{}", escaped(name)),
    }
}

fn selector(what: &What) -> String {
    let of = |field: &str, value: &str| format!("fieldSelector={}&", escaped(&format!("{field}={}", quoted(value))));
    match what {
        What::Pods { node } => of("spec.nodeName", node),
        What::Claim(claim) => of("metadata.name", &claim.name),
        What::Volume { name, .. } => of("metadata.name", name),
        What::Classes(_) => String::new(),
    }
}

/// As a field selector wants a value (`EscapeValue` of apimachinery/pkg/fields).
fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

/// As a part of a path or of a query: all but what never has a meaning there (RFC 3986, section 2.3).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> What {
        What::Claim(ClaimKey { namespace: "shop".into(), name: "data-web-0".into() })
    }

    #[test]
    fn requests_name_what_they_are_about_and_no_more() {
        let pods = What::Pods { node: "worker-7".into() };
        assert_eq!(
            Ask::List(pods.clone()).uri(),
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dworker-7&resourceVersion=0"
        );
        let lasts = Duration::from_secs(400);
        assert_eq!(
            Ask::Watch { what: pods, version: "12".into(), lasts }.uri(),
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dworker-7&watch=1&allowWatchBookmarks=true&resourceVersion=12&timeoutSeconds=400"
        );
        assert_eq!(
            Ask::Watch { what: claim(), version: "0".into(), lasts }.uri(),
            "/api/v1/namespaces/shop/persistentvolumeclaims?fieldSelector=metadata.name%3Ddata-web-0&watch=1&allowWatchBookmarks=true&resourceVersion=0&timeoutSeconds=400"
        );
        assert_eq!(
            Ask::Get(claim()).uri(),
            "/api/v1/namespaces/shop/persistentvolumeclaims/data-web-0?resourceVersion=0"
        );
        assert_eq!(
            Ask::List(What::Classes(ClassKind::Attributes)).uri(),
            "/apis/storage.k8s.io/v1/volumeattributesclasses?resourceVersion=0"
        );
    }

    #[test]
    fn names_stay_names() {
        let what = What::Volume { name: "../pods?x=1".into(), claim_uid: "u".into() };
        assert_eq!(Ask::Get(what).uri(), "/api/v1/persistentvolumes/..%2Fpods%3Fx%3D1?resourceVersion=0");
        let what = What::Pods { node: "a,metadata.name!=b".into() };
        assert_eq!(
            Ask::List(what).uri(),
            "/api/v1/pods?fieldSelector=spec.nodeName%3Da%5C%2Cmetadata.name%21%5C%3Db&resourceVersion=0"
        );
    }
}
