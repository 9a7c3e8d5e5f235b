//! PURE: what to do about one volume's limit, and the closed lists of decisions and reasons. Touches nothing.
//!
//! Facts come in, a [`Verdict`] goes out; [`super::apply`] carries it out, and a [`Decision`] tells it.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::Limits;
use super::policy::Mode;
use crate::device::Dev;
use crate::host::{Disk, NoDisk, Protected};
use crate::pods::PodUid;

/// How long a volume waits for its pod's cgroup, in microseconds: the kubelet makes it before or within seconds of the
/// mount; later than this the pod has failed.
pub const POD_WAIT_US: u64 = 60 * 1_000_000;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The limit is in force.
    Applied,
    /// It would have been written, were the mode not `observe`.
    Observed,
    /// Something is missing that may still come.
    Waiting,
    /// There will be no limit.
    Refused,
    /// This agent's limit was taken off.
    Released,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A rule is for this volume.
    Matched,
    /// The cgroup has these very limits already.
    AlreadyInForce,
    /// The policy does not want the limit any more.
    PolicyChanged,
    /// The pod has no cgroup.
    NoSuchPod,
    /// The volume's file system has no block device.
    NoBlockDevice,
    /// The node itself needs the disk.
    ProtectedDisk,
    /// The disk is not there any more.
    DiskGone,
    /// The node's description of the disk cannot be read.
    DiskUnreadable,
    /// Someone else has limited the disk for this pod.
    ForeignLimit,
    /// The pod's cgroup has no `io.max`.
    IoControllerOff,
    /// The pod's cgroup went, or is another one now.
    CgroupGone,
    /// The agent sees the cgroups read-only.
    CgroupReadOnly,
    /// The pod's `io.max` cannot be read or understood.
    IoMaxUnreadable,
    /// The kernel refused the write.
    WriteRefused,
    /// After the write `io.max` says something else.
    ReadBackDiffers,
}

impl Reason {
    /// Every reason, for counters that start at 0 and for the manual.
    pub const ALL: [Self; 15] = [
        Self::Matched,
        Self::AlreadyInForce,
        Self::PolicyChanged,
        Self::NoSuchPod,
        Self::NoBlockDevice,
        Self::ProtectedDisk,
        Self::DiskGone,
        Self::DiskUnreadable,
        Self::ForeignLimit,
        Self::IoControllerOff,
        Self::CgroupGone,
        Self::CgroupReadOnly,
        Self::IoMaxUnreadable,
        Self::WriteRefused,
        Self::ReadBackDiffers,
    ];

    /// As it is written in a decision and in the manual.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::AlreadyInForce => "already_in_force",
            Self::PolicyChanged => "policy_changed",
            Self::NoSuchPod => "no_such_pod",
            Self::NoBlockDevice => "no_block_device",
            Self::ProtectedDisk => "protected_disk",
            Self::DiskGone => "disk_gone",
            Self::DiskUnreadable => "disk_unreadable",
            Self::ForeignLimit => "foreign_limit",
            Self::IoControllerOff => "io_controller_off",
            Self::CgroupGone => "cgroup_gone",
            Self::CgroupReadOnly => "cgroup_read_only",
            Self::IoMaxUnreadable => "io_max_unreadable",
            Self::WriteRefused => "write_refused",
            Self::ReadBackDiffers => "read_back_differs",
        }
    }
}

impl From<NoDisk> for Reason {
    fn from(no_disk: NoDisk) -> Self {
        match no_disk {
            NoDisk::Gone => Self::DiskGone,
            NoDisk::Unreadable => Self::DiskUnreadable,
            _ => Self::NoBlockDevice,
        }
    }
}

