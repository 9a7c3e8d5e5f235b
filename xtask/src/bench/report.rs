//! From measurements to figures, from figures to a table that is read at 100 columns. Ratios are medians of what
//! each round says; the absolute figures come from an emulated processor and say so.

use anyhow::{Context as _, Result};

use super::numbers::{mean, median, paired_difference, paired_ratio, percentile};
use super::record::{Measurement, Run, Watcher};

/// Goals C1, C2 and C5.
const BURST_RATIO: f64 = 1.1;
const FLOORS_A_PAIR: f64 = 2.0;
const LATENCY_RATIO: f64 = 1.5;
const IDLE_PERCENT: f64 = 0.1;
const RSS_KIB: u32 = 20 << 10;

/// Slowest over fastest round of the same work; on a quiet machine it is less.
const QUIET: f64 = 1.3;

/// The figures that goals are set for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    burst_ratio: f64,
    paced_added: f64,
    wake_floor: f64,
    latency_ratio: f64,
    idle_percent: f64,
    rss_kib: u32,
}

impl Figures {
    pub(super) fn of(run: &Run) -> Result<Self> {
        let missing = || "the guest measured too little; take more rounds and pairs";
        let base = Watcher::Nobody;
        let idle = &run.idle;
        let cpu_seconds = f64::from(idle.ticks) / f64::from(idle.ticks_per_second.max(1));
        Ok(Self {
            burst_ratio: ratio(run, Watcher::Trace, base, burst).with_context(missing)?,
            paced_added: added(run, Watcher::Trace).with_context(missing)?,
            wake_floor: median(&per_round(run, Watcher::Floor, seen_paced)).with_context(missing)?,
            latency_ratio: ratio(run, Watcher::TracePipe, Watcher::Floor, seen_paced).with_context(missing)?,
            idle_percent: 100.0 * cpu_seconds / idle.seconds,
            rss_kib: idle.memory.without_rings(),
        })
    }
}

/// One figure of one round.
pub(super) type Metric = fn(&Measurement) -> Option<f64>;

/// A burst's pair is its whole time over its pairs: a median would hide the few that pay for a wake-up.
pub(super) fn burst(measurement: &Measurement) -> Option<f64> {
    mean(&measurement.burst)
}

pub(super) fn paced(measurement: &Measurement) -> Option<f64> {
    median(&measurement.paced)
}

#[expect(clippy::unnecessary_wraps, reason = "a Metric, as the others")]
fn getppid(measurement: &Measurement) -> Option<f64> {
    Some(measurement.getppid_ns)
}

fn seen_burst(measurement: &Measurement) -> Option<f64> {
    median(&measurement.seen_burst)
}

fn seen_paced(measurement: &Measurement) -> Option<f64> {
    median(&measurement.seen_paced)
}

/// A figure of each round, in their order.
pub(super) fn per_round(run: &Run, watcher: Watcher, metric: Metric) -> Vec<f64> {
    let mut of: Vec<&Measurement> = run.measurements.iter().filter(|one| one.watcher == watcher).collect();
    of.sort_by_key(|one| one.round);
    of.into_iter().filter_map(metric).collect()
}

pub(super) fn ratio(run: &Run, watcher: Watcher, base: Watcher, metric: Metric) -> Option<f64> {
    paired_ratio(&per_round(run, watcher, metric), &per_round(run, base, metric))
}

/// What a watcher adds to a paced pair.
fn added(run: &Run, watcher: Watcher) -> Option<f64> {
    paired_difference(&per_round(run, watcher, paced), &per_round(run, Watcher::Nobody, paced))
}

/// All single values of all rounds.
fn pooled(run: &Run, watcher: Watcher, values: fn(&Measurement) -> &[f64]) -> Vec<f64> {
    run.measurements.iter().filter(|one| one.watcher == watcher).flat_map(values).copied().collect()
}

