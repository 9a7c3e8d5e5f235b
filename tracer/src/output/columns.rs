//! PURE: what a column is, and the one table of columns of operations: the table, `wide`, `--columns`, `--list-columns` and
//! docs/events.md are made from it or held to it. A new column is a row here and a row there.

pub(super) mod cell;

pub use cell::{Cell, Keeps, Row};

/// A list that is shown in columns.
pub trait Listing: Copy + std::fmt::Debug + 'static {
    /// What a line is made of.
    type Row<'a>: Copy + std::fmt::Debug;
    /// The column with the lines of a tree before its text: a path.
    const TREE: &'static str;
    /// Every column, in the order of `wide`.
    fn columns() -> &'static [Column<Self>];
}

/// The list of operations that `trace` prints.
#[derive(Clone, Copy, Debug)]
pub struct Operations;

impl Listing for Operations {
    type Row<'a> = Row<'a>;
    const TREE: &'static str = "PATH";

    fn columns() -> &'static [Column<Self>] {
        COLUMNS
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column<L: Listing> {
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
    pub cell: for<'a, 'row> fn(&'a L::Row<'row>) -> Cell,
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

impl<L: Listing> Column<L> {
    /// A column that takes no more than its width.
    pub(super) const fn new(
        name: &'static str,
        shown: Shown,
        width: usize,
        cell: fn(&L::Row<'_>) -> Cell,
        help: &'static str,
    ) -> Self {
        Self { name, help, shown, width, max: width, cell }
    }

    /// It may take this much of its neighbours' room.
    const fn up_to(self, max: usize) -> Self {
        Self { max, ..self }
    }
}

type Of = Column<Operations>;

/// Every column, in the order of the table and of `wide`. The path is the last, so that it can have the rest of a line.
pub static COLUMNS: &[Of] = &[
    Of::new("TIME", Shown::From(0), 12, cell::time, "when it ended, UTC"),
    Of::new("OP", Shown::From(0), 11, cell::op, "the operation, or how the line belongs to it").up_to(ALL),
    Of::new("RESULT", Shown::From(0), 6, cell::result, "`OK`, or the errno").up_to(ALL),
    Of::new("DURATION", Shown::Wide, 8, cell::duration, "how long the call took"),
    Of::new("SYSCALL", Shown::Asked, 14, cell::syscall, "the system call"),
    Of::new("CAUSE", Shown::Wide, 7, cell::cause, "a system call, or what else brought it about").up_to(13),
    Of::new("PID", Shown::From(108), 7, cell::pid, "the process that acted, in the initial pid namespace").up_to(10),
    Of::new("TID", Shown::Asked, 7, cell::tid, "the thread that acted").up_to(10),
    Of::new("COMM", Shown::From(0), 10, cell::comm, "the thread's name").up_to(15),
    Of::new("UID", Shown::Wide, 5, cell::uid, "the user that acted").up_to(10),
    Of::new("CGROUP-ID", Shown::Asked, 9, cell::cgroup_id, "the cgroup of the thread").up_to(20),
    Of::new("CALLER-NS", Shown::Asked, 10, cell::caller_ns, "the mount namespace of the thread"),
    Of::new("MNTNS", Shown::From(0), 10, cell::mntns, "the mount namespace that changed, came or went"),
    Of::new("NAMESPACE", Shown::Wide, 10, cell::pod_namespace, "the pod's namespace").up_to(24),
    Of::new("POD", Shown::From(100), 12, cell::pod, "the pod whose that is, or where no table changed the thread's")
        .up_to(24),
    Of::new("CONTAINER", Shown::From(100), 12, cell::container, "its container likewise").up_to(24),
    Of::new("MNTNS-ID", Shown::Wide, 8, cell::mntns_id, "its 64-bit id, never used again").up_to(20),
    Of::new("KIND", Shown::Wide, 6, cell::kind, "`attach`, `detach`, `move` or `change`"),
    Of::new("DEV", Shown::From(116), 7, cell::dev, "the superblock's device").up_to(12),
    Of::new("RDEV", Shown::Asked, 7, cell::rdev, "the block device that its root is the node of").up_to(12),
    Of::new("FSTYPE", Shown::From(125), 8, cell::fstype, "the file system").up_to(16),
    Of::new("SOURCE", Shown::From(140), 16, cell::source, "what is mounted").up_to(24),
    Of::new("ROOT", Shown::Wide, 8, cell::root, "which directory of its file system it shows").up_to(48),
    Of::new("MOUNT-ID", Shown::From(160), 8, cell::mount_id, "the mount's id, as mountinfo has it").up_to(10),
    Of::new("UNIQUE-ID", Shown::Wide, 10, cell::unique_id, "the mount's id that is never used again").up_to(20),
    Of::new("PARENT-ID", Shown::Wide, 10, cell::parent_id, "the same of the mount that it stands on").up_to(20),
    Of::new("PROPAGATION", Shown::From(180), 22, cell::propagation, "its peer group and its master's"),
    Of::new("ATTRIBUTES", Shown::Wide, 16, cell::attributes_of, "the mount's, `MOUNT_ATTR_` left out").up_to(60),
    Of::new("FLAGS", Shown::Wide, 16, cell::flags, "the call's flags").up_to(60),
    Of::new("CLAIMED-SOURCE", Shown::Asked, 16, cell::claimed_source, "the source that the caller gave").up_to(32),
    Of::new("CLAIMED-TARGET", Shown::Asked, 24, cell::claimed_target, "the target that the caller gave").up_to(48),
    Of::new("CLAIMED-FSTYPE", Shown::Asked, 14, cell::claimed_fstype, "the file system that the caller gave").up_to(16),
    Of::new("PATH", Shown::From(0), 24, cell::path, "where it is, from its namespace's root").up_to(ALL),
];

/// The column of this name; upper and lower case, `-` and `_` are the same.
pub fn find<L: Listing>(name: &str) -> Option<&'static Column<L>> {
    let name = name.replace('_', "-");
    L::columns().iter().find(|column| column.name.eq_ignore_ascii_case(&name))
}

/// One line for each column: its name, the forms that have it, what it holds.
pub fn list<L: Listing>() -> Vec<String> {
    let line = |name: &str, shown: &str, help: &str| format!("{name:<14} {shown:<11} {help}");
    let rows = L::columns().iter().map(|column| line(column.name, &column.shown.words(), column.help));
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
pub(crate) mod tests {
    use super::*;

    /// The rows of a list's columns that the docs do not have.
    pub(crate) fn missing<L: Listing>(docs: &str) -> Vec<String> {
        L::columns()
            .iter()
            .map(|column| format!("| `{}` | {} | {} |", column.name, column.shown.words(), column.help))
            .filter(|row| !docs.contains(row.as_str()))
            .collect()
    }

    #[test]
    fn the_docs_have_a_row_for_each_column() {
        let missing = missing::<Operations>(include_str!("../../../docs/events.md"));
        assert!(missing.is_empty(), "docs/events.md lacks\n{}", missing.join("\n"));
    }

    #[test]
    fn every_column_is_found_by_its_name_and_holds_its_head() {
        for column in COLUMNS {
            let typed = column.name.to_lowercase().replace('-', "_");
            assert_eq!(find::<Operations>(&typed).map(|found| found.name), Some(column.name));
            assert!(column.name.len() <= column.width.max(column.max), "{} is wider than its column", column.name);
        }
        assert!(find::<Operations>("nope").is_none());
    }
}
