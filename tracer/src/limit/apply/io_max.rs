//! PURE: the text of `io.max`. Touches nothing.
//!
//! One line per disk, `8:16 rbps=2097152 wbps=max riops=max wiops=120` (Documentation/admin-guide/cgroup-v2.rst).

use std::collections::BTreeMap;

use crate::device::Dev;
use crate::limit::Limits;

/// A line that is not as the kernel writes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the line {line:?} of io.max is not understood; this kernel may be newer than this program")]
pub struct IoMaxError {
    /// As it was read.
    pub line: String,
}

/// The limits of each disk that has some.
pub fn parse(text: &str) -> Result<BTreeMap<Dev, Limits>, IoMaxError> {
    text.lines().map(|line| parse_line(line).ok_or_else(|| IoMaxError { line: line.to_owned() })).collect()
}

fn parse_line(line: &str) -> Option<(Dev, Limits)> {
    let mut words = line.split_ascii_whitespace();
    let dev = words.next()?.parse().ok()?;
    let mut limits = Limits::NONE;
    for word in words {
        let (key, value) = word.split_once('=')?;
        // A key of a newer kernel: it is left as it is by a write that does not name it.
        let Some(field) = field(&mut limits, key) else {
            continue;
        };
        *field = if value == "max" { None } else { Some(value.parse().ok()?) };
    }
    Some((dev, limits))
}

fn field<'a>(limits: &'a mut Limits, key: &str) -> Option<&'a mut Option<u64>> {
    match key {
        "rbps" => Some(&mut limits.read_bps),
        "wbps" => Some(&mut limits.write_bps),
        "riops" => Some(&mut limits.read_iops),
        "wiops" => Some(&mut limits.write_iops),
        _ => None,
    }
}

/// What to write for one disk: all four keys, since the kernel keeps those that are not named.
pub fn order(dev: Dev, limits: Limits) -> String {
    let shown = |value: Option<u64>| value.map_or_else(|| "max".to_owned(), |value| value.to_string());
    format!(
        "{dev} rbps={} wbps={} riops={} wiops={}\n",
        shown(limits.read_bps),
        shown(limits.write_bps),
        shown(limits.read_iops),
        shown(limits.write_iops)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::limits::tests::any_limits;
    use proptest::prelude::*;

    #[test]
    fn as_the_kernel_writes_it() {
        let text =
            "8:16 rbps=2097152 wbps=max riops=max wiops=120\n259:0 rbps=max wbps=1 riops=max wiops=max later=7\n";
        let sdb = Limits { read_bps: Some(2_097_152), write_iops: Some(120), ..Limits::NONE };
        let nvme = Limits { write_bps: Some(1), ..Limits::NONE };
        let expected = BTreeMap::from([(Dev { major: 8, minor: 16 }, sdb), (Dev { major: 259, minor: 0 }, nvme)]);
        assert_eq!(parse(text), Ok(expected));
        let line = order(Dev { major: 8, minor: 16 }, sdb);
        assert_eq!(line, "8:16 rbps=2097152 wbps=max riops=max wiops=120\n");
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["8 rbps=1", "8:16 rbps", "8:16 rbps=-1", "8:16 rbps=", "8:16 rbps=1x", "x:y rbps=1", "\n"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse("").unwrap().len(), 0);
        assert_eq!(
            parse("8 x\n").unwrap_err().to_string(),
            "the line \"8 x\" of io.max is not understood; this kernel may be newer than this program"
        );
    }

    proptest! {
        #[test]
        fn an_order_reads_back(kernel: u32, limits in any_limits()) {
            let dev = Dev::from_kernel(kernel);
            prop_assert_eq!(parse(&order(dev, limits)), Ok(BTreeMap::from([(dev, limits)])));
        }

        #[test]
        fn nothing_panics(text in "\\PC*|([0-9:]{0,5} (rbps|wbps|x)?=?(max|[0-9]{0,22})\n){0,3}") {
            let _ = parse(&text);
        }
    }
}
