//! PURE: mount tables as lines: the columns have findmnt's names, and each mount stands below the one that it is mounted on.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::{
    colour::Paint,
    columns::{
        Cell, Column, Listing,
        Shown::{Asked, From, Wide},
        cell::{groups, inum, number, unknown, walked},
    },
    escape::{escape, escape_source},
    grid::{Choice, Grid, Look},
    tree,
    words::{self, Called},
};
use crate::{
    host::disk::Used,
    listed::{Listed, MountTable, Task},
    options::Shown,
};

/// The list of mounts that `list` prints.
#[derive(Clone, Copy, Debug)]
pub struct Mounts;

/// One line of the list.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// What it shows.
    pub listed: &'a Listed,
    /// Another mount stands on its root, so that nobody reaches it.
    pub covered: bool,
    /// The thread that its table was read through.
    pub task: Option<&'a Task>,
}

/// The name of the column that says which namespace.
const NS: &str = "NS";
/// Wider than any number.
const NUMBER: usize = 20;
/// The length of a pod's uid, and of what is shown of a container's id.
const POD: usize = 36;
const CONTAINER: usize = 12;

impl Listing for Mounts {
    type Row<'a> = Row<'a>;
    const TREE: &'static str = "TARGET";

    fn columns() -> &'static [Column<Self>] {
        COLUMNS
    }
}

type Of = Column<Mounts>;

/// Every column. The options are the last, because they give way first.
static COLUMNS: &[Of] = &[
    Of::new(NS, Asked, NUMBER, ns, "the mount namespace, by inode number"),
    Of::new("NS-ID", Asked, NUMBER, ns_id, "its 64-bit id, never used again"),
    Of::new("NAMESPACE", Asked, CONTAINER, pod_namespace, "the namespace of that process's pod"),
    Of::new("POD", Asked, POD, pod, "the pod of the process that was asked: its name, or else its uid"),
    Of::new("CONTAINER", Asked, CONTAINER, container, "its container: the name, or else twelve digits of the id"),
    Of::new("TARGET", From(0), 32, target, "where it is, from the root of whoever was asked"),
    Of::new("SOURCE", From(0), 12, source, "what is mounted, and in brackets which part of it"),
    Of::new("FSTYPE", From(0), 10, fstype, "the file system"),
    Of::new("FSROOT", Asked, 12, fsroot, "which directory of its file system it shows"),
    Of::new("MAJ:MIN", Wide, NUMBER, dev, "the superblock's device"),
    Of::new("DISK", Wide, 12, disk, "the disks that io.max takes, `none` and why, or `?` and why it is not known"),
    Of::new("PROTECTED", Wide, 12, protected, "what the node itself needs on them, so that they are not limited"),
    Of::new("ID", Wide, NUMBER, id, "the mount's id, as mountinfo has it"),
    Of::new("PARENT", Wide, NUMBER, parent, "the id of the mount that it stands on"),
    Of::new("UNIQUE-ID", Asked, NUMBER, unique_id, "the mount's id that is never used again (Linux 6.11)"),
    Of::new("PROPAGATION", From(120), 22, propagation, "its peer group and its master's"),
    Of::new("VFS-OPTIONS", Asked, 12, vfs_options, "the mount's own options"),
    Of::new("FS-OPTIONS", Asked, 12, fs_options, "those of the file system, as far as they may be seen"),
    Of::new("OPTIONS", From(0), 16, options, "both, as far as they may be seen"),
];

fn ns(row: &Row<'_>) -> Cell {
    inum(row.listed.mount.namespace).into()
}

fn ns_id(row: &Row<'_>) -> Cell {
    number(row.listed.mount.namespace.map(|namespace| namespace.id).filter(|id| *id != 0)).into()
}

impl Row<'_> {
    fn called(&self) -> Called<'_> {
        self.task.map(|task| (&task.owner, task.named.as_ref()))
    }
}

