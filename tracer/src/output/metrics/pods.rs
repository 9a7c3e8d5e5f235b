//! PURE: the series of pods: volumes, disks, and what is read and written there.
//!
//! Their labels are names that the API server, the kubelet and the kernel have given, and only what is spelled like one becomes a label.

use std::collections::BTreeSet;

use super::{Figures, Sample};
use crate::host::io_stat::IoStat;

/// Series of pods that are told at most (6.4 of the design); more would cost the scraper more than they tell.
const MOST: usize = 1000;
/// Series of one pod's disk.
const OF_DISK: usize = 4;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFigure {
    /// Its namespace and name; `None` while nobody has told them.
    pub named: Option<(String, String)>,
    /// The volumes that it uses.
    pub volumes: Vec<VolumeFigure>,
    /// What it has read and written, by the name of the whole disk.
    pub io: Vec<(String, IoStat)>,
}

/// A volume that a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFigure {
    /// The claim, where Kubernetes has told it.
    pub claim: Option<String>,
    /// The persistent volume, where it is known to be one.
    pub persistent_volume: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// The whole disk; `None` where it has none.
    pub device: Option<String>,
    /// Whether another pod uses it too.
    pub shared: bool,
}

/// A pod by its labels.
type Told<'a> = ([&'a str; 2], &'a PodFigure);

/// The pods that can be told, those with volumes first, in an order that does not change; and how many series are left out.
fn told(figures: &Figures) -> (Vec<Told<'_>>, u64) {
    let mut pods: Vec<Told<'_>> = figures.pods.iter().filter_map(|pod| Some((labels(pod)?, pod))).collect();
    pods.sort_by_key(|(labels, pod)| (pod.volumes.is_empty(), *labels));
    let (mut room, mut left_out) = (MOST, 0);
    let mut names = BTreeSet::new();
    pods.retain(|(labels, pod)| {
        let wanted = pod.volumes.len() + OF_DISK * pod.io.len();
        // One that was deleted by force may still be there beside the next one of its name: a series cannot be both.
        let fits = wanted <= room && names.insert(*labels);
        if fits {
            room -= wanted;
        } else {
            left_out += wanted as u64;
        }
        fits
    });
    (pods, left_out)
}

fn labels(pod: &PodFigure) -> Option<[&str; 2]> {
    let (namespace, pod) = pod.named.as_ref()?;
    (is_name(namespace) && is_name(pod)).then_some([namespace, pod])
}

/// What Kubernetes takes for a name, and the kernel for a disk's: nothing else becomes a label.
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/');
    !text.is_empty() && text.len() <= crate::pods::named::NAME && text.bytes().all(is_plain)
}

/// Its name, or nothing.
fn or_empty(text: Option<&str>) -> String {
    text.filter(|text| is_name(text)).unwrap_or_default().to_owned()
}

pub(super) fn volumes(figures: &Figures) -> Vec<Sample> {
    let each = |([namespace, pod], figure): &Told<'_>| {
        let line = |volume: &VolumeFigure| {
            let VolumeFigure { claim, persistent_volume, driver, device, shared } = volume;
            let [claim, persistent_volume, driver, device] =
                [claim, persistent_volume, driver, device].map(|text| or_empty(text.as_deref()));
            let shared = if *shared { "true" } else { "false" };
            let labels = [*namespace, *pod, &claim, &persistent_volume, &driver, &device, shared];
            (labels.map(|label| label.to_owned().into()).to_vec(), 1)
        };
        figure.volumes.iter().map(line).collect::<Vec<Sample>>()
    };
    let mut all: Vec<Sample> = told(figures).0.iter().flat_map(each).collect();
    // A volume that is mounted twice for a pod, as with a subpath, is one.
    all.sort();
    all.dedup();
    all
}

pub(super) fn io(figures: &Figures, value: fn(&IoStat) -> u64) -> Vec<Sample> {
    let each = |([namespace, pod], figure): &Told<'_>| {
        let disks = figure.io.iter().filter(|(device, _)| is_name(device));
        let line = |(device, stat): &(String, IoStat)| {
            ([*namespace, *pod, device].map(|label| label.to_owned().into()).to_vec(), value(stat))
        };
        disks.map(line).collect::<Vec<Sample>>()
    };
    told(figures).0.iter().flat_map(each).collect()
}

