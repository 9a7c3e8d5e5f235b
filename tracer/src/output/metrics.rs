//! PURE: what the agent counts, as the text that Prometheus scrapes. [`METRICS`] is the one table of metrics, which makes this one room.
//!
//! No label comes from a string that others chose. Of the `prometheus` crate this takes the model and the text encoder:
//! its registry keeps values of its own, and here they come from the loop, all of one moment, for each scrape.

mod kubernetes;
mod pods;

use std::{borrow::Cow, collections::BTreeSet};

use prometheus::{
    Encoder as _, TEXT_FORMAT, TextEncoder,
    proto::{self, LabelPair, MetricFamily, MetricType},
};

pub use self::kubernetes::KubernetesFigures;
use crate::{
    engine::Counts,
    mirror::{ReadCounts, Sizes},
    operation::Op,
    probe::losses::{Losses, REASONS},
    tally::{Outcome, Tally, happened},
};

/// The format's content type.
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// All that metrics tell, of one moment.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// What went through the engine.
    pub counts: Counts,
    /// Operations by kind and result.
    pub tally: Tally,
    /// What was lost since the agent was ready.
    pub losses: Losses,
    /// What is attached.
    pub hooks: Vec<HookFigure>,
    /// What is known of mount tables.
    pub sizes: Sizes,
    /// Tables that were read.
    pub reads: ReadCounts,
    /// Pods, their volumes, and what they read and write.
    pub pods: Vec<PodFigure>,
    /// What Kubernetes tells.
    pub kubernetes: KubernetesFigures,
}

/// A hook that is attached.
#[derive(Clone, Copy, Debug)]
pub struct HookFigure {
    /// Its number, by which [`Losses::missed`] counts.
    pub number: u32,
    /// Its name; some share one.
    pub name: &'static str,
    /// The function that was taken.
    pub function: &'static str,
    /// The kernel's word for the way it is attached.
    pub kind: &'static str,
}

impl Figures {
    /// The names of the hooks that are attached, each once.
    fn hook_names(&self) -> BTreeSet<&'static str> {
        self.hooks.iter().map(|hook| hook.name).collect()
    }

    fn dropped(&self, hook: &str, reason: &str) -> u64 {
        let same = self.losses.dropped.iter().filter(|one| (one.hook, one.reason) == (hook, reason));
        same.map(|one| one.records).sum()
    }

    /// `None` where the kernel does not count them.
    fn missed(&self, hook: &str) -> Option<u64> {
        let missed = self.losses.missed.as_ref()?;
        let of_name = self.hooks.iter().filter(|one| one.name == hook);
        Some(of_name.filter_map(|one| missed.get(one.number as usize)).sum())
    }
}

pub use self::pods::{PodFigure, VolumeFigure};

/// How a metric runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only upwards.
    Counter,
    /// Both ways.
    Gauge,
}

/// The values of a metric's labels, in their order, and a number.
type Sample = (Vec<Cow<'static, str>>, u64);

/// One metric.
pub struct Metric {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    /// What it counts.
    help: &'static str,
    /// Its series; those of a closed set of labels are all there from the start.
    samples: fn(&Figures) -> Vec<Sample>,
}

impl Metric {
    const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        samples: fn(&Figures) -> Vec<Sample>,
    ) -> Self {
        Self { name, kind: Kind::Counter, labels, help, samples }
    }

    const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        samples: fn(&Figures) -> Vec<Sample>,
    ) -> Self {
        Self { name, kind: Kind::Gauge, labels, help, samples }
    }

    /// Its series now, as the encoder takes them.
    fn family(&self, figures: &Figures) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        family.set_metric((self.samples)(figures).iter().map(|sample| self.series(sample)).collect());
        family
    }

    #[expect(clippy::cast_precision_loss, reason = "the format's numbers are floating; exact up to 2^53")]
    fn series(&self, (values, number): &Sample) -> proto::Metric {
        let label = |(name, value): (&&str, &Cow<'static, str>)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value(value.clone().into_owned());
            label
        };
        let mut series = proto::Metric::from_label(self.labels.iter().zip(values).map(label).collect());
        match self.kind {
            Kind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(*number as f64);
                series.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(*number as f64);
                series.set_gauge(gauge);
            }
        }
        series
    }
}

