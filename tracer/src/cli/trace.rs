//! `mount-tracer trace`: flags -> [`Settings`].

use std::{process::ExitCode, time::Duration};

use jiff::SignedDuration;

use super::{
    EXIT_USAGE, filter,
    look::{self, Output},
};
use crate::{
    agent::{self, AgentError},
    output::{
        columns::{self, Operations},
        filter::Filter,
        grid::Look,
        say::{line, note},
    },
};

/// Flags of `trace`.
#[derive(Debug, clap::Args)]
#[command(after_help = filter::HELP)]
pub struct Args {
    #[command(flatten)]
    look: look::Args,
    /// End after this long: 10s, 500ms, 1m30s, or a number of seconds
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// End after this many operations were shown; a gap counts when --event names it
    #[arg(long, value_parser = count)]
    count: Option<u64>,
    #[command(flatten)]
    probes: super::probes::Args,
    /// End with status 4 if anything was lost
    #[arg(long)]
    fail_on_loss: bool,
    #[command(flatten)]
    filter: filter::Args,
}

/// What `trace` shows and when it ends.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to print.
    pub output: Output,
    /// What a table looks like.
    pub look: Look<Operations>,
    /// Whether a table has a head.
    pub headers: bool,
    /// When to end.
    pub duration: Option<Duration>,
    /// After how many operations to end.
    pub count: Option<u64>,
    /// Which operations to show.
    pub filter: Filter,
}

/// Runs it.
pub fn run(args: &Args) -> Result<ExitCode, AgentError> {
    if args.look.form.list_columns {
        columns::list::<Operations>().iter().for_each(line);
        return Ok(ExitCode::SUCCESS);
    }
    let (look, filter) = match args.look.validated().and_then(|look| Ok((look, args.filter.validated()?))) {
        Ok(validated) => validated,
        Err(why) => {
            note(format_args!("mount-tracer: {why}"));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let settings = Settings {
        output: args.look.form.output,
        look,
        headers: !args.look.form.no_headers,
        duration: args.duration,
        count: args.count,
        filter,
    };
    match super::probes::attach(args.probes, false) {
        Ok((probes, rings)) => agent::trace(probes, rings, settings, args.fail_on_loss),
        Err(status) => Ok(status),
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a whole number from 1 on".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok()),
    };
    match parsed {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("write a length of time above zero: 10s, 500ms, 1m30s, or a number of seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read() {
        assert_eq!(duration("5").unwrap(), Duration::from_secs(5));
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        for wrong in ["0", "-5s", "soon", ""] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