/// How many pods have series.
pub(super) fn named(figures: &Figures) -> u64 {
    figures.pods.iter().filter(|pod| labels(pod).is_some()).count() as u64
}

pub(super) fn left_out(figures: &Figures) -> u64 {
    told(figures).1
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::output::metrics::text;

    pub(in crate::output::metrics) fn pod(number: usize, disks: usize) -> PodFigure {
        let stat = IoStat { read_bytes: 1, written_bytes: 2, reads: 3, writes: 4 };
        let volume = VolumeFigure {
            claim: number.is_multiple_of(4).then(|| format!("data-{number}")),
            persistent_volume: Some(format!("pvc-{number}")),
            driver: Some("ebs.csi.aws.com".to_owned()),
            device: Some("nvme1n1".to_owned()),
            shared: number.is_multiple_of(2),
        };
        PodFigure {
            named: Some(("shop".to_owned(), format!("web-{number}"))),
            volumes: vec![volume.clone(), volume],
            io: (0..disks).map(|disk| (format!("nvme{disk}n1"), stat)).collect(),
        }
    }

    #[test]
    fn a_pod_has_its_series() {
        let mut unnamed = pod(2, 1);
        unnamed.named = None;
        let mut hostile = pod(3, 1);
        hostile.named = Some(("a\"b".to_owned(), "web".to_owned()));
        hostile.volumes.clear();
        let mut strange = pod(4, 0);
        strange.volumes[0].persistent_volume = Some("p\nq".to_owned());
        strange.volumes.truncate(1);
        let figures = Figures { pods: vec![pod(1, 1), unnamed, hostile, strange], ..Figures::default() };
        let text = text(&figures).unwrap();
        for line in [
            r#"mount_tracer_volume_info{namespace="shop",pod="web-1",persistentvolumeclaim="",persistentvolume="pvc-1",driver="ebs.csi.aws.com",device="nvme1n1",shared="false"} 1"#,
            r#"mount_tracer_volume_info{namespace="shop",pod="web-4",persistentvolumeclaim="data-4",persistentvolume="",driver="ebs.csi.aws.com",device="nvme1n1",shared="true"} 1"#,
            r#"mount_tracer_pod_disk_read_bytes_total{namespace="shop",pod="web-1",device="nvme0n1"} 1"#,
            r#"mount_tracer_pod_disk_written_bytes_total{namespace="shop",pod="web-1",device="nvme0n1"} 2"#,
            r#"mount_tracer_pod_disk_reads_completed_total{namespace="shop",pod="web-1",device="nvme0n1"} 3"#,
            r#"mount_tracer_pod_disk_writes_completed_total{namespace="shop",pod="web-1",device="nvme0n1"} 4"#,
            r#"mount_tracer_pods{named="true"} 2"#,
            r#"mount_tracer_pods{named="false"} 2"#,
            "mount_tracer_series_left_out 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        assert!(!text.contains("web-2") && !text.contains("a\\\""), "{text}");
    }

    #[test]
    fn two_pods_of_one_name_are_not_mixed() {
        let figures = Figures { pods: vec![pod(1, 1), pod(1, 1)], ..Figures::default() };
        assert_eq!((volumes(&figures).len(), io(&figures, |stat| stat.reads).len()), (1, 1));
        assert_eq!(left_out(&figures), 6, "the other one is counted");
    }

    #[test]
    fn there_are_not_more_than_so_many_and_the_rest_is_counted() {
        let figures = Figures { pods: (0..600).map(|number| pod(number, 3)).collect(), ..Figures::default() };
        let told = volumes(&figures).len() + 4 * io(&figures, |stat| stat.reads).len();
        assert!(told <= MOST, "{told}");
        // Each has two volumes, that are one, and three disks.
        assert_eq!(left_out(&figures), 600 * 14 - (1000 / 14) * 14);
    }
}
