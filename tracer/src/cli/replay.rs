//! `mount-tracer replay`: flags -> the settings of `trace`, for a recording.

use std::{path::PathBuf, process::ExitCode};

use super::{
    EXIT_USAGE, filter, look,
    trace::{Settings, count},
};
use crate::{
    agent::{self, AgentError},
    output::{
        columns,
        say::{line, note},
    },
};

/// Flags of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = filter::HELP)]
pub struct Args {
    /// What `trace --record` wrote; `-` is the standard input
    #[arg(value_name = "FILE", required_unless_present = "list_columns")]
    file: Option<PathBuf>,
    #[command(flatten)]
    look: look::Args,
    /// End after this many operations were shown; a gap counts when --event names it
    #[arg(long, value_parser = count)]
    count: Option<u64>,
    #[command(flatten)]
    filter: filter::Args,
}

/// Runs it.
pub fn run(args: &Args) -> Result<ExitCode, AgentError> {
    let Some(file) = args.file.as_deref().filter(|_| !args.look.form.list_columns) else {
        columns::list::<columns::Operations>().iter().for_each(line);
        return Ok(ExitCode::SUCCESS);
    };
    match Settings::of(&args.look, &args.filter, args.count) {
        Ok(settings) => agent::replay(file, settings),
        Err(why) => {
            note(format_args!("mount-tracer: {why}"));
            Ok(ExitCode::from(EXIT_USAGE))
        }
    }
}
