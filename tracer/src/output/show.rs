//! OUT: prints the operations that the user asked for, in the form that the user asked for.

use std::io::{self, ErrorKind, Write as _};

use super::{
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
        if !self.wants(operation) {
            return Ok(Flow::On);
        }
        let lines = match self.settings.output {
            Output::Table | Output::Wide => self.table.lines(operation),
            Output::Json => vec![json::operation(&self.origin, seq, operation).to_string()],
        };
        self.shown += 1;
        if self.print(&lines)? == Flow::End || self.settings.count == Some(self.shown) {
            return Ok(Flow::End);
        }
        Ok(Flow::On)
    }

    /// A reader that has gone away (`| head`) is a quiet end.
    fn print(&mut self, lines: &[String]) -> io::Result<Flow> {
        for line in lines {
            match writeln!(self.out, "{line}") {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Flow::End),
                written => written?,
            }
        }
        Ok(Flow::On)
    }

    fn wants(&self, operation: &Operation) -> bool {
        let Settings { mntns, events, .. } = &self.settings;
        (events.is_empty() || events.contains(&operation.op.name()))
            && (mntns.is_empty() || namespaces(operation).any(|inum| mntns.contains(&inum)))
    }
}

/// The namespaces that an operation touches: where its effects and its target are, and where it was called.
fn namespaces(operation: &Operation) -> impl Iterator<Item = u32> {
    let effects = operation.effects.as_deref().unwrap_or_default().iter().map(|effect| &effect.mount);
    let target = operation.call.as_ref().and_then(|call| call.target.as_ref());
    let touched = effects.chain(target).filter_map(|mount| mount.namespace);
    let actor = operation.actor.as_ref().and_then(|actor| actor.namespace);
    touched.chain(actor).map(|namespace| namespace.inum)
}
