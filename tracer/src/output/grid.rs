//! PURE: rows as lines of columns, cut to a terminal: fixed columns, the last of which has the rest of the line. A list that
//! is known as a whole first has its columns fitted to it.
//!
//! A text that is longer than its column takes room of the next ones, which fall back into their places as soon as
//! they can: a table of a stream does not know its longest text.

use std::iter;

use super::{
    colour::Paint,
    columns::{Cell, Column, Keeps, Listing, Shown},
    cut,
};

/// The narrowest path that still tells something.
const MIN_STRETCH: usize = 12;

/// What the user wants to see.
#[derive(Clone, Debug)]
pub struct Look<L: Listing> {
    /// Every column of `wide`, and nothing cut.
    pub wide: bool,
    /// Which columns.
    pub choice: Choice<L>,
    /// As trees.
    pub tree: bool,
    /// Whether to paint.
    pub colour: bool,
}

impl<L: Listing> Default for Look<L> {
    fn default() -> Self {
        Self { wide: false, choice: Choice::default(), tree: false, colour: false }
    }
}

/// Which columns the user wants.
#[derive(Clone, Debug)]
pub enum Choice<L: Listing> {
    /// Those of the form, and these at their places.
    Plus(Vec<&'static Column<L>>),
    /// These, in this order.
    Only(Vec<&'static Column<L>>),
}

impl<L: Listing> Default for Choice<L> {
    fn default() -> Self {
        Self::Plus(Vec::new())
    }
}

/// The columns of a list, on a terminal of one width.
#[derive(Clone, Debug)]
pub struct Grid<L: Listing> {
    columns: Vec<Column<L>>,
    /// The terminal's; `None` where there is none, or where nothing is to be cut.
    width: Option<usize>,
    /// Its columns have their widths, and no path takes what the others leave.
    fitted: bool,
    colour: bool,
}

impl<L: Listing> Grid<L> {
    /// For a terminal of `width` columns, or for a file or a pipe.
    pub fn new(look: &Look<L>, width: Option<usize>) -> Self {
        let columns = chosen(look, width).into_iter().copied().collect();
        Self { columns, width: width.filter(|_| !look.wide), fitted: false, colour: look.colour }
    }

    /// The head line.
    pub fn head(&self) -> String {
        self.texts(|column| column.name.into(), "")
    }

    /// The line of a row, with these lines of a tree.
    pub fn line(&self, row: &L::Row<'_>, branch: &str) -> String {
        self.texts(|column| (column.cell)(row), branch)
    }

    /// Words in place of the columns from the first one on that `keeps` refuses. They are not cut: a terminal breaks them.
    pub fn sentence(&self, row: &L::Row<'_>, keeps: impl Fn(&Column<L>) -> bool, words: &str, paint: Paint) -> String {
        let mut line = Line::new(self.colour);
        for column in self.columns.iter().take_while(|column| keeps(column)) {
            let Cell { text, paint, .. } = (column.cell)(row);
            line.cell(&text, paint, column.width);
        }
        line.cell(words, paint, 0);
        line.text
    }

    /// Each column as wide as its longest text. Where that is too much, the last column gives way first, down to its least
    /// width, and then the widest ones.
    pub fn fit<'a>(&mut self, rows: impl Iterator<Item = (L::Row<'a>, &'a str)>) {
        let mut wanted: Vec<usize> = self.columns.iter().map(|column| column.name.len()).collect();
        for (row, branch) in rows {
            for (column, wanted) in self.columns.iter().zip(&mut wanted) {
                let before = if column.name == L::TREE { cut::cells(branch) } else { 0 };
                *wanted = (*wanted).max(before + cut::cells(&(column.cell)(&row).text));
            }
        }
        if let Some(width) = self.width {
            let least: Vec<usize> = self.columns.iter().map(|column| column.width.max(column.name.len())).collect();
            squeeze(&mut wanted, &least, width);
        }
        for (column, width) in self.columns.iter_mut().zip(wanted) {
            (column.width, column.max) = (width, width);
        }
        self.fitted = true;
    }

    fn texts(&self, cell: impl Fn(&Column<L>) -> Cell, branch: &str) -> String {
        let mut line = Line::new(self.colour);
        for (place, column) in self.columns.iter().enumerate() {
            let Cell { text, paint, keeps } = cell(column);
            let (branch, last) = (if column.name == L::TREE { branch } else { "" }, place + 1 == self.columns.len());
            let text = match self.room(column, last.then(|| line.begin())) {
                Some(room) => fitted(keeps, branch, &text, room),
                None => format!("{branch}{text}"),
            };
            line.cell(&text, paint, if last { 0 } else { self.stretched(column) });
        }
        line.text
    }

    /// Cells that a text may take. The last column has the rest of the line, from `at` on.
    fn room(&self, column: &Column<L>, at: Option<usize>) -> Option<usize> {
        let width = self.width?;
        Some(match at {
            Some(at) => width.saturating_sub(at).max(MIN_STRETCH),
            None if column.name == L::TREE && !self.fitted => self.stretched(column),
            None => column.max,
        })
    }

    /// Cells until the next column begins: a path that is not the last one takes what the others leave.
    fn stretched(&self, column: &Column<L>) -> usize {
        let Some(width) = self.width.filter(|_| column.name == L::TREE && !self.fitted) else { return column.width };
        let others = self.columns.iter().filter(|other| other.name != L::TREE);
        width.saturating_sub(others.map(|other| other.width + 1).sum()).max(MIN_STRETCH)
    }
}

/// The columns that the user wants and the terminal has room for.
fn chosen<L: Listing>(look: &Look<L>, width: Option<usize>) -> Vec<&'static Column<L>> {
    let plus = match &look.choice {
        Choice::Only(columns) => return columns.clone(),
        Choice::Plus(columns) => columns,
    };
    let unasked = |column: &Column<L>| match column.shown {
        Shown::From(from) => look.wide || width.is_none_or(|width| from <= width),
        Shown::Wide => look.wide,
        Shown::Asked => false,
    };
    let added = |column: &Column<L>| plus.iter().any(|plus| plus.name == column.name);
    L::columns().iter().filter(|column| unasked(column) || added(column)).collect()
}