/// One line of the table.
#[derive(Default)]
struct Row {
    what: String,
    median: String,
    p99: String,
    ratio: String,
    goal: String,
    met: Option<bool>,
}

impl Row {
    fn line(&self) -> String {
        let met = self.met.map_or("", |met| if met { "yes" } else { "NO" });
        columns(&self.what, &self.median, &self.p99, &self.ratio, &self.goal, met)
    }
}

fn columns(what: &str, median: &str, p99: &str, ratio: &str, goal: &str, met: &str) -> String {
    format!("  {what:<38} {median:>10} {p99:>10} {ratio:>7}  {goal:<20} {met}").trim_end().to_owned()
}

/// A part of the table: how one thing was measured for every watcher.
struct Part {
    title: &'static str,
    base: Watcher,
    metric: Metric,
    /// The single values behind the metric, for the p99.
    values: Option<fn(&Measurement) -> &[f64]>,
    unit: &'static str,
}

impl Part {
    fn lines(&self, run: &Run, goal: impl Fn(Watcher, f64) -> (String, Option<bool>)) -> Vec<String> {
        let rows = Watcher::ALL.into_iter().filter_map(|watcher| self.row(run, watcher, &goal));
        std::iter::once(self.title.to_owned()).chain(rows.map(|row| row.line())).collect()
    }

    fn row(&self, run: &Run, watcher: Watcher, goal: impl Fn(Watcher, f64) -> (String, Option<bool>)) -> Option<Row> {
        let median = median(&per_round(run, watcher, self.metric))?;
        let ratio = ratio(run, watcher, self.base, self.metric)?;
        let p99 = self.values.and_then(|values| percentile(&pooled(run, watcher, values), 99));
        let (goal, met) = goal(watcher, ratio);
        Some(Row {
            what: watcher.name().to_owned(),
            median: format!("{} {}", short(median), self.unit),
            p99: p99.map(|p99| format!("{} {}", short(p99), self.unit)).unwrap_or_default(),
            ratio: format!("{ratio:.2}"),
            goal,
            met,
        })
    }
}

/// Goals hold for mount-tracer as it is used.
fn is_goal(watcher: Watcher) -> bool {
    matches!(watcher, Watcher::Trace | Watcher::Agent)
}

fn no_goal(_: Watcher, _: f64) -> (String, Option<bool>) {
    (String::new(), None)
}

/// The whole table.
pub(super) fn table(run: &Run, figures: &Figures) -> String {
    let mut lines = head(run);
    lines.extend(pair_parts(run, figures));
    lines.extend(unrelated_part(run));
    lines.extend(latency_parts(run));
    lines.extend(idle_part(run, figures));
    lines.extend(
        run.absent
            .iter()
            .map(|absent| format!("{} did not run here: {}", absent.watcher.name(), one_line(&absent.why))),
    );
    lines.push(noise(&per_round(run, Watcher::Nobody, burst)));
    lines.join("\n")
}

/// How far apart the rounds of the same work are, untraced: a ratio nearer to 1 than that says nothing.
fn noise(untraced: &[f64]) -> String {
    let Some(middle) = median(untraced) else { return String::new() };
    let (least, most) = untraced.iter().fold((middle, middle), |(least, most), one| (least.min(*one), most.max(*one)));
    let remedy = if most > QUIET * least { "; the machine is busy, try later" } else { "" };
    format!("noise: untraced bursts took from {:.2} to {:.2} of their median{remedy}", least / middle, most / middle)
}

fn head(run: &Run) -> Vec<String> {
    let rounds = per_round(run, Watcher::Nobody, burst).len();
    vec![
        format!(
            "{}, mounts: {}, rounds: {rounds}; us and ns are emulated, the ratios are what counts",
            run.place.release, run.place.mounts
        ),
        columns("", "median", "p99", "ratio", "goal", "met"),
    ]
}