/// Every metric, in the order of the text and of `docs/metrics.md`.
pub const METRICS: &[Metric] = &[
    Metric::gauge("mount_tracer_build_info", &["version"], "1; what is running", |_| {
        vec![(vec![env!("CARGO_PKG_VERSION").into()], 1)]
    }),
    Metric::gauge(
        "mount_tracer_hook_info",
        &["hook", "function", "kind"],
        "1; a hook that is attached, the kernel function that was taken for it, and how",
        |figures| {
            let labels = figures.hooks.iter().map(|hook| [hook.name, hook.function, hook.kind]);
            let once: BTreeSet<[&str; 3]> = labels.collect();
            once.into_iter().map(|labels| sample(labels, 1)).collect()
        },
    ),
    Metric::counter(
        "mount_tracer_operations_total",
        &["op", "result"],
        "operations, as `trace` shows them; `failed` are those whose call ended with an errno",
        |figures| {
            let happen = Op::ALL.iter().filter(|op| happened(**op));
            let both = happen.flat_map(|op| Outcome::ALL.map(|outcome| (*op, outcome)));
            both.map(|(op, outcome)| sample([op.name(), outcome.name()], figures.tally.of(op, outcome))).collect()
        },
    ),
    Metric::counter(
        "mount_tracer_operations_unresolved_total",
        &[],
        "changes of a mount table that have no name yet",
        |figures| one(figures.counts.unresolved),
    ),
    Metric::counter(
        "mount_tracer_operations_lost_total",
        &[],
        "operations of which no record at all came through",
        |figures| one(figures.losses.operations),
    ),
    Metric::counter(
        "mount_tracer_calls_throttled_total",
        &[],
        "failing calls that were only counted: a cgroup had more than 1,000 a second",
        |figures| one(figures.counts.throttled),
    ),
    Metric::counter(
        "mount_tracer_sections_incomplete_total",
        &[],
        "holds of the namespace semaphore of which facts were lost",
        |figures| one(figures.counts.incomplete),
    ),
    Metric::counter("mount_tracer_records_read_total", &[], "records read from the rings", |figures| {
        one(figures.counts.records)
    }),
    Metric::counter("mount_tracer_records_undecodable_total", &[], "records that could not be understood", |figures| {
        one(figures.counts.undecodable)
    }),
    Metric::counter(
        "mount_tracer_records_dropped_total",
        &["hook", "reason"],
        "records that a hook could not write: `ring_full`, `ring_busy`, `list_too_long`",
        |figures| {
            let names = figures.hook_names().into_iter();
            let both = names.flat_map(|hook| REASONS.map(|reason| (hook, reason)));
            both.map(|(hook, reason)| sample([hook, reason], figures.dropped(hook, reason))).collect()
        },
    ),
    Metric::counter(
        "mount_tracer_runs_missed_total",
        &["hook"],
        "runs of a hook's programs that the kernel skipped; no series where it does not count them (before Linux 5.12)",
        |figures| {
            let names = figures.hook_names().into_iter();
            names.filter_map(|hook| Some(sample([hook], figures.missed(hook)?))).collect()
        },
    ),
    Metric::gauge(
        "mount_tracer_namespaces",
        &["state"],
        "mount namespaces whose tables are known: `exact`, `dirty` (to be read again), `unread`",
        |figures| {
            let states = figures.sizes.states;
            [("exact", states.exact), ("dirty", states.dirty), ("unread", states.unread)]
                .map(|(state, number)| sample([state], number))
                .to_vec()
        },
    ),
    Metric::gauge("mount_tracer_mounts", &[], "mounts in all known tables", |figures| one(figures.sizes.mounts)),
    Metric::gauge("mount_tracer_detached_mounts", &[], "mounts in no table that somebody still refers to", |figures| {
        one(figures.sizes.detached)
    }),
    Metric::gauge("mount_tracer_largest_table_mounts", &[], "mounts in the largest known table", |figures| {
        one(figures.sizes.largest)
    }),
    Metric::counter(
        "mount_tracer_table_reads_total",
        &["reason"],
        "mount tables that were read: `start`, `met`, `lost`, `count`, `attributes`, `asked` (docs/control.md)",
        |figures| figures.reads.by_name().map(|(reason, tables)| sample([reason], tables)).collect(),
    ),
    Metric::gauge(
        "mount_tracer_volume_info",
        &["namespace", "pod", "persistentvolumeclaim", "persistentvolume", "driver", "device", "shared"],
        "1; a volume that a pod uses, and the whole disk that it lies on; what is not known is empty; `shared`: something else may use its file system too",
        pods::volumes,
    ),
    Metric::counter(
        "mount_tracer_pod_disk_read_bytes_total",
        &["namespace", "pod", "device"],
        "bytes that a pod has read from a disk, all of its containers together (`io.stat` of its cgroup)",
        |figures| pods::io(figures, |stat| stat.read_bytes),
    ),
    Metric::counter(
        "mount_tracer_pod_disk_written_bytes_total",
        &["namespace", "pod", "device"],
        "bytes that a pod has written to a disk",
        |figures| pods::io(figures, |stat| stat.written_bytes),
    ),
    Metric::counter(
        "mount_tracer_pod_disk_reads_completed_total",
        &["namespace", "pod", "device"],
        "reads of a pod from a disk",
        |figures| pods::io(figures, |stat| stat.reads),
    ),
    Metric::counter(
        "mount_tracer_pod_disk_writes_completed_total",
        &["namespace", "pod", "device"],
        "writes of a pod to a disk",
        |figures| pods::io(figures, |stat| stat.writes),
    ),
    Metric::gauge(
        "mount_tracer_pods",
        &["named"],
        "pods that have a cgroup or use a volume, by whether their names are known; only those have series",
        |figures| {
            let named = pods::named(figures);
            let all = figures.pods.len() as u64;
            [("true", named), ("false", all - named)].map(|(word, number)| sample([word], number)).to_vec()
        },
    ),
    Metric::gauge(
        "mount_tracer_series_left_out",
        &[],
        "series of pods above the most that are told, 1,000",
        |figures| one(pods::left_out(figures)),
    ),
    Metric::gauge("mount_tracer_kubernetes_objects", &["kind"], "what is known of Kubernetes", kubernetes::objects),
    Metric::counter(
        "mount_tracer_kubernetes_requests_total",
        &["resource"],
        "requests to the Kubernetes API server",
        kubernetes::requests,
    ),
    Metric::counter(
        "mount_tracer_kubernetes_failures_total",
        &["resource", "reason"],
        "requests that failed, and watches that broke (docs/kubernetes.md)",
        kubernetes::failures,
    ),
    Metric::counter(
        "mount_tracer_kubernetes_volumes_total",
        &["result"],
        "volumes that the kubelet mounted, by what Kubernetes tells of them (docs/kubernetes.md)",
        kubernetes::mounts,
    ),
];

