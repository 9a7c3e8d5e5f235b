//! PURE: what a running agent can be asked through its socket, and what it answers: JSON lines, `docs/control.md`.
//!
//! Any bytes are a question or a named error, and an error is an answer too. Nothing is read or sent here.

mod disks;
mod tables;
#[cfg(test)]
mod tests;
mod volumes;

use std::sync::Arc;

pub use self::{
    disks::{DiskRow, DisksRow},
    volumes::{ClaimRow, VolumeRow},
};
use serde::{Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

use crate::{
    device::Dev,
    mirror::{ReadCounts, States},
    output::{flags, json::owner::OwnerObject},
    pods::{named::Named, owners::Home},
};

/// The version of questions and answers.
pub const VERSION: u32 = 1;
/// The longest question, in bytes without its end of line.
pub const QUESTION_BYTES: usize = 4096;
/// Differences that an answer lists at most; the mirror keeps no more.
pub const MAX_DIFFERENCES: usize = 100;

/// Detached mounts that an answer lists at most: an unmount of a large tree leaves as many for a moment as it had.
pub const MAX_DETACHED: usize = 1000;

/// What can be asked, by the name under `query`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Every mount table that the agent knows; none is read for it.
    Tables,
    /// What changed the tables lately; nothing is read for it.
    Sections,
    /// What the agent knows, compared with tables that are read for it.
    Audit,
    /// The disks of the node, and how many came and went.
    Disks,
    /// The volumes that pods use, with their claims.
    Volumes,
}

impl Question {
    /// Every one of them, by name.
    const NAMES: [(&'static str, Self); 5] = [
        ("tables", Self::Tables),
        ("sections", Self::Sections),
        ("audit", Self::Audit),
        ("disks", Self::Disks),
        ("volumes", Self::Volumes),
    ];
}

/// Why a line is no question.
#[derive(Debug, Error)]
pub enum QuestionError {
    /// It has no end, as far as it was read.
    #[error("a question has at most {QUESTION_BYTES} bytes; ask {EXAMPLE}")]
    TooLong,
    /// It is not JSON.
    #[error("not JSON; ask {EXAMPLE}")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON, but no object.
    #[error("not a JSON object; ask {EXAMPLE}")]
    NotAnObject,
    /// It does not say its version.
    #[error("no \"version\"; ask {EXAMPLE}")]
    NoVersion,
    /// Its version is not ours.
    #[error("version {0} is not known; this agent answers version {VERSION}")]
    Version(Value),
    /// It does not say what is asked.
    #[error("no \"query\"; ask {EXAMPLE}")]
    NoQuery,
    /// What is asked is not known.
    #[error("query {} is not known; this agent answers {known}", .0, known = names())]
    Query(Value),
    /// It says more than this version has.
    #[error("field {0:?} is not known; a question has \"version\" and \"query\"")]
    Field(String),
}

/// A question, for who does not know one.
const EXAMPLE: &str = r#"{"version":1,"query":"tables"}"#;

fn names() -> String {
    Question::NAMES.map(|(name, _)| format!("{name:?}")).join(", ")
}

impl Question {
    /// The question in a line, with or without its end.
    pub fn parse(line: &[u8]) -> Result<Self, QuestionError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.len() > QUESTION_BYTES {
            return Err(QuestionError::TooLong);
        }
        let Value::Object(mut fields) = serde_json::from_slice(line).map_err(QuestionError::NotJson)? else {
            return Err(QuestionError::NotAnObject);
        };
        let version = fields.shift_remove("version").ok_or(QuestionError::NoVersion)?;
        if version != VERSION {
            return Err(QuestionError::Version(version));
        }
        let query = fields.shift_remove("query").ok_or(QuestionError::NoQuery)?;
        let known = Self::NAMES.iter().find(|(name, _)| query == *name);
        let (_, question) = known.ok_or(QuestionError::Query(query))?;
        // A condition that is not understood must not be answered as if it were not there.
        fields.into_iter().next().map_or(Ok(*question), |(field, _)| Err(QuestionError::Field(field)))
    }
}

/// What the agent answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// A line for each namespace, in the order of their ids; empty but for [`Question::Tables`].
    pub tables: Vec<Table>,
    /// A line behind these, in the order of their `mnt_id`; `None` but for [`Question::Tables`].
    pub detached: Option<Detached>,
    /// A line for each of the last sections, the oldest first; empty but for [`Question::Sections`].
    pub sections: Vec<SectionRow>,
    /// One line; `None` but for [`Question::Disks`].
    pub disks: Option<DisksRow>,
    /// A line for each, by pods; empty but for [`Question::Volumes`].
    pub volumes: Vec<VolumeRow>,
    /// The last line.
    pub end: End,
}

