//! PURE: the one table of columns: the table, `wide`, `--columns`, `--list-columns` and docs/events.md are made from it or
//! held to it. A new column is a row here and a row there.

mod cell;

pub use cell::{Cell, Keeps, Row};

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Its head, and its name in `--columns`.
    pub name: &'static str,
    /// What it holds.
    pub help: &'static str,
    /// The forms that have it unasked.
    pub shown: Shown,
    /// Cells until the next column begins.
    pub width: usize,
    /// Cells that it may take of the room of its neighbours; more is cut.
    pub max: usize,
    /// Its text in a row.
    pub cell: fn(&Row<'_>) -> Cell,
}

/// Which forms have a column unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// `table` on terminals of at least so many cells, and `wide`.
    From(usize),
    /// `wide`.
    Wide,
    /// None: only `--columns` brings it.
    Asked,
}

/// No text is longer.
const ALL: usize = usize::MAX;

const fn column(
    name: &'static str,
    shown: Shown,
    width: usize,
    cell: fn(&Row<'_>) -> Cell,
    help: &'static str,
) -> Column {
    Column { name, help, shown, width, max: width, cell }
}

impl Column {
    /// It may take this much of its neighbours' room.
    const fn up_to(self, max: usize) -> Self {
        Self { max, ..self }
    }
}

/// Every column, in the order of the table and of `wide`. The path is the last, so that it can have the rest of a line.
pub static COLUMNS: &[Column] = &[
    column("TIME", Shown::From(0), 12, cell::time, "when it ended, UTC"),
    column("OP", Shown::From(0), 11, cell::op, "the operation, or how the line belongs to it").up_to(ALL),
    column("RESULT", Shown::From(0), 6, cell::result, "`OK`, or the errno").up_to(ALL),
    column("DURATION", Shown::Wide, 8, cell::duration, "how long the call took"),
    column("SYSCALL", Shown::Asked, 14, cell::syscall, "the system call"),
    column("CAUSE", Shown::Wide, 7, cell::cause, "a system call, or what else brought it about").up_to(13),
    column("PID", Shown::From(100), 7, cell::pid, "the process that acted, in the initial pid namespace").up_to(10),
    column("TID", Shown::Asked, 7, cell::tid, "the thread that acted").up_to(10),
    column("COMM", Shown::From(0), 10, cell::comm, "the thread's name").up_to(15),
    column("UID", Shown::Wide, 5, cell::uid, "the user that acted").up_to(10),
    column("CGROUP-ID", Shown::Asked, 9, cell::cgroup_id, "the cgroup of the thread").up_to(20),
    column("CALLER-NS", Shown::Asked, 10, cell::caller_ns, "the mount namespace of the thread"),
    column("MNTNS", Shown::From(0), 10, cell::mntns, "the mount namespace that changed, came or went"),
    column("MNTNS-ID", Shown::Wide, 8, cell::mntns_id, "its 64-bit id, never used again").up_to(20),
    column("KIND", Shown::Wide, 6, cell::kind, "`attach`, `detach`, `move` or `change`"),
    column("DEV", Shown::From(90), 7, cell::dev, "the superblock's device").up_to(12),
    column("RDEV", Shown::Asked, 7, cell::rdev, "the block device that its root is the node of").up_to(12),
    column("FSTYPE", Shown::From(110), 8, cell::fstype, "the file system").up_to(16),
    column("SOURCE", Shown::From(140), 16, cell::source, "what is mounted").up_to(24),
    column("ROOT", Shown::Wide, 8, cell::root, "which directory of its file system it shows").up_to(48),
    column("MOUNT-ID", Shown::From(160), 8, cell::mount_id, "the mount's id, as mountinfo has it").up_to(10),
    column("UNIQUE-ID", Shown::Wide, 10, cell::unique_id, "the mount's id that is never used again").up_to(20),
    column("PARENT-ID", Shown::Wide, 10, cell::parent_id, "the same of the mount that it stands on").up_to(20),
    column("PROPAGATION", Shown::From(180), 22, cell::propagation, "its peer group and its master's"),
    column("ATTRIBUTES", Shown::Wide, 16, cell::attributes_of, "the mount's, `MOUNT_ATTR_` left out").up_to(60),
    column("FLAGS", Shown::Wide, 16, cell::flags, "the call's flags").up_to(60),
    column("CLAIMED-SOURCE", Shown::Asked, 16, cell::claimed_source, "the source that the caller gave").up_to(32),
    column("CLAIMED-TARGET", Shown::Asked, 24, cell::claimed_target, "the target that the caller gave").up_to(48),
    column("CLAIMED-FSTYPE", Shown::Asked, 14, cell::claimed_fstype, "the file system that the caller gave").up_to(16),
    column("PATH", Shown::From(0), 24, cell::path, "where it is, from its namespace's root").up_to(ALL),
];

/// The column of this name; upper and lower case, `-` and `_` are the same.
pub fn find(name: &str) -> Option<&'static Column> {
    let name = name.replace('_', "-");
    COLUMNS.iter().find(|column| column.name.eq_ignore_ascii_case(&name))
}

/// One line for each column: its name, the forms that have it, what it holds.
pub fn list() -> Vec<String> {
    let line = |name: &str, shown: &str, help: &str| format!("{name:<14} {shown:<11} {help}");
    let rows = COLUMNS.iter().map(|column| line(column.name, &column.shown.words(), column.help));
    [line("COLUMN", "SHOWN", "MEANING")].into_iter().chain(rows).collect()
}

impl Shown {
    /// In the list and in the docs.
    pub fn words(self) -> String {
        match self {
            Self::From(0) => "table, wide".to_owned(),
            Self::From(width) => format!("{width}+, wide"),
            Self::Wide => "wide".to_owned(),
            Self::Asked => "-".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_have_a_row_for_each_column() {
        let docs = include_str!("../../../docs/events.md");
        let missing: Vec<String> = COLUMNS
            .iter()
            .map(|column| format!("| `{}` | {} | {} |", column.name, column.shown.words(), column.help))
            .filter(|row| !docs.contains(row.as_str()))
            .collect();
        assert!(missing.is_empty(), "docs/events.md lacks\n{}", missing.join("\n"));
    }

    #[test]
    fn every_column_is_found_by_its_name_and_holds_its_head() {
        for column in COLUMNS {
            let typed = column.name.to_lowercase().replace('-', "_");
            assert_eq!(find(&typed).map(|found| found.name), Some(column.name));
            assert!(column.name.len() <= column.width.max(column.max), "{} is wider than its column", column.name);
        }
        assert!(find("nope").is_none());
    }
}
