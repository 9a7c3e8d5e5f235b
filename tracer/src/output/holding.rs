//! PURE: who holds something, as lines: one for each holder, by what to do first, and below them what an unmount would meet.

#![expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "a column of any list takes its row by reference, and this row is one"
)]

#[cfg(test)]
mod tests;

use super::{
    colour::Paint,
    columns::{
        Cell, Column, Listing,
        Shown::{From, Wide},
        cell::{number, unknown, walked},
    },
    escape::{escape, escape_source},
    grid::{Grid, Look},
    words::{self, Called},
};
use crate::{
    holders::{Blocks, Holder, Target, User, Who, Why, remedy},
    listed::{Listed, MountTable, Task},
};

/// The list of holders that `who` prints.
#[derive(Clone, Copy, Debug)]
pub struct Holders;

/// The longest number, and what is left of a pod and of a container where there is little room.
const NUMBER: usize = 10;
const POD: usize = 12;
const CONTAINER: usize = 12;

impl Listing for Holders {
    type Row<'a> = &'a Holder<'a>;
    const TREE: &'static str = "PATH";

    fn columns() -> &'static [Column<Self>] {
        COLUMNS
    }
}

type Of = Column<Holders>;

/// Every column.
static COLUMNS: &[Of] = &[
    Of::new(
        "BLOCKS",
        From(0),
        7,
        blocks,
        "`unmount`: umount(2) fails with EBUSY; `device`: the file system and its device stay in use",
    ),
    Of::new("WHAT", From(0), 7, what, "`process`, `mount`, or what the kernel uses it for"),
    Of::new("PID", From(0), NUMBER, pid, "the process"),
    Of::new("COMM", From(0), 10, comm, "its name"),
    Of::new("MNTNS", From(0), NUMBER, mntns, "the mount namespace, by inode number"),
    Of::new("NAMESPACE", Wide, CONTAINER, pod_namespace, "the namespace of the pod"),
    Of::new(
        "POD",
        From(80),
        POD,
        pod,
        "the pod of the process, or of the mount's namespace: its name, or else its uid",
    ),
    Of::new("CONTAINER", From(100), CONTAINER, container, "its container: the name, or else twelve digits of the id"),
    Of::new("HOW", From(0), 14, how, "what a process does there, how often; what a mount is to it"),
    Of::new("WHY", Wide, 20, why, "why it counts"),
    Of::new("MOUNT-ID", Wide, NUMBER, mount_id, "the mount that is kept, as mountinfo has it"),
    Of::new("PATH", From(0), 20, path, "the first file that it keeps, or where it is mounted, in its own namespace"),
    Of::new("DO", From(160), 20, todo, "what ends it"),
];

fn blocks(row: &&Holder<'_>) -> Cell {
    match row.blocks {
        Blocks::Nothing => unknown().into(),
        Blocks::Unmount => Cell::from("unmount").painted(Paint::Failed),
        Blocks::Device => "device".into(),
    }
}

/// What a holder is.
pub(super) fn kind(holder: &Holder<'_>) -> &'static str {
    match holder.who {
        Who::Process(_) => "process",
        Who::Mount(..) => "mount",
        Who::Kernel(User::Loop { .. }) => "loop",
        Who::Kernel(User::Swap { .. }) => "swap",
        Who::Kernel(User::Stacked { .. }) => "device",
    }
}

fn what(row: &&Holder<'_>) -> Cell {
    kind(row).into()
}

/// The process, or one that is in the namespace of the mount.
pub(super) fn task<'a>(holder: &Holder<'a>) -> Option<&'a Task> {
    match holder.who {
        Who::Process(process) => Some(&process.task),
        Who::Mount(table, _) => table.task.as_ref(),
        Who::Kernel(_) => None,
    }
}

/// The namespace of the process or of the mount.
pub(super) fn namespace(holder: &Holder<'_>) -> Option<u32> {
    match holder.who {
        Who::Process(process) => process.namespace,
        Who::Mount(table, _) => Some(table.namespace.inum),
        Who::Kernel(_) => None,
    }
}

fn called<'a>(holder: &Holder<'a>) -> Called<'a> {
    task(holder).map(|task| (&task.owner, task.named.as_ref()))
}

/// Of a mount nobody: the process that its table was read through does not hold it.
fn process<'a>(holder: &Holder<'a>) -> Option<&'a Task> {
    task(holder).filter(|_| matches!(holder.who, Who::Process(_)))
}

fn pid(row: &&Holder<'_>) -> Cell {
    number(process(row).map(|task| task.pid.into())).into()
}

fn comm(row: &&Holder<'_>) -> Cell {
    process(row).map_or_else(unknown, |task| escape(&task.comm)).into()
}

fn mntns(row: &&Holder<'_>) -> Cell {
    number(namespace(row).map(u64::from)).into()
}

fn pod_namespace(row: &&Holder<'_>) -> Cell {
    words::pod_namespace(called(row)).into()
}

fn pod(row: &&Holder<'_>) -> Cell {
    words::pod(called(row)).into()
}