fn pod_namespace(row: &Row<'_>) -> Cell {
    words::pod_namespace(row.called()).into()
}

fn pod(row: &Row<'_>) -> Cell {
    words::pod(row.called()).into()
}

fn container(row: &Row<'_>) -> Cell {
    words::container(row.called()).into()
}

fn target(row: &Row<'_>) -> Cell {
    let paint = if row.covered { Paint::Gone } else { Paint::Plain };
    Cell::from(walked(&row.listed.mount.path)).painted(paint).cut_on_the_left()
}

/// As findmnt has it: `/dev/sda1[/part]`.
fn source(row: &Row<'_>) -> Cell {
    let mount = &row.listed.mount;
    let part = mount.root.as_deref().ok().filter(|root| *root != b"/").map(|root| format!("[{}]", escape(root)));
    let source = mount.source.as_deref().map_or_else(unknown, escape_source);
    Cell::from(source + &part.unwrap_or_default()).cut_on_the_left()
}

fn fstype(row: &Row<'_>) -> Cell {
    escape(&row.listed.mount.fstype).into()
}

fn fsroot(row: &Row<'_>) -> Cell {
    Cell::from(walked(&row.listed.mount.root)).cut_on_the_left()
}

fn dev(row: &Row<'_>) -> Cell {
    row.listed.mount.dev.to_string().into()
}

/// In the kernel's names.
fn disk(row: &Row<'_>) -> Cell {
    let text = match &row.listed.behind {
        None => unknown(),
        Some(Ok(used)) => used.iter().map(|one| one.disk.name.as_str()).collect::<Vec<_>>().join(","),
        Some(Err(why)) => format!("{} ({})", if why.is_unknown() { "?" } else { "none" }, why.as_str()),
    };
    escape(text.as_bytes()).into()
}

/// Of several disks each with its name.
fn protected(row: &Row<'_>) -> Cell {
    let Some(Ok(used)) = &row.listed.behind else { return unknown().into() };
    let several = used.len() > 1;
    let text = |one: &Used| match one.protected.as_deref() {
        None => Some("?".to_owned()),
        Some([]) => None,
        Some(why) if several => Some(format!("{}: {}", one.disk.name, why.join(", "))),
        Some(why) => Some(why.join(", ")),
    };
    let texts: Vec<String> = used.iter().filter_map(text).collect();
    if texts.is_empty() { unknown() } else { escape(texts.join("; ").as_bytes()) }.into()
}

fn id(row: &Row<'_>) -> Cell {
    row.listed.mount.id.to_string().into()
}

fn parent(row: &Row<'_>) -> Cell {
    row.listed.mount.parent_id.to_string().into()
}

fn unique_id(row: &Row<'_>) -> Cell {
    number(row.listed.mount.id_unique).into()
}

fn propagation(row: &Row<'_>) -> Cell {
    groups(&row.listed.mount).into()
}

fn vfs_options(row: &Row<'_>) -> Cell {
    shown(Some(&row.listed.options.vfs))
}

fn fs_options(row: &Row<'_>) -> Cell {
    shown(row.listed.options.fs.as_ref())
}

fn options(row: &Row<'_>) -> Cell {
    shown(Some(&row.listed.options.merged()))
}

fn shown(options: Option<&Shown>) -> Cell {
    options.map(Shown::text).filter(|text| !text.is_empty()).unwrap_or_else(unknown).into()
}

/// What stands above the table of a namespace, where there are several.
pub fn heading(table: &MountTable) -> String {
    let id = if table.namespace.id == 0 { String::new() } else { format!(" (id {})", table.namespace.id) };
    let whose = match &table.task {
        None if table.processes.is_none() => "no process that may be looked into is in it".to_owned(),
        None => "no process is in it".to_owned(),
        Some(task) if task.pid == task.tid => format!("pid {} {}", task.pid, escape(&task.comm)),
        Some(task) => format!("thread {} {} of pid {}", task.tid, escape(&task.comm), task.pid),
    };
    let others = match table.processes.unwrap_or(0).saturating_sub(1) {
        0 => String::new(),
        1 => " and another process".to_owned(),
        more => format!(" and {more} other processes"),
    };
    let owner = table.task.as_ref().map(owner).unwrap_or_default();
    format!("mount namespace {}{id}: {whose}{others}{owner}", table.namespace.inum)
}

