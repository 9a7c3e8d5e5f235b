//! PURE: operations as lines of a table, written as they come: fixed columns, the path last and cut on the left, because its
//! end tells mounts apart. One line for each effect; below the first, `+` marks what propagation brought about and `.`
//! what belongs to the same tree.
//!
//! A text that is longer than its column takes room of the next ones, which fall back into their places as soon as
//! they can: a table of a stream does not know its longest text.

#[cfg(test)]
mod tests;

use std::iter;

use super::{
    colour::Paint,
    columns::{COLUMNS, Cell, Column, Keeps, Row, Shown},
    cut,
    tree::{self, Branch},
    words,
};
use crate::{
    clock::Clock,
    operation::{Effect, Operation},
};

/// Lines that one operation may take.
const MAX_LINES: usize = 100;
/// The narrowest path that still tells something.
const MIN_STRETCH: usize = 12;

/// What the user wants to see.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Every column of `wide`, and nothing cut.
    pub wide: bool,
    /// Which columns.
    pub choice: Choice,
    /// Effects as trees.
    pub tree: bool,
    /// Whether to paint.
    pub colour: bool,
}

/// Which columns the user wants.
#[derive(Clone, Debug)]
pub enum Choice {
    /// Those of the form, and these at their places.
    Plus(Vec<&'static Column>),
    /// These, in this order.
    Only(Vec<&'static Column>),
}

impl Default for Choice {
    fn default() -> Self {
        Self::Plus(Vec::new())
    }
}

/// Writes operations for a terminal of one width.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<&'static Column>,
    /// The terminal's; `None` where there is none, or where nothing is to be cut.
    width: Option<usize>,
    tree: bool,
    colour: bool,
    clock: Clock,
}

impl Table {
    /// For a terminal of `width` columns, or for a file or a pipe.
    pub fn new(look: &Look, width: Option<usize>, clock: Clock) -> Self {
        let columns = chosen(look, width);
        let width = width.filter(|_| !look.wide);
        Self { columns, width, tree: look.tree, colour: look.colour, clock }
    }

    /// The head line.
    pub fn head(&self) -> String {
        self.line(|column| column.name.into(), "")
    }

    /// The lines of an operation.
    pub fn lines(&self, operation: &Operation) -> Vec<String> {
        if let Some(gap) = &operation.gap {
            return vec![self.sentence(operation, &words::loss(gap))];
        }
        let effects = self.effects(operation);
        let branches = if self.tree { tree::grown(effects, MAX_LINES) } else { tree::flat(effects, MAX_LINES) };
        // A namespace's own line stands above its mounts.
        let alone = branches.is_empty() || operation.namespace.is_some();
        let mut lines: Vec<String> = alone.then(|| self.row(operation, None, "", false)).into_iter().collect();
        for Branch { index, lines: branch } in &branches {
            lines.push(self.row(operation, Some(&effects[*index]), branch, !lines.is_empty()));
        }
        if effects.len() > branches.len() {
            lines.push(format!("  and {} more effects; -o json lists 1000", effects.len() - branches.len()));
        }
        lines
    }