fn container(row: &&Holder<'_>) -> Cell {
    words::container(called(row)).into()
}

fn how(row: &&Holder<'_>) -> Cell {
    if row.does.is_empty() {
        return row.why.short().into();
    }
    let often = |count: usize| if count > 1 { format!(" {count}") } else { String::new() };
    let does: Vec<String> = row.does.iter().map(|(how, (count, _))| how.name().to_owned() + &often(*count)).collect();
    does.join(", ").into()
}

fn why(row: &&Holder<'_>) -> Cell {
    row.why.words().into()
}

fn mount_id(row: &&Holder<'_>) -> Cell {
    number(row.mount.map(|(_, listed)| listed.mount.id.into())).into()
}

fn path(row: &&Holder<'_>) -> Cell {
    let path = match row.who {
        Who::Process(_) => row.does.values().next().map_or_else(unknown, |(_, path)| escape(path)),
        Who::Mount(_, listed) => walked(&listed.mount.path),
        Who::Kernel(User::Loop { file: (path, _), .. } | User::Swap { path, .. }) => escape(path),
        Who::Kernel(User::Stacked { name, .. }) => format!("/dev/{}", escape(name.as_bytes())),
    };
    Cell::from(path).cut_on_the_left()
}

fn todo(row: &&Holder<'_>) -> Cell {
    remedy(row).unwrap_or_else(unknown).into()
}

/// All lines: what is held, its holders, and what comes of it.
pub fn lines(
    asked: &Asked<'_>,
    holders: &[Holder<'_>],
    look: &Look<Holders>,
    head: bool,
    width: Option<usize>,
) -> Vec<String> {
    let mut lines = vec![asked.heading()];
    if !holders.is_empty() {
        let mut grid = Grid::new(look, width);
        grid.fit(holders.iter().map(|holder| (holder, "")));
        lines.extend(head.then(|| grid.head()));
        lines.extend(holders.iter().map(|holder| grid.line(&holder, "")));
    }
    lines.push(asked.conclusion(holders));
    lines
}

/// What was asked about, for people.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// As it was typed.
    pub typed: &'a str,
    /// What that is.
    pub target: &'a Target,
    /// The mount that is meant, where one is.
    pub mount: Option<(&'a MountTable, &'a Listed)>,
}

impl Asked<'_> {
    fn heading(&self) -> String {
        let typed = escape(self.typed.as_bytes());
        match (self.target, self.mount) {
            (Target::Mount(id), Some((table, listed))) => {
                let mount = &listed.mount;
                let path = walked(&mount.path);
                let on = if path == typed { typed } else { format!("{typed} lies on {path}") };
                let source = mount.source.as_deref().map_or_else(unknown, escape_source);
                let (fstype, inum) = (escape(&mount.fstype), table.namespace.inum);
                format!("{on}: {fstype} of {source} ({}), mount {id} of mount namespace {inum}", mount.dev)
            }
            (Target::Mount(id), None) => format!("mount {id}"),
            (Target::Devices { nodes, superblocks }, _) => {
                let numbers = |all: &std::collections::BTreeSet<_>| {
                    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let device = format!("block device {}", numbers(nodes));
                let systems = format!("file systems {}", numbers(superblocks));
                match (nodes.is_empty(), nodes == superblocks) {
                    (true, _) => format!("{typed}: {systems}"),
                    (_, true) => format!("{typed}: {device}"),
                    _ => format!("{typed}: {device}, {systems}"),
                }
            }
        }
    }

    /// What an unmount would meet, or who has the device, and what to do first.
    fn conclusion(&self, holders: &[Holder<'_>]) -> String {
        let count = |blocks| holders.iter().filter(|holder| holder.blocks == blocks).count();
        let first = holders.iter().find(|holder| holder.blocks != Blocks::Nothing);
        let first = first.and_then(remedy).map(|remedy| format!("; first: {remedy}")).unwrap_or_default();
        let verb = |number: usize| if number == 1 { "holder stands" } else { "holders stand" };
        let (unmount, device) = (count(Blocks::Unmount), count(Blocks::Device));
        match self.target {
            Target::Devices { .. } if device == 0 => "nobody that can be seen uses the device".to_owned(),
            Target::Devices { .. } => format!("{device} {} in the way of taking the device away{first}", verb(device)),
            Target::Mount(_) if unmount > 0 => {
                format!("unmounting it fails with EBUSY: {unmount} {} in the way{first}", verb(unmount))
            }
            Target::Mount(_) if device > 0 => format!(
                "nothing that can be seen stands in the way of unmounting it; but {device} more {} in the way of its device{first}",
                verb(device)
            ),
            Target::Mount(_) => "nothing that can be seen stands in the way of unmounting it".to_owned(),
        }
    }
}

impl Why {
    /// What a mount is to what was asked about, in a cell.
    fn short(self) -> &'static str {
        match self {
            Self::Below => "mounted below",
            Self::SameFileSystem => "same fs",
            Self::CopyStays => "copy stays",
            Self::GoesAlong => "goes along",
            _ => "in use",
        }
    }
}