/// One line of the agent's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// When it was decided.
    #[serde(serialize_with = "rfc3339")]
    pub time: Timestamp,
    /// Whose volume.
    pub pod_uid: PodUid,
    /// As the kubelet's directory names it.
    pub volume: String,
    /// The whole disk, once it is known.
    pub disk: Option<Dev>,
    /// The pod's cgroup from the hierarchy's root, once it is known.
    pub cgroup: Option<String>,
    /// What was decided.
    pub decision: Outcome,
    /// Why.
    pub reason: Reason,
    /// The rule that is for this volume.
    pub rule: Option<String>,
    /// What should be in force for the pod on this disk.
    pub wanted: Option<Limits>,
    /// What `io.max` said last; `None` when it was not read.
    pub in_force: Option<Limits>,
    /// From the kernel's mount to the limit being in force; `None` unless this decision put it there.
    pub mount_to_limit_us: Option<u64>,
    /// What exactly stands in the way, and the remedy.
    pub detail: Option<String>,
}

fn rfc3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// All that a verdict depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The policy's mode.
    pub mode: Mode,
    /// Whether the policy allows to replace what someone else wrote.
    pub take_over: bool,
    /// What should be in force for the pod on this disk: the stricter of all its volumes there.
    pub wanted: Limits,
    /// The disk behind the volume.
    pub disk: Result<&'a Disk, NoDisk>,
    /// Disks that the node itself needs, and why.
    pub protected: &'a Protected,
    /// What the pod's `io.max` says for the disk; `None` when it has no line for it.
    pub current: Option<Limits>,
    /// What this agent wrote there last.
    pub ours: Option<Limits>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Write this.
    Write(Limits),
    /// Report that this would be written.
    Observe(Limits),
    /// Nothing is to be done.
    AlreadyInForce,
    /// Nothing may be done.
    Refuse(Reason),
}

/// What to do about a limit.
pub fn decide(question: &Question<'_>) -> Verdict {
    let disk = match question.disk {
        Ok(disk) => disk,
        Err(no_disk) => return Verdict::Refuse(no_disk.into()),
    };
    if question.protected.contains_key(&disk.dev) {
        return Verdict::Refuse(Reason::ProtectedDisk);
    }
    let current = question.current.unwrap_or(Limits::NONE);
    if current == question.wanted {
        return Verdict::AlreadyInForce;
    }
    let foreign = !current.is_none() && question.ours != Some(current);
    if foreign && !question.take_over {
        return Verdict::Refuse(Reason::ForeignLimit);
    }
    match question.mode {
        Mode::Observe => Verdict::Observe(question.wanted),
        Mode::Enforce => Verdict::Write(question.wanted),
    }
}