fn sample<const N: usize>(labels: [&'static str; N], number: u64) -> Sample {
    (labels.map(Cow::Borrowed).to_vec(), number)
}

fn one(number: u64) -> Vec<Sample> {
    vec![(Vec::new(), number)]
}

/// The text of a scrape. A metric without a series is left out, as the format wants it.
pub fn text(figures: &Figures) -> prometheus::Result<String> {
    let families = METRICS.iter().map(|metric| metric.family(figures));
    let families: Vec<MetricFamily> = families.filter(|family| !family.get_metric().is_empty()).collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{operation::Dropped, probe::hooks::HOOKS};

    /// Its name in the text and the docs.
    fn word(kind: Kind) -> &'static str {
        match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }

    /// Every hook is attached, and something is lost.
    fn figures() -> Figures {
        let hook = |hook: &crate::probe::hooks::Hook| HookFigure {
            number: hook.number,
            name: hook.name(),
            function: hook.name(),
            kind: if hook.number.is_multiple_of(2) { "fentry" } else { "fexit" },
        };
        let dropped = |reason| Dropped { hook: "copy_mnt_ns", reason, records: 2 };
        let losses = Losses {
            dropped: vec![dropped(REASONS[0]), dropped(REASONS[0]), dropped(REASONS[1])],
            operations: 5,
            missed: Some(vec![1; HOOKS.len()]),
        };
        let pods = vec![pods::tests::pod(1, 1)];
        Figures { losses, hooks: HOOKS.iter().map(hook).collect(), pods, ..Figures::default() }
    }

    /// The series of a text, each with its value.
    fn series(text: &str) -> BTreeMap<&str, &str> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs: Vec<(&str, &str)> = lines.map(|line| line.rsplit_once(' ').unwrap()).collect();
        let series: BTreeMap<&str, &str> = pairs.iter().copied().collect();
        assert_eq!(series.len(), pairs.len(), "a series is there twice");
        series
    }

    #[test]
    fn the_docs_have_a_row_for_each_metric() {
        let docs = include_str!("../../../docs/metrics.md");
        let labels = |metric: &Metric| {
            let named: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            if named.is_empty() { "-".to_owned() } else { named.join(", ") }
        };
        let rows: Vec<String> = METRICS
            .iter()
            .map(|metric| {
                format!("| `{}` | {} | {} | {} |", metric.name, word(metric.kind), labels(metric), metric.help)
            })
            .collect();
        let missing: Vec<&String> = rows.iter().filter(|row| !docs.contains(row.as_str())).collect();
        assert!(missing.is_empty(), "docs/metrics.md lacks\n{missing:#?}");
        assert_eq!(docs.matches("| `mount_tracer_").count(), METRICS.len(), "docs/metrics.md has a metric too many");
    }

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for Metric { name, kind, labels, .. } in METRICS {
            assert!(name.starts_with("mount_tracer_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(labels.iter().all(|label| !["le", "quantile", "job", "instance"].contains(label)), "{name}");
        }
    }

    #[test]
    fn everything_is_there_from_the_start() {
        let text =
            text(&Figures { losses: Losses { missed: Some(vec![]), ..Losses::default() }, ..figures() }).unwrap();
        let series = series(&text);
        for metric in METRICS {
            assert!(text.contains(&format!("# TYPE {} {}\n", metric.name, word(metric.kind))), "no {}", metric.name);
        }
        assert_eq!(series[r#"mount_tracer_operations_total{op="set_group",result="failed"}"#], "0");
        assert_eq!(series[r#"mount_tracer_runs_missed_total{hook="commit_tree"}"#], "0");
        assert!(!text.contains("gap") && !text.contains("existing"), "they are no operations of the node");
        assert!(series.len() < 500, "{} series", series.len());
    }

    #[test]
    fn hooks_of_one_name_are_one_series() {
        let text = text(&figures()).unwrap();
        let series = series(&text);
        assert_eq!(series[r#"mount_tracer_records_dropped_total{hook="copy_mnt_ns",reason="ring_full"}"#], "4");
        assert_eq!(series[r#"mount_tracer_records_dropped_total{hook="copy_mnt_ns",reason="ring_busy"}"#], "2");
        assert_eq!(series[r#"mount_tracer_runs_missed_total{hook="copy_mnt_ns"}"#], "2");
        assert_eq!(series["mount_tracer_operations_lost_total"], "5");
    }

    #[test]
    fn what_the_kernel_does_not_count_is_not_told() {
        let figures = Figures { losses: Losses { missed: None, ..Losses::default() }, ..figures() };
        let text = text(&figures).unwrap();
        assert!(!text.contains("mount_tracer_runs_missed_total"), "{text}");
        assert!(text.contains("mount_tracer_records_read_total 0\n"), "{text}");
    }
}
