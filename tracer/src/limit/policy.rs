//! PURE: the policy: which volumes are limited, and to what. Bytes come in, a [`Policy`] or a [`PolicyError`] with a
//! place in the file goes out. Touches nothing; [`super::policy_file`] reads the file.

mod error;
mod hopeless;
mod read;
#[cfg(test)]
mod tests;
mod yaml;

pub use error::{Place, PolicyError};

use super::Limits;
use crate::{glob::Glob, host::Facts, pods::PodUid};

/// A policy, checked as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether limits are written or only reported.
    pub mode: Mode,
    /// Below these no limit is ever set, so that a pod can still end.
    pub floor: Limits,
    /// Whether limits that someone else wrote may be replaced.
    pub take_over: bool,
    /// In the file's order; the first that matches counts.
    pub rules: Vec<Rule>,
}

/// What the agent does with its decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Decide and report, write nothing. The default.
    #[default]
    Observe,
    /// Decide, report and write.
    Enforce,
}

impl Mode {
    /// Its name in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

/// One rule: the volumes that it is for and their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, the only one of this name in the policy.
    pub name: String,
    /// Every key that is present must match.
    pub matches: Match,
    /// What it sets; at least one field.
    pub limits: Limits,
}

/// Conditions on a volume. A key without globs is absent and holds for every volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// The volume's name as the kubelet's directory has it; any glob may match.
    pub volume: Vec<Glob>,
    /// The pod's uid; any glob may match.
    pub pod_uid: Vec<Glob>,
    /// The type of the volume's file system; any glob may match.
    pub fstype: Vec<Glob>,
    /// Where the volume is mounted; any glob may match.
    pub path: Vec<Glob>,
    /// Any name of the volume's disk; any glob may match.
    pub device: Vec<Glob>,
    /// The volume's driver; any glob may match.
    pub driver: Vec<Glob>,
}

/// A volume as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct VolumeRef<'a> {
    /// The pod that uses it.
    pub pod_uid: &'a PodUid,
    /// Its name as the kubelet's directory has it.
    pub volume: &'a str,
    /// The type of its file system; `None` when it is no text.
    pub fstype: Option<&'a str>,
    /// Where it is mounted; `None` when it is no text.
    pub path: Option<&'a str>,
    /// What the node said of it; `None` while it was not asked.
    pub facts: Option<&'a Facts>,
}

/// What the policy wants of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The first rule that matches: its name and its limits.
    Rule(&'a str, Limits),
    /// No rule matches.
    Nothing,
    /// It depends on [`VolumeRef::facts`].
    Ask,
}

impl Policy {
    /// The default floor: 1 MiB and 50 operations a second each way. With less, a pod takes minutes to write back what
    /// it has dirty, and its teardown waits for that.
    pub const DEFAULT_FLOOR: Limits =
        Limits { read_bps: Some(1024 * 1024), write_bps: Some(1024 * 1024), read_iops: Some(50), write_iops: Some(50) };

    /// The policy that `bytes` hold; `file` only names them in messages.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, PolicyError> {
        read::policy(bytes, file)
    }

    /// The first rule for this volume, as far as it is known. The node need not be asked for what no rule depends on.
    pub fn choose(&self, volume: &VolumeRef<'_>) -> Choice<'_> {
        for rule in &self.rules {
            match rule.matches.covers(volume) {
                Some(true) => return Choice::Rule(&rule.name, rule.limits),
                Some(false) => {}
                None => return Choice::Ask,
            }
        }
        Choice::Nothing
    }
}

impl Match {
    /// Whether every key matches; `None` when that depends on what the node was not asked yet.
    fn covers(&self, volume: &VolumeRef<'_>) -> Option<bool> {
        let seen = holds(&self.volume, Some(volume.volume))
            && holds(&self.pod_uid, Some(volume.pod_uid.as_str()))
            && holds(&self.fstype, volume.fstype)
            && holds(&self.path, volume.path);
        if !seen || (self.device.is_empty() && self.driver.is_empty()) {
            return Some(seen);
        }
        let Facts { devices, driver } = volume.facts?;
        Some(holds(&self.device, devices.iter().map(String::as_str)) && holds(&self.driver, driver.as_deref()))
    }
}

/// Whether a key is absent, or one of its globs matches one of the texts. What is unknown has no text.
fn holds<'a>(globs: &[Glob], texts: impl IntoIterator<Item = &'a str>) -> bool {
    globs.is_empty() || texts.into_iter().any(|text| globs.iter().any(|glob| glob.matches(text)))
}
