//! `mount-tracer man`: the manual pages, made from the same words as `--help`.

use std::{io, process::ExitCode};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::{Cli, EXIT_USAGE, nearest::or_one_of};
use crate::output::say::{note, whole};

/// Flags of `man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The page of this subcommand, not that of the whole
    subcommand: Option<String>,
}

/// Prints the page: `mount-tracer man trace | man -l -`.
pub fn run(args: &Args) -> ExitCode {
    let mut root = Cli::command();
    // Names the subcommands in full: `mount-tracer-trace`.
    root.build();
    let Some(wanted) = &args.subcommand else { return print(root) };
    let Some(page) = root.find_subcommand(wanted).filter(|one| !one.is_hide_set()) else {
        let known: Vec<&str> = root.get_subcommands().filter(|one| !one.is_hide_set()).map(Command::get_name).collect();
        note(format_args!("mount-tracer: there is no subcommand `{wanted}`; {}", or_one_of(wanted, &known)));
        return ExitCode::from(EXIT_USAGE);
    };
    print(page.clone())
}

fn print(command: Command) -> ExitCode {
    match page(command) {
        Ok(page) => {
            whole(&page);
            ExitCode::SUCCESS
        }
        Err(error) => {
            note(format_args!("mount-tracer: the manual page was not made: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command)
        .source(concat!("mount-tracer ", env!("CARGO_PKG_VERSION")))
        .manual("mount-tracer")
        .render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subcommands_page_has_its_full_name_and_its_flags() {
        let mut root = Cli::command();
        root.build();
        let trace = page(root.find_subcommand("trace").unwrap().clone()).unwrap();
        let trace = String::from_utf8(trace).unwrap();
        assert!(trace.contains(".TH mount-tracer-trace 1"), "{trace}");
        assert!(trace.contains("\\-\\-duration"), "{trace}");
        let whole = String::from_utf8(page(root).unwrap()).unwrap();
        assert!(whole.contains("mount\\-tracer\\-trace(1)"), "{whole}");
    }
}