fn owner(task: &Task) -> String {
    let called = Some((&task.owner, task.named.as_ref()));
    let container = task.owner.container.as_ref().map(|container| {
        let runtime = container.runtime.map(|runtime| format!("{} ", runtime.name()));
        format!(", {}container {}", runtime.unwrap_or_default(), words::container(called))
    });
    let namespace = task.named.as_ref().map(|_| words::pod_namespace(called) + "/").unwrap_or_default();
    let pod = task.owner.pod.as_ref().map(|_| format!(", pod {namespace}{}", words::pod(called)));
    [container, pod].into_iter().flatten().collect()
}

/// How tables are put together.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// They may be of several namespaces: each stands below its heading, or flat with its namespace in each line.
    pub several: bool,
    /// The names of the columns stand above all.
    pub head: bool,
    /// Cells of the terminal, if it is one.
    pub width: Option<usize>,
}

/// The lines of all tables.
pub fn lines(tables: &[MountTable], look: &Look<Mounts>, frame: Frame) -> Vec<String> {
    let Frame { several, head, width } = frame;
    let mut grid = Grid::new(&with_namespace(look, several && !look.tree), width);
    let sections: Vec<Section<'_>> = tables.iter().map(|table| Section::of(table, look.tree)).collect();
    grid.fit(sections.iter().flat_map(Section::rows));
    let mut lines: Vec<String> = head.then(|| grid.head()).into_iter().collect();
    for section in &sections {
        lines.extend((several && look.tree).then(|| heading(section.table)));
        lines.extend(section.rows().map(|(row, branch)| grid.line(&row, branch)));
    }
    lines
}

fn with_namespace(look: &Look<Mounts>, wanted: bool) -> Look<Mounts> {
    let mut look = look.clone();
    if let (true, Choice::Plus(plus)) = (wanted, &mut look.choice) {
        plus.extend(COLUMNS.iter().find(|column| column.name == NS));
    }
    look
}

/// A table in the order in which it is shown.
struct Section<'a> {
    table: &'a MountTable,
    branches: Vec<tree::Branch>,
    /// The mounts on whose root another one stands.
    covered: HashSet<u32>,
}

impl<'a> Section<'a> {
    fn of(table: &'a MountTable, tree: bool) -> Self {
        let mounts = &table.mounts;
        let plain = |index| tree::Branch { index, lines: String::new() };
        let branches = if tree { tree::of_table(mounts) } else { (0..mounts.len()).map(plain).collect() };
        let places: HashSet<(u32, &[u8])> = mounts.iter().filter_map(|one| place(one, one.mount.id)).collect();
        let covers = |one: &&Listed| {
            // The lowest of all is its own parent.
            one.mount.parent_id != one.mount.id
                && place(one, one.mount.parent_id).is_some_and(|at| places.contains(&at))
        };
        let covered = mounts.iter().filter(covers).map(|one| one.mount.parent_id).collect();
        Self { table, branches, covered }
    }

    fn rows(&self) -> impl Iterator<Item = (Row<'a>, &str)> {
        self.branches.iter().map(|branch| {
            let listed = &self.table.mounts[branch.index];
            let covered = self.covered.contains(&listed.mount.id);
            (Row { listed, covered, task: self.table.task.as_ref() }, branch.lines.as_str())
        })
    }
}

fn place(listed: &Listed, id: u32) -> Option<(u32, &[u8])> {
    listed.mount.path.as_deref().ok().map(|path| (id, path))
}
