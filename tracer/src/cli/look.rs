//! What a list looks like: form, columns, colours, tree. Flags -> [`Look`].

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal as _},
};

use clap::ValueEnum;

use super::nearest::or_one_of;
use crate::output::{
    columns::{self, Column, Listing, Operations},
    grid::{Choice, Look},
};

/// The flags of every subcommand that prints a list.
// Flattened into other structs, whose groups it would take.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Form {
    /// How to print: a table for people, or one JSON object per line
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// List the columns and end
    #[arg(long)]
    pub list_columns: bool,
    /// No line of column names above the first one
    #[arg(long)]
    pub no_headers: bool,
    /// Whether to paint: auto paints on a terminal, unless `NO_COLOR` is set
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Color,
}

/// The flags of `trace` about its look.
// Flattened into another struct of this name, whose group it would take.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// What every list has.
    #[command(flatten)]
    pub form: Form,
    /// Only these columns: PATH,COMM; or, with a plus, these too: +PID,FLAGS
    #[arg(long, value_name = "COLUMNS", value_parser = choice::<Operations>)]
    pub columns: Option<Choice<Operations>>,
    /// Each effect below the mount that it stands on, copies below the mount that they are copies of
    #[arg(long)]
    pub tree: bool,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// As many columns as the terminal has room for, paths cut on the left.
    #[default]
    Table,
    /// More columns, and nothing cut.
    Wide,
    /// One object per line.
    Json,
}

/// When to paint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also into a file or a pipe.
    Always,
    /// Not at all.
    Never,
}

impl Form {
    /// The look that they and these ask for, or why they cannot be meant. `of_table` are flags that only tables have.
    pub fn look<L: Listing>(
        &self,
        columns: Option<&Choice<L>>,
        tree: bool,
        of_table: &[(&str, bool)],
    ) -> Result<Look<L>, String> {
        let given = [("--columns", columns.is_some())].iter().chain(of_table).find(|(_, given)| *given).copied();
        if let (Output::Json, Some((flag, _))) = (self.output, given) {
            return Err(format!("{flag} is for tables, and JSON always has everything; leave out {flag} or `-o json`"));
        }
        Ok(Look {
            wide: self.output == Output::Wide,
            choice: columns.cloned().unwrap_or_default(),
            tree,
            colour: paints(self.color, io::stdout().is_terminal(), |name| env::var_os(name)),
        })
    }
}

impl Args {
    /// What they say, or why they cannot be meant.
    pub fn validated(&self) -> Result<Look<Operations>, String> {
        self.form.look(self.columns.as_ref(), self.tree, &[("--tree", self.tree)])
    }
}

/// `NO_COLOR` counts when it is not empty (no-color.org).
fn paints<V: AsRef<OsStr>>(color: Color, terminal: bool, variable: impl Fn(&str) -> Option<V>) -> bool {
    let is = |name, holds: fn(&OsStr) -> bool| variable(name).is_some_and(|value| holds(value.as_ref()));
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !is("NO_COLOR", |value| !value.is_empty()) && !is("TERM", |value| value == "dumb"),
    }
}

/// Columns as typed.
pub(super) fn choice<L: Listing>(text: &str) -> Result<Choice<L>, String> {
    match text.strip_prefix('+') {
        Some(names) => Ok(Choice::Plus(named(names)?)),
        None => Ok(Choice::Only(named(text)?)),
    }
}

fn named<L: Listing>(names: &str) -> Result<Vec<&'static Column<L>>, String> {
    // `+A,+B` means what `+A,B` does.
    names.split(',').map(|name| one(name.trim_start_matches('+'))).collect()
}

fn one<L: Listing>(name: &str) -> Result<&'static Column<L>, String> {
    let known: Vec<&str> = L::columns().iter().map(|column| column.name).collect();
    columns::find(name).ok_or_else(|| format!("there is no column `{name}`; {}", or_one_of(name, &known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(text: &str) -> Result<Choice<Operations>, String> {
        super::choice(text)
    }

    fn names(choice: Choice<Operations>) -> Vec<&'static str> {
        let (Choice::Plus(columns) | Choice::Only(columns)) = choice;
        columns.iter().map(|column| column.name).collect()
    }

    #[test]
    fn columns_are_chosen_or_added() {
        let only = choice("path,Comm").unwrap();
        assert!(matches!(only, Choice::Only(_)));
        assert_eq!(names(only), ["PATH", "COMM"]);
        let plus = choice("+pid,mount_id").unwrap();
        assert!(matches!(plus, Choice::Plus(_)));
        assert_eq!(names(plus), ["PID", "MOUNT-ID"]);
        assert_eq!(names(choice("+pid,+uid").unwrap()), ["PID", "UID"]);
    }

    #[test]
    fn an_unknown_column_is_answered_with_the_nearest() {
        let why = choice("time,patj").unwrap_err();
        assert!(why.starts_with("there is no column `patj`; did you mean `PATH`? There are: TIME, OP"), "{why}");
        assert!(choice("").is_err());
        assert!(choice("+").is_err());
        assert!(choice("pid,").is_err());
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let with = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value)
        };
        assert!(paints(Color::Auto, true, with(&[("TERM", "xterm")])));
        assert!(!paints(Color::Auto, false, with(&[])), "a pipe");
        assert!(!paints(Color::Auto, true, with(&[("NO_COLOR", "1")])));
        assert!(paints(Color::Auto, true, with(&[("NO_COLOR", "")])), "an empty NO_COLOR is none");
        assert!(!paints(Color::Auto, true, with(&[("TERM", "dumb")])));
        assert!(paints(Color::Always, false, with(&[("NO_COLOR", "1")])));
        assert!(!paints(Color::Never, true, with(&[])));
    }
}
