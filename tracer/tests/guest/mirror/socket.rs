//! What the mirror holds, asked of the agent by its socket: one JSON object a line, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::super::asking::{AUDIT, Client, SECTIONS, TABLES};
use super::kernel_tables::KernelMount;

/// Reading the tables of a guest takes less than a second, one of twenty thousand mounts ten under emulation.
const START: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(50);
/// An audit under load, on an emulated processor, reads the tables of all namespaces.
const ANSWER: Duration = Duration::from_mins(3);

/// A mount as the mirror has it. The identities say which are the same kernel object, nothing else.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Held {
    #[serde(rename = "mount_id")]
    pub(crate) id: u64,
    #[serde(rename = "mount_id_unique")]
    pub(crate) unique: Option<String>,
    #[serde(rename = "parent_id")]
    pub(crate) parent: u64,
    pub(crate) dev: String,
    #[serde(rename = "mountpoint")]
    pub(crate) point: String,
    pub(crate) root: String,
    pub(crate) superblock: String,
    pub(crate) attributes: BTreeSet<String>,
    pub(crate) unbindable: bool,
    pub(crate) group: Option<u64>,
    pub(crate) master: Option<u64>,
}

/// A namespace's table as the mirror has it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct HeldTable {
    pub(crate) mntns: u64,
    pub(crate) state: String,
    pub(crate) mounts: Vec<Held>,
}

/// The line that ends an answer.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct End {
    pub(crate) sections: u64,
    /// Tables read, by reason.
    pub(crate) reads: BTreeMap<String, u64>,
    /// Tables that came into doubt though no record was lost.
    pub(crate) doubted: u64,
    pub(crate) audited: u64,
    pub(crate) differences: Vec<String>,
}

impl End {
    /// Tables read for any reason but that somebody asked for an audit.
    pub(crate) fn reads_unasked(&self) -> u64 {
        self.reads.iter().filter(|(reason, _)| *reason != "asked").map(|(_, tables)| tables).sum()
    }
}

/// A conversation with the agent.
pub(crate) struct Socket(Client);

impl Socket {
    /// The running agent's.
    pub(crate) fn connect() -> Result<Self> {
        Client::patient(ANSWER).map(Self)
    }

    /// All tables, by the inode of their namespace.
    pub(crate) fn tables(&mut self) -> Result<(BTreeMap<u64, HeldTable>, End)> {
        let (lines, end) = self.ask(TABLES)?;
        let mut tables = BTreeMap::new();
        for line in lines.iter().filter(|line| line.get("detached").is_none()) {
            let table = HeldTable::deserialize(line).with_context(|| format!("a table in another form: {line}"))?;
            let inode = table.mntns;
            if let Some(other) = tables.insert(inode, table) {
                bail!("two living namespaces are number {inode}: {line} and {other:?}");
            }
        }
        Ok((tables, end))
    }

    /// The mounts that are in no table, by `mnt_id`.
    pub(crate) fn detached(&mut self) -> Result<BTreeMap<u64, Held>> {
        let (lines, _) = self.ask(TABLES)?;
        let line = lines.last().and_then(|line| line.get("detached")).context("no line of detached mounts")?;
        let mounts: Vec<Held> = Deserialize::deserialize(line)?;
        Ok(mounts.into_iter().map(|mount| (mount.id, mount)).collect())
    }

    /// The last holds of the namespace semaphore in the order in which they changed the tables, a line for people each.
    pub(crate) fn sections(&mut self) -> Result<Vec<String>> {
        let (lines, _) = self.ask(SECTIONS)?;
        let changes = |section: &Value| -> Option<Vec<String>> {
            let all = section["changes"].as_array()?.iter();
            Some(
                all.map(|change| format!("{} {} in {}", text(&change["what"]), change["id"], change["mntns"]))
                    .collect(),
            )
        };
        let line = |section: &Value| {
            let changes = changes(section).with_context(|| format!("no changes in {section}"))?.join(", ");
            let (number, pid) = (text(&section["section"]), &section["pid"]);
            Ok(format!(
                "{number}: process {pid}, {}: {changes}, and {} more",
                text(&section["syscall"]),
                section["more"]
            ))
        };
        lines.iter().map(line).collect()
    }

    /// Waits until the tables that were there when the agent began have been read.
    pub(crate) fn wait_until_read(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let (tables, _) = self.tables()?;
            if !tables.is_empty() && tables.values().all(|table| table.state == "exact") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "after {START:?} not every table is read: {tables:?}");
            thread::sleep(PAUSE);
        }
    }

    /// Compares the mirror with a reading of all tables, at that reading's place among the events.
    pub(crate) fn audit(&mut self) -> Result<End> {
        let (lines, end) = self.ask(AUDIT)?;
        ensure!(lines.is_empty(), "an audit gave more than its end: {lines:?}");
        Ok(end)
    }

    fn ask(&mut self, question: &str) -> Result<(Vec<Value>, End)> {
        let (lines, end) = self.0.ask(question).with_context(|| format!("asked {question}"))?;
        let end = End::deserialize(&end).with_context(|| format!("asked {question} the agent ends with {end}"))?;
        Ok((lines, end))
    }
}

impl HeldTable {
    /// What `statmount(2)` tells, in the agent's form. An identity is the place's text.
    pub(crate) fn of_statmount(mntns: u64, told: BTreeMap<u64, KernelMount>) -> Self {
        let mounts = told.into_iter().map(|(id, told)| Held {
            id,
            unique: told.unique.map(|unique| unique.to_string()),
            parent: told.parent,
            point: String::new(),
            root: format!("{:?}", told.root),
            superblock: told.dev.clone(),
            dev: told.dev,
            attributes: told.attributes,
            unbindable: told.unbindable,
            group: told.group,
            master: told.master,
        });
        Self { mntns, state: "exact".to_owned(), mounts: mounts.collect() }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("none")
}
