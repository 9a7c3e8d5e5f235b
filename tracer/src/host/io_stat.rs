//! What the processes of a cgroup have read and written, by whole disk: `io.stat` (Documentation/admin-guide/cgroup-v2.rst). The hierarchy's
//! root is injected.

use std::{fs, io, path::Path};

use crate::device::Dev;

/// What was done to one disk since the cgroup was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoStat {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads that have ended.
    pub reads: u64,
    /// Writes that have ended.
    pub writes: u64,
}

/// Of each disk on which anything was done. A cgroup without the `io` controller has none.
pub fn of_cgroup(root: &Path, path: &str) -> io::Result<Vec<(Dev, IoStat)>> {
    match fs::read_to_string(root.join(path.trim_start_matches('/')).join("io.stat")) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A line for each disk; one that counts nothing has the number alone, and says nothing.
fn parse(text: &str) -> Vec<(Dev, IoStat)> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<(Dev, IoStat)> {
    let mut fields = line.split_ascii_whitespace();
    let dev = fields.next()?.parse().ok()?;
    let mut stat = IoStat::default();
    let mut any = false;
    for (key, value) in fields.filter_map(|field| field.split_once('=')) {
        let place = match key {
            "rbytes" => &mut stat.read_bytes,
            "wbytes" => &mut stat.written_bytes,
            "rios" => &mut stat.reads,
            "wios" => &mut stat.writes,
            _ => continue,
        };
        *place = value.parse().ok()?;
        any = true;
    }
    any.then_some((dev, stat))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_a_disk() {
        let text =
            "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7\n254:0 \n259:1 rbytes=8\nbroken\n";
        let first = IoStat { read_bytes: 1, written_bytes: 2, reads: 3, writes: 4 };
        let third = IoStat { read_bytes: 8, ..IoStat::default() };
        assert_eq!(parse(text), [("8:16".parse().unwrap(), first), ("259:1".parse().unwrap(), third)]);
        let root = tempfile::tempdir().unwrap();
        assert_eq!(of_cgroup(root.path(), "/kubepods/x").unwrap(), []);
    }

    proptest! {
        #[test]
        fn nothing_is_made_up(text in "[0-9a-z:= \n]*") {
            let first = |line: &str| line.split_whitespace().next()?.parse::<Dev>().ok();
            let named: Vec<Dev> = text.lines().filter_map(first).collect();
            let all_named = parse(&text).iter().all(|(dev, _)| named.contains(dev));
            prop_assert!(all_named);
        }
    }
}
