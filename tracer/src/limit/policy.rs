//! PURE: the policy: which volumes are limited, and to what. Bytes come in, a [`Policy`] or a [`PolicyError`] with a
//! place in the file goes out. Touches nothing; [`super::policy_file`] reads the file.

mod error;
mod read;
#[cfg(test)]
mod tests;
mod yaml;

pub use error::{Place, PolicyError};

use super::Limits;
use crate::{glob::Glob, pods::PodUid};

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
}

/// A volume as rules see it.
#[derive(Debug, Clone, Copy)]
pub struct VolumeRef<'a> {
    /// The pod that uses it.
    pub pod_uid: &'a PodUid,
    /// Its name as the kubelet's directory has it.
    pub volume: &'a str,
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

    /// The name and the limits of the first rule for this volume; `None` when no rule is for it.
    pub fn wanted(&self, volume: &VolumeRef<'_>) -> Option<(&str, Limits)> {
        let rule = self.rules.iter().find(|rule| rule.matches.covers(volume))?;
        Some((&rule.name, rule.limits))
    }
}

impl Match {
    fn covers(&self, volume: &VolumeRef<'_>) -> bool {
        let holds = |globs: &[Glob], text: &str| globs.is_empty() || globs.iter().any(|glob| glob.matches(text));
        holds(&self.volume, volume.volume) && holds(&self.pod_uid, volume.pod_uid.as_str())
    }
}
