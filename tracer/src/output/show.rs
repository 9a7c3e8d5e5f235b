//! OUT: prints the operations that the user asked for, in the form that the user asked for.

use std::{
    fmt::Display,
    io::{self, ErrorKind, IsTerminal as _},
};

use super::{
    filter::Verdict,
    json::{self, Origin},
    table::Table,
};
use crate::{
    cli::{look::Output, trace::Settings},
    operation::Operation,
};

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// There is more to show.
    On,
    /// Enough was shown, or nobody reads it any more.
    End,
}

/// Prints operations.
pub struct Show {
    settings: Settings,
    origin: Origin,
    table: Table,
    shown: u64,
    out: io::LineWriter<io::Stdout>,
}

impl Show {
    /// For a terminal of `width` columns, or for a file or a pipe.
    pub fn new(settings: Settings, origin: Origin, width: Option<usize>) -> Self {
        let table = Table::new(&settings.look, width, origin.clock);
        Self { settings, origin, table, shown: 0, out: io::LineWriter::new(io::stdout()) }
    }

    /// What stands above the first operation.
    pub fn head(&mut self) -> io::Result<Flow> {
        match self.settings.output {
            Output::Table | Output::Wide if self.settings.headers => self.print(&[self.table.head()]),
            _ => Ok(Flow::On),
        }
    }

    /// Prints an operation, unless it is filtered.
    pub fn operation(&mut self, seq: u64, operation: &Operation) -> io::Result<Flow> {
        let verdict = self.settings.filter.verdict(operation);
        if verdict == Verdict::Hidden {
            return Ok(Flow::On);
        }
        let lines = match self.settings.output {
            Output::Table | Output::Wide => self.table.lines(operation),
            Output::Json => vec![json::line(&self.origin, seq, operation)?],
        };
        self.shown += u64::from(verdict == Verdict::Wanted);
        if self.print(&lines)? == Flow::End || self.settings.count == Some(self.shown) {
            return Ok(Flow::End);
        }
        Ok(Flow::On)
    }

    fn print(&mut self, lines: &[String]) -> io::Result<Flow> {
        print(&mut self.out, lines)
    }
}

/// Prints lines. A reader that has gone away (`| head`) is a quiet end.
pub fn print(out: &mut impl io::Write, lines: impl IntoIterator<Item = impl Display>) -> io::Result<Flow> {
    for line in lines {
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Flow::End),
            written => written?,
        }
    }
    Ok(Flow::On)
}

/// Cells of the terminal that reads; `None` for a file or a pipe.
pub fn terminal_width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0)
}
