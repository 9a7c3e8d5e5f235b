//! PURE: what was asked of the Kubernetes API server, in numbers. Touches nothing.

use std::collections::BTreeMap;

/// What may be asked about, as roles name it.
pub const RESOURCES: [&str; 5] = [
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "storageclasses.storage.k8s.io",
    "volumeattributesclasses.storage.k8s.io",
];

/// What may become of it.
pub const FAULTS: [&str; 10] = [
    "absent",
    "config",
    "connection",
    "expired",
    "forbidden",
    "garbage",
    "late",
    "refused",
    "throttled",
    "unauthorized",
];

/// What was counted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Requests, by verb and resource.
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
    /// Requests that were not answered as they should be, and watches that broke, by resource and fault.
    pub faults: BTreeMap<(&'static str, &'static str), u64>,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Objects that lacked what no object can be without.
    pub broken: u64,
}

impl Counted {
    /// Requests about a resource.
    pub fn requests_about(&self, resource: &str) -> u64 {
        self.requests.iter().filter(|((_, about), _)| *about == resource).map(|(_, requests)| requests).sum()
    }
}
