//! PURE: the mirror's tables and counts as answers.

use super::{
    Answer, Attributes, ChangeRow, Detached, End, Id, MAX_DETACHED, MAX_DIFFERENCES, MountRow, NamespaceOwner,
    Question, SectionRow, Table,
};
use crate::{
    mirror::{self, Change, Entry, Mirror, Seen, State},
    operation::{Namespace, Syscall},
};

impl Question {
    /// What the mirror answers; for an audit what it found so far.
    pub fn answered_by(self, mirror: &Mirror, whose: impl Fn(Namespace) -> Option<NamespaceOwner>) -> Answer {
        let end = Answer { end: end(mirror), ..Answer::default() };
        match self {
            Self::Tables => {
                let detached = rows(mirror.detached().take(MAX_DETACHED));
                Answer { tables: tables(mirror, whose), detached: Some(Detached { detached }), ..end }
            }
            Self::Sections => Answer { sections: mirror.lately().map(section_row).collect(), ..end },
            Self::Audit | Self::Disks | Self::Volumes => end,
        }
    }
}

/// In the order of their ids.
fn tables(mirror: &Mirror, whose: impl Fn(Namespace) -> Option<NamespaceOwner>) -> Vec<Table> {
    let table = |(namespace, table)| row(namespace, table, whose(namespace));
    let mut tables: Vec<Table> = mirror.tables().map(table).collect();
    let unmet = |mntns| {
        let owner = whose(Namespace { inum: mntns, id: 0 });
        Table { mntns, mntns_id: None, state: State::Unread.name(), owner, mounts: Vec::new() }
    };
    tables.extend(mirror.unmet().into_iter().map(unmet));
    tables.sort_unstable_by_key(|table| (table.mntns_id, table.mntns));
    tables
}

fn row(namespace: Namespace, table: &mirror::Table, owner: Option<NamespaceOwner>) -> Table {
    let mounts = rows(table.mounts.values());
    Table { mntns: namespace.inum, mntns_id: Some(Id(namespace.id)), state: table.state.name(), owner, mounts }
}

fn rows<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<MountRow> {
    let mut mounts: Vec<MountRow> = entries.map(mount_row).collect();
    mounts.sort_unstable_by_key(|mount| mount.mount_id);
    mounts
}

fn mount_row(entry: &Entry) -> MountRow {
    MountRow {
        mount_id: entry.id,
        mount_id_unique: entry.id_unique.map(Id),
        parent_id: entry.parent_id,
        dev: entry.dev,
        mountpoint: Id(entry.mountpoint),
        root: Id(entry.root),
        superblock: Id(entry.superblock),
        attributes: Attributes(entry.flags),
        unbindable: entry.unbindable,
        group: entry.shared,
        master: entry.master,
    }
}

fn section_row(seen: &Seen) -> SectionRow {
    SectionRow {
        section: Id(seen.number),
        boot_ns: Id(seen.end_ns),
        pid: seen.pid,
        syscall: seen.syscall.map(Syscall::name),
        complete: seen.complete,
        changes: seen.changes.iter().map(change_row).collect(),
        more: seen.more,
    }
}

fn change_row(change: &Change) -> ChangeRow {
    ChangeRow {
        what: change.what.name(),
        mntns: change.namespace.map(|namespace| namespace.inum).filter(|inum| *inum != 0),
        id: change.id,
    }
}

fn end(mirror: &Mirror) -> End {
    let audit = mirror.audit();
    let sizes = mirror.sizes();
    End {
        tables: sizes.states,
        detached: sizes.detached,
        sections: mirror.sections(),
        reads: mirror.reads().counts(),
        doubted: mirror.doubted(),
        audited: audit.compared(),
        differences: audit.differences().take(MAX_DIFFERENCES).map(str::to_owned).collect(),
    }
}
