//! PURE: the four numbers of a limit, as the policy wants them and as a cgroup's `io.max` holds them.
//! Touches nothing.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// What one cgroup may do on one disk in a second; `None` is no limit, written `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limits {
    /// Bytes read per second.
    pub read_bps: Option<u64>,
    /// Bytes written per second.
    pub write_bps: Option<u64>,
    /// Reads per second.
    pub read_iops: Option<u64>,
    /// Writes per second.
    pub write_iops: Option<u64>,
}

impl Limits {
    /// No limit at all: what a cgroup without a line for the disk has.
    pub const NONE: Self = Self { read_bps: None, write_bps: None, read_iops: None, write_iops: None };

    /// The smaller of each field: what satisfies both.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        Self {
            read_bps: smaller(self.read_bps, other.read_bps),
            write_bps: smaller(self.write_bps, other.write_bps),
            read_iops: smaller(self.read_iops, other.read_iops),
            write_iops: smaller(self.write_iops, other.write_iops),
        }
    }

    /// Limits nothing.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// The smaller of two limits, where none is above every number.
fn smaller(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Limits", 4)?;
        object.serialize_field("rbps", &OrMax(self.read_bps))?;
        object.serialize_field("wbps", &OrMax(self.write_bps))?;
        object.serialize_field("riops", &OrMax(self.read_iops))?;
        object.serialize_field("wiops", &OrMax(self.write_iops))?;
        object.end()
    }
}

/// A number, or the word that `io.max` uses for none.
struct OrMax(Option<u64>);

impl Serialize for OrMax {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(value) => serializer.serialize_u64(value),
            None => serializer.serialize_str("max"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any limits, in the policy's range and outside of it.
    pub(crate) fn any_limits() -> impl Strategy<Value = Limits> {
        any::<[Option<u64>; 4]>().prop_map(|[read_bps, write_bps, read_iops, write_iops]| Limits {
            read_bps,
            write_bps,
            read_iops,
            write_iops,
        })
    }

    #[test]
    fn json_says_max_for_no_limit() {
        let limits = Limits { read_bps: Some(1 << 20), ..Limits::NONE };
        let json = serde_json::to_string(&limits).unwrap();
        assert_eq!(json, r#"{"rbps":1048576,"wbps":"max","riops":"max","wiops":"max"}"#);
    }

    proptest! {
        #[test]
        fn stricter_is_a_minimum(a in any_limits(), b in any_limits()) {
            prop_assert_eq!(a.stricter(b), b.stricter(a));
            prop_assert_eq!(a.stricter(a), a);
            prop_assert_eq!(a.stricter(Limits::NONE), a);
            prop_assert_eq!(a.stricter(b).stricter(b), a.stricter(b));
        }
    }
}