fn pair_parts(run: &Run, figures: &Figures) -> Vec<String> {
    let base = Watcher::Nobody;
    let title = "C1 mount+umount in a burst (its time / its pairs; p99 of single pairs; ratio to untraced)";
    let part = Part { title, base, metric: burst, values: Some(|one| &one.burst), unit: "us" };
    let mut lines = part.lines(run, |watcher, ratio| match watcher {
        _ if is_goal(watcher) => (format!("<= {BURST_RATIO:.2}"), Some(ratio <= BURST_RATIO)),
        _ => no_goal(watcher, ratio),
    });
    let most = FLOORS_A_PAIR * figures.wake_floor;
    let title = "C1 mount+umount with pauses (ratio to untraced; + is what it adds, goal two wake floors)";
    let part = Part { title, base, metric: paced, values: Some(|one| &one.paced), unit: "us" };
    lines.extend(part.lines(run, |watcher, _| match added(run, watcher) {
        Some(added) if is_goal(watcher) => (format!("{added:+.0} <= {most:.0} us"), Some(added <= most)),
        Some(added) if watcher != base => (format!("{added:+.0} us"), None),
        _ => (String::new(), None),
    }));
    lines
}

/// Nothing measurable: no more than the slowest round without it.
fn unrelated_part(run: &Run) -> Vec<String> {
    let title = "C1 another system call, getppid (ratio to untraced)";
    let part = Part { title, base: Watcher::Nobody, metric: getppid, values: None, unit: "ns" };
    let untraced = per_round(run, Watcher::Nobody, getppid);
    let noise = median(&untraced).and_then(|middle| Some(percentile(&untraced, 100)? / middle)).unwrap_or(1.0);
    part.lines(run, |watcher, ratio| match watcher {
        _ if is_goal(watcher) => (format!("<= {noise:.2} (noise)"), Some(ratio <= noise)),
        _ => (String::new(), None),
    })
}

fn latency_parts(run: &Run) -> Vec<String> {
    let base = Watcher::Floor;
    let title = "C2 from a call's end in the kernel to its reader, with pauses (JSON and pipe included)";
    let part = Part { title, base, metric: seen_paced, values: Some(|one| &one.seen_paced), unit: "us" };
    let mut lines = part.lines(run, |watcher, ratio| match watcher {
        Watcher::TracePipe => (format!("<= {LATENCY_RATIO:.2}"), Some(ratio <= LATENCY_RATIO)),
        Watcher::Mountsnoop => ("from call's return".to_owned(), None),
        _ => (String::new(), None),
    });
    let title = "C2 the same in a burst, where a reader may doze";
    let part = Part { title, base, metric: seen_burst, values: Some(|one| &one.seen_burst), unit: "us" };
    lines.extend(part.lines(run, no_goal));
    lines
}

fn idle_part(run: &Run, figures: &Figures) -> Vec<String> {
    let idle = &run.idle;
    let memory = &idle.memory;
    let cpu = Row {
        what: "processor".to_owned(),
        median: format!("{:.2} %", figures.idle_percent),
        goal: format!("<= {IDLE_PERCENT} %"),
        met: Some(figures.idle_percent <= IDLE_PERCENT),
        ..Row::default()
    };
    let wakes = Row {
        what: "times it woke, a second".to_owned(),
        median: format!("{:.2}", f64::from(idle.switches) / idle.seconds),
        ..Row::default()
    };
    let rss = Row {
        what: "resident memory without the rings".to_owned(),
        median: format!("{} KiB", figures.rss_kib),
        goal: format!("<= {RSS_KIB} KiB"),
        met: Some(figures.rss_kib <= RSS_KIB),
        ..Row::default()
    };
    let parts =
        format!("    ({} anonymous, {} of files; the rings' {} beside it)", memory.anon, memory.file, memory.rings);
    let title = format!("C5 `trace`, idle for {:.0} s", idle.seconds);
    vec![title, cpu.line(), wakes.line(), rss.line(), parts]
}

