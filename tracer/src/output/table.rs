//! Operations as lines of a table, written as they come: fixed columns, the path last and cut on the left, because its
//! end tells mounts apart. One line for each effect; below the first, `+` marks what propagation brought about and `.`
//! what belongs to the same tree.

use std::fmt::Write as _;

use super::{escape::escape, flags::errno_name};
use crate::{
    clock::Clock,
    operation::{Actor, Effect, Mount, Operation},
};

/// Lines that one operation may take.
const MAX_LINES: usize = 100;
/// The narrowest path that still tells something.
const MIN_PATH: usize = 16;

/// A column: its head, its width, and the width of the table from which on it is shown.
struct Column {
    head: &'static str,
    width: usize,
    from: usize,
    cell: fn(&Row<'_>) -> String,
}

/// What a line is about.
struct Row<'a> {
    operation: &'a Operation,
    mount: Option<&'a Mount>,
    /// Instead of the operation's name on the lines below its first.
    mark: Option<&'static str>,
    clock: Clock,
}

/// The one table of columns. The path follows behind them all.
const COLUMNS: &[Column] = &[
    Column {
        head: "TIME",
        width: 12,
        from: 0,
        cell: |row| row.first(|row| row.clock.time_of_day(row.operation.end_ns)),
    },
    Column { head: "OP", width: 11, from: 0, cell: op },
    Column { head: "RESULT", width: 6, from: 0, cell: |row| row.first(result) },
    Column { head: "PID", width: 7, from: 100, cell: |row| row.first(|row| row.actor(|actor| actor.pid.to_string())) },
    Column { head: "COMM", width: 10, from: 0, cell: |row| row.first(|row| row.actor(|actor| escape(&actor.comm))) },
    Column { head: "MNTNS", width: 10, from: 0, cell: |row| row.mount(namespace) },
    Column { head: "DEV", width: 7, from: 0, cell: |row| row.mount(|mount| mount.dev.to_string()) },
    Column { head: "FSTYPE", width: 8, from: 100, cell: |row| row.mount(|mount| escape(&mount.fstype)) },
    Column { head: "MNT-ID", width: 7, from: 120, cell: |row| row.mount(|mount| mount.id.to_string()) },
    Column { head: "PROPAGATION", width: 22, from: 160, cell: |row| row.mount(propagation) },
];

/// Writes operations for a terminal of one width.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The terminal's; `None` where there is none, and nothing needs to be cut.
    width: Option<usize>,
    clock: Clock,
}

impl Table {
    /// For a terminal of `width` columns, or for a file or a pipe.
    pub fn new(width: Option<usize>, clock: Clock) -> Self {
        Self { width, clock }
    }

    /// The head line.
    pub fn head(&self) -> String {
        self.line(|column| column.head.to_owned(), "PATH".to_owned())
    }

    /// The lines of an operation.
    pub fn lines(&self, operation: &Operation) -> Vec<String> {
        let effects = operation.effects.as_deref().unwrap_or_default();
        if effects.is_empty() {
            let target = operation.call.as_ref().and_then(|call| call.target.as_ref());
            return vec![self.row(operation, target, None)];
        }
        let shown = effects.iter().take(MAX_LINES).enumerate();
        let mark = |effect: &Effect| if effect.propagated == Some(true) { "+" } else { "." };
        let mut lines: Vec<String> = shown
            .map(|(index, effect)| self.row(operation, Some(&effect.mount), (index > 0).then(|| mark(effect))))
            .collect();
        if effects.len() > MAX_LINES {
            lines.push(format!("  and {} more effects; -o json lists 1000", effects.len() - MAX_LINES));
        }
        lines
    }

    fn row(&self, operation: &Operation, mount: Option<&Mount>, mark: Option<&'static str>) -> String {
        let row = Row { operation, mount, mark, clock: self.clock };
        let path = match mount.map(|mount| &mount.path) {
            Some(Ok(path)) => escape(path),
            Some(Err(gap)) => format!("({})", gap.name()),
            None => "-".to_owned(),
        };
        self.line(|column| (column.cell)(&row), path)
    }