/// Takes from the widths until they fit with a blank between: from the last one, and then from the widest of the others,
/// none of them below its least.
fn squeeze(widths: &mut [usize], least: &[usize], room: usize) {
    let taken = |widths: &[usize]| widths.iter().sum::<usize>() + widths.len().saturating_sub(1);
    let too_much = taken(widths).saturating_sub(room);
    if let (Some(last), Some(least)) = (widths.last_mut(), least.last()) {
        *last = last.saturating_sub(too_much).max((*least).min(*last));
    }
    let mut highest = widths.iter().copied().max().unwrap_or(0);
    while taken(widths) > room && highest > 0 {
        highest -= 1;
        for (width, least) in widths.iter_mut().zip(least) {
            *width = (*width).min(highest.max(*least));
        }
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_gives_way_first_and_then_the_widest() {
        let squeezed = |mut widths: Vec<usize>, least: &[usize], room| {
            squeeze(&mut widths, least, room);
            widths
        };
        assert_eq!(squeezed(vec![10, 10, 50], &[5, 5, 16], 80), [10, 10, 50], "there is room");
        assert_eq!(squeezed(vec![30, 10, 50], &[5, 5, 16], 80), [30, 10, 38]);
        assert_eq!(squeezed(vec![90, 10, 30, 50], &[5, 5, 5, 16], 80), [25, 10, 25, 16]);
        assert_eq!(squeezed(vec![90, 90], &[50, 50], 20), [50, 50], "no less than the least");
    }

    proptest! {
        #[test]
        fn never_more_than_the_room_unless_the_least_is(
            columns in proptest::collection::vec((1_usize..100, 1_usize..20), 1..6), room in 1_usize..200,
        ) {
            let (wanted, least): (Vec<usize>, Vec<usize>) = columns.into_iter().unzip();
            let mut widths = wanted.clone();
            squeeze(&mut widths, &least, room);
            let taken = |widths: &[usize]| widths.iter().sum::<usize>() + widths.len() - 1;
            prop_assert!(widths.iter().zip(&wanted).all(|(width, wanted)| width <= wanted));
            let smallest: Vec<usize> = wanted.iter().zip(&least).map(|(wanted, least)| *wanted.min(least)).collect();
            prop_assert!(taken(&widths) <= room.max(taken(&smallest)));
        }
    }
}