/// What to say about a volume whose pod has had no cgroup for so long.
pub fn without_pod(waited_us: u64) -> (Outcome, Reason) {
    let outcome = if waited_us < POD_WAIT_US { Outcome::Waiting } else { Outcome::Refused };
    (outcome, Reason::NoSuchPod)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::limits::tests::any_limits;
    use proptest::prelude::*;

    const DEV: Dev = Dev { major: 8, minor: 16 };

    fn disk() -> Disk {
        Disk { dev: DEV, name: "sdb".to_owned(), diskseq: Some(7) }
    }

    fn writes(bytes: u64) -> Limits {
        Limits { write_bps: Some(bytes), ..Limits::NONE }
    }

    #[test]
    fn each_verdict() {
        let (disk, none) = (disk(), Protected::new());
        let root = Protected::from([(DEV, vec!["holds /".to_owned()])]);
        let base = Question {
            mode: Mode::Enforce,
            take_over: false,
            wanted: writes(10),
            disk: Ok(&disk),
            protected: &none,
            current: None,
            ours: None,
        };
        let refuse = Verdict::Refuse;
        for (question, verdict) in [
            (base, Verdict::Write(writes(10))),
            (Question { mode: Mode::Observe, ..base }, Verdict::Observe(writes(10))),
            (Question { current: Some(writes(10)), ..base }, Verdict::AlreadyInForce),
            (Question { current: Some(writes(9)), ..base }, refuse(Reason::ForeignLimit)),
            (Question { current: Some(writes(9)), mode: Mode::Observe, ..base }, refuse(Reason::ForeignLimit)),
            (Question { current: Some(writes(9)), take_over: true, ..base }, Verdict::Write(writes(10))),
            (Question { current: Some(writes(9)), ours: Some(writes(9)), ..base }, Verdict::Write(writes(10))),
            (Question { current: Some(writes(9)), ours: Some(writes(8)), ..base }, refuse(Reason::ForeignLimit)),
            (Question { ours: Some(writes(10)), ..base }, Verdict::Write(writes(10))),
            (Question { protected: &root, ..base }, refuse(Reason::ProtectedDisk)),
            (Question { protected: &root, current: Some(writes(10)), ..base }, refuse(Reason::ProtectedDisk)),
            (Question { disk: Err(NoDisk::Anonymous), ..base }, refuse(Reason::NoBlockDevice)),
            (Question { disk: Err(NoDisk::Gone), ..base }, refuse(Reason::DiskGone)),
            (Question { disk: Err(NoDisk::Unreadable), ..base }, refuse(Reason::DiskUnreadable)),
        ] {
            assert_eq!(decide(&question), verdict, "{question:?}");
        }
    }

    #[test]
    fn a_pod_is_waited_for_a_minute() {
        assert_eq!(without_pod(0), (Outcome::Waiting, Reason::NoSuchPod));
        assert_eq!(without_pod(59_999_999), (Outcome::Waiting, Reason::NoSuchPod));
        assert_eq!(without_pod(60_000_000), (Outcome::Refused, Reason::NoSuchPod));
    }

    #[test]
    fn a_decision_is_one_line_of_json() {
        let decision = Decision {
            time: "2026-11-21T23:05:00.123456789Z".parse().unwrap(),
            pod_uid: PodUid::parse("0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d").unwrap(),
            volume: "pvc-\n1".to_owned(),
            disk: Some(DEV),
            cgroup: Some("/kubepods/pod0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d".to_owned()),
            decision: Outcome::Applied,
            reason: Reason::Matched,
            rule: Some("bronze".to_owned()),
            wanted: Some(writes(10)),
            in_force: None,
            mount_to_limit_us: Some(412),
            detail: None,
        };
        let expected = concat!(
            r#"{"time":"2026-11-21T23:05:00.123456789Z","pod_uid":"0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d","#,
            r#""volume":"pvc-\n1","disk":"8:16","cgroup":"/kubepods/pod0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d","#,
            r#""decision":"applied","reason":"matched","rule":"bronze","#,
            r#""wanted":{"rbps":"max","wbps":10,"riops":"max","wiops":"max"},"in_force":null,"mount_to_limit_us":412,"#,
            r#""detail":null}"#,
        );
        assert_eq!(serde_json::to_string(&decision).unwrap(), expected);
    }

    #[test]
    fn the_manual_lists_every_reason() {
        let manual = include_str!("../../../docs/policy.md");
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert!(manual.contains(&format!("\n| `{}` |", reason.as_str())), "{}", reason.as_str());
        }
    }

    proptest! {
        #[test]
        fn a_write_is_enforced_unprotected_and_as_wanted(
            enforce: bool, take_over: bool, is_protected: bool, wanted in any_limits(),
            current in proptest::option::of(any_limits()), ours in proptest::option::of(any_limits()),
            same: bool,
        ) {
            let disk = disk();
            let protected = if is_protected { Protected::from([(DEV, Vec::new())]) } else { Protected::new() };
            let mode = if enforce { Mode::Enforce } else { Mode::Observe };
            let ours = if same { current } else { ours };
            let question = Question { mode, take_over, wanted, disk: Ok(&disk), protected: &protected, current, ours };
            match decide(&question) {
                Verdict::Write(limits) => {
                    prop_assert!(enforce && !is_protected);
                    prop_assert_eq!(limits, wanted);
                    let line = current.filter(|line| !line.is_none());
                    prop_assert!(take_over || line.is_none() || line == ours);
                }
                Verdict::Observe(_) => prop_assert!(!enforce && !is_protected),
                Verdict::AlreadyInForce => prop_assert_eq!(current.unwrap_or_default(), wanted),
                Verdict::Refuse(_) => {}
            }
        }
    }
}