/// What scripts read.
pub(super) fn closing_line(run: &Run, figures: &Figures) -> String {
    let Figures { burst_ratio, paced_added, wake_floor, latency_ratio, idle_percent, rss_kib } = figures;
    format!(
        "bench: kernel={} burst_ratio={burst_ratio:.3} paced_added_us={paced_added:.1} wake_floor_us={wake_floor:.1} \
         latency_ratio={latency_ratio:.2} idle_cpu_percent={idle_percent:.3} rss_kib={rss_kib}",
        run.place.release
    )
}

/// Three digits are enough.
fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::record::{Absent, Idle, Memory, Place};
    use super::*;

    fn measurement(watcher: Watcher, round: usize, pair: f64, seen: f64) -> Measurement {
        let seen = if seen > 0.0 { vec![seen; 2] } else { Vec::new() };
        let (seen_burst, seen_paced) = (seen.clone(), seen);
        let (burst, paced) = (vec![pair; 3], vec![pair; 3]);
        Measurement { watcher, round, burst, paced, getppid_ns: 100.0, seen_burst, seen_paced }
    }

    /// The machine doubles its pace in the second round, and everything with it.
    fn run() -> Run {
        let round = |round: usize, pace: f64| {
            [
                measurement(Watcher::Nobody, round, 100.0 * pace, 0.0),
                measurement(Watcher::Floor, round, 110.0 * pace, 20.0 * pace),
                measurement(Watcher::Trace, round, 120.0 * pace, 0.0),
                measurement(Watcher::TracePipe, round, 125.0 * pace, 28.0 * pace),
            ]
        };
        let memory = Memory { anon: 500, file: 1000, rings: 8000 };
        let idle = Idle { seconds: 30.0, ticks: 6, ticks_per_second: 100, switches: 3, memory };
        let measurements = [round(0, 1.0), round(1, 2.0), round(2, 1.0)].concat();
        let place = Place { release: "6.1".to_owned(), mounts: 42 };
        let absent = vec![Absent { watcher: Watcher::Mountsnoop, why: "no\nBTF".to_owned() }];
        Run { place, measurements, absent, idle }
    }

    #[test]
    fn figures_come_from_rounds_compared_with_themselves() {
        let run = run();
        let line = closing_line(&run, &Figures::of(&run).unwrap());
        assert_eq!(
            line,
            "bench: kernel=6.1 burst_ratio=1.200 paced_added_us=20.0 wake_floor_us=20.0 latency_ratio=1.40 \
             idle_cpu_percent=0.200 rss_kib=1500"
        );
    }

    #[test]
    fn a_goal_that_is_missed_says_no() {
        let run = run();
        let table = table(&run, &Figures::of(&run).unwrap());
        let verdict = |start: &str, nth: usize| {
            let line = table.lines().filter(|line| line.trim_start().starts_with(start)).nth(nth).unwrap_or_default();
            line.rsplit(' ').next().unwrap_or_default().to_owned()
        };
        // 1.2 is more than 1.1; 20 is less than two floors of 20.
        assert_eq!((verdict("trace -o json >", 0), verdict("trace -o json >", 1)), ("NO".into(), "yes".into()));
        // The third part, getppid, asks nothing of it; in the fourth, 28 is less than one and a half floors.
        assert_eq!(verdict("trace -o json |", 3), "yes");
        assert_eq!((verdict("processor", 0), verdict("resident", 0)), ("NO".into(), "yes".into()));
        assert!(table.contains("Debian's mountsnoop did not run here: no BTF"));
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    }

    #[test]
    fn a_busy_machine_is_told() {
        assert_eq!(noise(&[100.0, 110.0, 90.0]), "noise: untraced bursts took from 0.90 to 1.10 of their median");
        assert!(noise(&[100.0, 300.0, 90.0]).contains("3.00 of their median; the machine is busy"));
    }

    #[test]
    fn without_measurements_there_are_no_figures() {
        let empty = Run { measurements: Vec::new(), ..run() };
        assert!(Figures::of(&empty).is_err());
    }
}
