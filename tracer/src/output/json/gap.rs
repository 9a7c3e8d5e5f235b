//! What was lost, as JSON.

use serde::Serialize;

use super::Text;
use crate::operation::{Dropped, Gap, Namespace};

#[derive(Serialize)]
pub(super) struct GapObject {
    dropped: Vec<DroppedObject>,
    missed: u64,
    namespaces: Option<Vec<GapNamespaceObject>>,
}

#[derive(Serialize)]
struct DroppedObject {
    hook: &'static str,
    reason: &'static str,
    records: u64,
}

#[derive(Serialize)]
struct GapNamespaceObject {
    mntns: u32,
    mntns_id: Text<u64>,
}

impl GapObject {
    pub(super) fn of(gap: &Gap) -> Self {
        let dropped = |&Dropped { hook, reason, records }: &Dropped| DroppedObject { hook, reason, records };
        let namespace = |&Namespace { inum, id }: &Namespace| GapNamespaceObject { mntns: inum, mntns_id: Text(id) };
        Self {
            dropped: gap.dropped.iter().map(dropped).collect(),
            missed: gap.missed,
            namespaces: gap.namespaces.as_ref().map(|all| all.iter().map(namespace).collect()),
        }
    }
}