    /// A namespace takes a line and not one for each of its mounts, unless a tree was asked for.
    fn effects<'a>(&self, operation: &'a Operation) -> &'a [Effect] {
        if operation.namespace.is_some() && !self.tree {
            return &[];
        }
        operation.effects.as_deref().unwrap_or_default()
    }

    fn row(&self, operation: &Operation, effect: Option<&Effect>, branch: &str, below: bool) -> String {
        let row = Row { operation, effect, below, clock: self.clock };
        self.line(|column| (column.cell)(&row), branch)
    }

    /// Words in place of the columns behind the operation's name. They are not cut: a terminal breaks them.
    fn sentence(&self, operation: &Operation, words: &str) -> String {
        let row = Row { operation, effect: None, below: false, clock: self.clock };
        let mut line = Line::new(self.colour);
        for column in self.columns.iter().take_while(|column| ["TIME", "OP"].contains(&column.name)) {
            let Cell { text, paint, .. } = (column.cell)(&row);
            line.cell(&text, paint, column.width);
        }
        line.cell(words, Paint::Lost, 0);
        line.text
    }

    fn line(&self, cell: impl Fn(&Column) -> Cell, branch: &str) -> String {
        let mut line = Line::new(self.colour);
        for (place, column) in self.columns.iter().enumerate() {
            let Cell { text, paint, keeps } = cell(column);
            let (branch, last) = (if column.name == "PATH" { branch } else { "" }, place + 1 == self.columns.len());
            let text = match self.room(column, last.then(|| line.begin())) {
                Some(room) => fitted(keeps, branch, &text, room),
                None => format!("{branch}{text}"),
            };
            line.cell(&text, paint, if last { 0 } else { self.stretched(column) });
        }
        line.text
    }

    /// Cells that a text may take. The last column has the rest of the line, from `at` on.
    fn room(&self, column: &Column, at: Option<usize>) -> Option<usize> {
        let width = self.width?;
        Some(match at {
            Some(at) => width.saturating_sub(at).max(MIN_STRETCH),
            None if column.name == "PATH" => self.stretched(column),
            None => column.max,
        })
    }

    /// Cells until the next column begins: a path that is not the last one takes what the others leave.
    fn stretched(&self, column: &Column) -> usize {
        let Some(width) = self.width.filter(|_| column.name == "PATH") else { return column.width };
        let others = self.columns.iter().filter(|other| other.name != "PATH");
        width.saturating_sub(others.map(|other| other.width + 1).sum()).max(MIN_STRETCH)
    }
}

/// The columns that the user wants and the terminal has room for.
fn chosen(look: &Look, width: Option<usize>) -> Vec<&'static Column> {
    let plus = match &look.choice {
        Choice::Only(columns) => return columns.clone(),
        Choice::Plus(columns) => columns,
    };
    let unasked = |column: &Column| match column.shown {
        Shown::From(from) => look.wide || width.is_none_or(|width| from <= width),
        Shown::Wide => look.wide,
        Shown::Asked => false,
    };
    let added = |column: &Column| plus.iter().any(|plus| plus.name == column.name);
    COLUMNS.iter().filter(|column| unasked(column) || added(column)).collect()
}

/// A text in its room. The lines of a tree give way to it where they would leave nothing.
fn fitted(keeps: Keeps, branch: &str, text: &str, room: usize) -> String {
    let branch = cut::left(branch, room.saturating_sub(MIN_STRETCH.min(cut::cells(text))).max(1));
    let room = room.saturating_sub(cut::cells(&branch)).max(1);
    branch
        + &match keeps {
            Keeps::Beginning => cut::right(text, room),
            Keeps::End => cut::left(text, room),
        }
}

/// A line that is being written.
struct Line {
    text: String,
    /// Cells that the text takes.
    cells: usize,
    /// Where the next column begins.
    stop: usize,
    colour: bool,
}

impl Line {
    fn new(colour: bool) -> Self {
        Self { text: String::new(), cells: 0, stop: 0, colour }
    }

    /// Where the next text begins: at its column, or a blank behind a text that took its room.
    fn begin(&self) -> usize {
        let behind = if self.cells == 0 { 0 } else { self.cells + 1 };
        self.stop.max(behind)
    }

    /// A text, with the blanks before it: those behind the last text of a line are never written.
    fn cell(&mut self, text: &str, paint: Paint, width: usize) {
        if !text.is_empty() {
            let begin = self.begin();
            self.text.extend(iter::repeat_n(' ', begin - self.cells));
            self.text.push_str(&if self.colour { paint.on(text) } else { text.to_owned() });
            self.cells = begin + cut::cells(text);
        }
        self.stop += width + 1;
    }
}