    fn line(&self, cell: impl Fn(&Column) -> String, path: String) -> String {
        let mut line = String::new();
        for column in COLUMNS.iter().filter(|column| self.width.is_none_or(|width| column.from <= width)) {
            let cell = cut_right(&cell(column), column.width);
            let _ = write!(line, "{cell:<width$} ", width = column.width);
        }
        let room = self.width.map(|width| width.saturating_sub(line.chars().count()).max(MIN_PATH));
        line.push_str(&match room {
            Some(room) => cut_left(path, room),
            None => path,
        });
        line
    }
}

impl Row<'_> {
    /// A cell that only the operation's first line has.
    fn first(&self, cell: impl Fn(&Self) -> String) -> String {
        if self.mark.is_some() { String::new() } else { cell(self) }
    }

    fn actor(&self, cell: impl Fn(&Actor) -> String) -> String {
        self.operation.actor.as_ref().map_or_else(|| "-".to_owned(), cell)
    }

    fn mount(&self, cell: impl Fn(&Mount) -> String) -> String {
        self.mount.map_or_else(|| "-".to_owned(), cell)
    }
}

fn op(row: &Row<'_>) -> String {
    row.mark.unwrap_or(row.operation.op.name()).to_owned()
}

fn result(row: &Row<'_>) -> String {
    row.operation.call.as_ref().map_or_else(|| "-".to_owned(), |call| errno_name(call.errno))
}

fn namespace(mount: &Mount) -> String {
    mount.namespace.map_or_else(|| "-".to_owned(), |namespace| namespace.inum.to_string())
}

fn propagation(mount: &Mount) -> String {
    let words = [
        mount.shared.map(|group| format!("shared:{group}")),
        mount.master.map(|group| format!("master:{group}")),
        mount.unbindable.then(|| "unbindable".to_owned()),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { "private".to_owned() } else { words.join(",") }
}

fn cut_right(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn cut_left(text: String, width: usize) -> String {
    let len = text.chars().count();
    if len <= width {
        return text;
    }
    ['…'].into_iter().chain(text.chars().skip(len - width + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{EffectKind, Op, tests::mount};

    fn operation(path: &str) -> Operation {
        let direct = Mount { path: Ok(path.as_bytes().to_vec()), ..mount(2) };
        let effect =
            |mount, propagated| Effect { kind: EffectKind::Attach, propagated: Some(propagated), section: None, mount };
        Operation {
            effects: Some(vec![effect(direct.clone(), false), effect(direct, true)]),
            ..Operation::bare(Op::Automount, 0)
        }
    }

    #[test]
    fn a_line_fits_and_keeps_the_end_of_its_path() {
        let clock = Clock::new(0, 0);
        let path = "/var/lib/kubelet/pods/0b7cf5a4/volumes/kubernetes.io~csi/pvc-1/mount";
        for width in [80, 200] {
            let table = Table::new(Some(width), clock);
            for line in table.lines(&operation(path)).iter().chain([&table.head()]) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            assert!(table.lines(&operation(path))[0].ends_with("pvc-1/mount"));
        }
    }

    #[test]
    fn nothing_is_cut_where_there_is_no_terminal() {
        let path = "/very/long".repeat(50);
        let lines = Table::new(None, Clock::new(0, 0)).lines(&operation(&path));
        assert!(lines[0].ends_with(&path));
    }

    #[test]
    fn what_propagated_stands_below_with_a_plus() {
        let lines = Table::new(Some(80), Clock::new(0, 0)).lines(&operation("/mnt"));
        assert!(lines[0].starts_with("00:00:00.000 automount"), "{}", lines[0]);
        assert_eq!(lines[1].trim_start().chars().next(), Some('+'), "{}", lines[1]);
    }
}