/// A mount namespace as the agent knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The inode number of `/proc/PID/ns/mnt`.
    pub mntns: u32,
    /// The kernel's 64-bit id; `None` while nothing was told of it.
    pub mntns_id: Option<Id>,
    /// How far it is known, by [`crate::mirror::State::name`].
    pub state: &'static str,
    /// Whose it is; `None` when it is nobody's.
    pub owner: Option<NamespaceOwner>,
    /// Its mounts, hidden ones among them.
    pub mounts: Vec<MountRow>,
}

/// Mounts that are in no table, and that somebody still refers to: at most [`MAX_DETACHED`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Detached {
    /// They. The parent and the mount point of one that was in a table are those that it had there.
    pub detached: Vec<MountRow>,
}

/// One hold of the namespace semaphore that changed tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectionRow {
    /// Its number, as in the effects of operations.
    pub section: Id,
    /// When it ended, `CLOCK_BOOTTIME` in nanoseconds.
    pub boot_ns: Id,
    /// Which process it was.
    pub pid: Option<u32>,
    /// In which system call.
    pub syscall: Option<&'static str>,
    /// Whether nothing of it was lost.
    pub complete: bool,
    /// What happened in it, in order: the first ones.
    pub changes: Vec<ChangeRow>,
    /// How many there were behind these.
    pub more: usize,
}

/// What became of one mount, or of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeRow {
    /// `attach`, `move`, `change`, `detach`, `stands`, `clone`, `group_end` or `namespace_end`.
    pub what: &'static str,
    /// The inode number of the namespace; `None` in a detached tree.
    pub mntns: Option<u32>,
    /// `mnt_id`, or the peer group at the end of one.
    pub id: Option<u32>,
}

/// One mount of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountRow {
    /// `mnt_id`; the kernel uses it again.
    pub mount_id: u32,
    /// `mnt_id_unique`, from 6.8.
    pub mount_id_unique: Option<Id>,
    /// The parent's `mnt_id`.
    pub parent_id: u32,
    /// The superblock's device.
    pub dev: Dev,
    /// Who the mount point's dentry is.
    pub mountpoint: Id,
    /// Who the root's dentry is.
    pub root: Id,
    /// Who the superblock is.
    pub superblock: Id,
    /// Its attributes.
    pub attributes: Attributes,
    /// It can not be bound.
    pub unbindable: bool,
    /// The peer group, when shared.
    pub group: Option<u32>,
    /// The master's peer group, when a slave.
    pub master: Option<u32>,
}

/// A number of 64 bits; printed as text, because a JavaScript reader would round it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// `MNT_*` of `linux/mount.h`; printed by their public names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(pub u32);

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(flags::attributes(self.0))
    }
}

/// The last line of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct End {
    /// Namespaces by state.
    pub tables: States,
    /// Mounts that are in no table, and that somebody still refers to.
    pub detached: u64,
    /// Sections that went into the tables.
    pub sections: u64,
    /// Tables that were read, by reason.
    #[serde(serialize_with = "by_name")]
    pub reads: ReadCounts,
    /// Tables that came into doubt though no fact was lost.
    pub doubted: u64,
    /// Records of audits that were compared so far.
    pub audited: u64,
    /// What they found so far, at most [`MAX_DIFFERENCES`].
    pub differences: Vec<String>,
}

/// Whose a mount namespace is; printed as in the effects of operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceOwner {
    /// Whose, and how.
    pub home: Home,
    /// What that is called, where the runtime has said it.
    pub named: Option<Arc<Named>>,
}

impl Serialize for NamespaceOwner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        OwnerObject::of(&self.home.owner, self.home.role, self.named.as_deref()).serialize(serializer)
    }
}

fn by_name<S: Serializer>(counts: &ReadCounts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.by_name())
}

/// A line: the version comes first, whatever follows.
#[derive(Serialize)]
struct Line<B> {
    version: u32,
    #[serde(flatten)]
    body: B,
}

/// A line behind which the next question may be asked.
#[derive(Serialize)]
struct Last<B> {
    end: bool,
    #[serde(flatten)]
    body: B,
}

#[derive(Serialize)]
struct Refused<'a> {
    error: &'a str,
}

impl Answer {
    /// Its lines, each with its end, one at a time: a table may be large.
    pub fn lines(&self) -> impl Iterator<Item = serde_json::Result<String>> {
        let end = Last { end: true, body: &self.end };
        self.tables
            .iter()
            .map(line)
            .chain(self.detached.iter().map(line))
            .chain(self.sections.iter().map(line))
            .chain(self.disks.iter().map(line))
            .chain(self.volumes.iter().map(line))
            .chain(std::iter::once_with(move || line(end)))
    }
}

/// The line that answers what cannot be answered, with its end.
pub fn refusal(error: &str) -> serde_json::Result<String> {
    line(Last { end: true, body: Refused { error } })
}

fn line(body: impl Serialize) -> serde_json::Result<String> {
    let mut line = serde_json::to_string(&Line { version: VERSION, body })?;
    line.push('\n');
    Ok(line)
}
