//! Pure functions from what a consumer read, and when, to how late each call was known. Three tools say it in three
//! ways.

use serde_json::Value;

use super::numbers::micros;
use super::record::{Pair, Work};

/// A line and when it was read to its end, in nanoseconds of `CLOCK_BOOTTIME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) seen_ns: u64,
    pub(super) text: String,
}

/// A call's end in the kernel, and when the consumer knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) sent_ns: u64,
    pub(super) seen_ns: u64,
}

/// The floor's reader stamps by itself and prints afterwards.
pub(super) fn of_floor(lines: &[Line]) -> Vec<Arrival> {
    let arrival = |line: &Line| {
        let (sent, seen) = line.text.split_once(' ')?;
        Some(Arrival { sent_ns: sent.parse().ok()?, seen_ns: seen.parse().ok()? })
    };
    lines.iter().filter_map(arrival).collect()
}

/// `trace -o json` names the call's end as `boot_ns`.
pub(super) fn of_trace(lines: &[Line], pid: u32) -> Vec<Arrival> {
    let arrival = |line: &Line| {
        let value: Value = serde_json::from_str(&line.text).ok()?;
        let ours = value.pointer("/actor/pid")?.as_u64() == Some(pid.into());
        let sent_ns = value.get("boot_ns")?.as_str()?.parse().ok()?;
        ours.then_some(Arrival { sent_ns, seen_ns: line.seen_ns })
    };
    lines.iter().filter_map(arrival).collect()
}

/// mountsnoop names no time of the kernel, so its lines are taken in their order, beginning behind the pairs of the
/// warm-up, and count from the call's return in the workload, which is kind to it. From a lost line on nothing fits.
pub(super) fn of_mountsnoop(lines: &[Line], work: &Work, warm_up: usize) -> Vec<Arrival> {
    let pid = work.pid.to_string();
    let ours = lines.iter().filter(|line| line.text.split_whitespace().nth(1) == Some(&pid)).skip(2 * warm_up);
    let calls = work.paced.iter().flat_map(|pair| [(" mount(", pair.mounted), (" umount(", pair.unmounted)]);
    let fitting = ours.zip(calls).take_while(|(line, (name, _))| line.text.contains(name));
    // On two processors the reader may be ahead of the caller.
    fitting.map(|(line, (_, sent_ns))| Arrival { sent_ns, seen_ns: line.seen_ns.max(sent_ns) }).collect()
}

/// How late each call of these pairs was known, in microseconds.
pub(super) fn during(pairs: &[Pair], arrivals: &[Arrival]) -> Vec<f64> {
    let (Some(first), Some(last)) = (pairs.first(), pairs.last()) else { return Vec::new() };
    let window = first.start..=last.unmounted;
    let late = |arrival: &&Arrival| window.contains(&arrival.sent_ns);
    arrivals.iter().filter(late).map(|arrival| micros(arrival.seen_ns.saturating_sub(arrival.sent_ns))).collect()
}

/// What each pair took, in microseconds.
pub(super) fn pair_times(pairs: &[Pair]) -> Vec<f64> {
    pairs.iter().map(|pair| micros(pair.unmounted.saturating_sub(pair.start))).collect()
}

/// Calls that a consumer should have seen.
pub(super) fn calls(work: &Work) -> usize {
    2 * (work.burst.len() + work.paced.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seen_ns: u64, text: &str) -> Line {
        Line { seen_ns, text: text.to_owned() }
    }

    fn pair(start: u64) -> Pair {
        Pair { start, mounted: start + 10, unmounted: start + 30 }
    }

    #[test]
    fn the_floor_says_both_stamps() {
        let lines = [line(99, "1000 3000"), line(99, "nonsense")];
        assert_eq!(of_floor(&lines), [Arrival { sent_ns: 1000, seen_ns: 3000 }]);
    }

    #[test]
    fn only_operations_of_the_workload_count() {
        let ours = r#"{"boot_ns":"1000","actor":{"pid":7}}"#;
        let other = r#"{"boot_ns":"1000","actor":{"pid":8}}"#;
        let found = of_trace(&[line(5000, ours), line(6000, other), line(7000, "half a li")], 7);
        assert_eq!(found, [Arrival { sent_ns: 1000, seen_ns: 5000 }]);
    }

    #[test]
    fn lines_of_mountsnoop_are_taken_in_their_order() {
        let said =
            |seen_ns: u64, pid: u32, call: &str| line(seen_ns, &format!("exe {pid} {pid} 4026531841  {call}) = 0"));
        let mut lines =
            vec![line(1, "COMM  PID TID MNT_NS CALL"), said(500, 7, "mount(\"w\""), said(510, 7, "umount(\"w\"")];
        lines.extend([said(1005, 7, "mount(\"t\""), said(1020, 8, "mount(\"other\""), said(1090, 7, "umount(\"t\"")]);
        let work = Work { pid: 7, burst: Vec::new(), paced: vec![pair(1000), pair(2000)], getppid_ns: 0.0 };
        let expected = [Arrival { sent_ns: 1010, seen_ns: 1010 }, Arrival { sent_ns: 1030, seen_ns: 1090 }];
        assert_eq!(of_mountsnoop(&lines, &work, 1), expected);
        // The mount's line is lost: what follows cannot be told apart.
        lines.push(said(2090, 7, "umount(\"t\""));
        assert_eq!(of_mountsnoop(&lines, &work, 1), expected);
    }

    #[test]
    fn a_phase_has_its_own_arrivals() {
        let arrivals = [1010, 1030, 2010].map(|sent_ns| Arrival { sent_ns, seen_ns: sent_ns + 5000 });
        assert_eq!(during(&[pair(1000)], &arrivals).len(), 2);
        assert!((during(&[pair(2000)], &arrivals)[0] - 5.0).abs() < 1e-9);
        assert!(during(&[], &arrivals).is_empty());
    }
}
