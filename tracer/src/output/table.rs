//! PURE: operations as lines of a table, written as they come: fixed columns, the path last and cut on the left, because its
//! end tells mounts apart. One line for each effect; below the first, `+` marks what propagation brought about and `.`
//! what belongs to the same tree.

#[cfg(test)]
mod tests;

use super::{
    colour::Paint,
    columns::{Operations, Row},
    grid::{Grid, Look},
    json::MAX_EFFECTS,
    tree::{self, Branch},
    words,
};
use crate::{
    clock::Clock,
    operation::{Effect, Operation},
};

/// Lines that one operation may take.
const MAX_LINES: usize = 100;

/// Writes operations for a terminal of one width.
#[derive(Clone, Debug)]
pub struct Table {
    grid: Grid<Operations>,
    tree: bool,
    clock: Clock,
}

impl Table {
    /// For a terminal of `width` columns, or for a file or a pipe.
    pub fn new(look: &Look<Operations>, width: Option<usize>, clock: Clock) -> Self {
        Self { grid: Grid::new(look, width), tree: look.tree, clock }
    }

    /// The head line.
    pub fn head(&self) -> String {
        self.grid.head()
    }

    /// The lines of an operation.
    pub fn lines(&self, operation: &Operation) -> Vec<String> {
        if let Some(gap) = &operation.gap {
            return vec![self.sentence(operation, &words::loss(gap))];
        }
        if let Some(throttled) = &operation.throttled {
            return vec![self.sentence(operation, &words::throttled(throttled))];
        }
        let effects = self.effects(operation);
        let branches = if self.tree { tree::grown(effects, MAX_LINES) } else { tree::flat(effects, MAX_LINES) };
        // A namespace's own line stands above its mounts.
        let alone = branches.is_empty() || operation.namespace.is_some();
        let mut lines: Vec<String> = alone.then(|| self.row(operation, None, "", false)).into_iter().collect();
        for Branch { index, lines: branch } in &branches {
            lines.push(self.row(operation, Some(&effects[*index]), branch, !lines.is_empty()));
        }
        lines.extend(more(effects.len() - branches.len(), operation));
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
        self.grid.line(&row, branch)
    }

    /// Words in place of the columns behind the operation's name.
    fn sentence(&self, operation: &Operation, words: &str) -> String {
        let row = Row { operation, effect: None, below: false, clock: self.clock };
        self.grid.sentence(&row, |column| ["TIME", "OP"].contains(&column.name), words, Paint::Lost)
    }
}

/// What is said of effects that have no line.
fn more(cut: usize, operation: &Operation) -> Option<String> {
    let more = cut as u64 + operation.unlisted;
    (more > 0).then(|| format!("  and {more} more effects; -o json lists {MAX_EFFECTS}"))
}
