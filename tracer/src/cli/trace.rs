//! `mount-tracer trace`: flags -> [`Settings`].

use std::{path::PathBuf, process::ExitCode, time::Duration};

use jiff::SignedDuration;

use super::{
    EXIT_USAGE, filter,
    look::{self, Output},
};
use crate::{
    agent::{self, AgentError, Besides, RecordFile},
    operation::Op,
    output::{
        columns::{self, Operations},
        filter::Filter,
        grid::Look,
        say::{line, note},
    },
    probe::hooks::Needed,
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
    /// First show what is mounted already, in every namespace that has a process, and then what changes
    #[arg(long)]
    existing: bool,
    /// Write all that is seen into this file too, whatever is shown of it, for `replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    node: super::node::Args,
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

impl Settings {
    /// What the flags say, or why they cannot be meant.
    pub fn of(look: &look::Args, filter: &filter::Args, count: Option<u64>) -> Result<Self, String> {
        Ok(Self {
            output: look.form.output,
            look: look.validated()?,
            headers: !look.form.no_headers,
            duration: None,
            count,
            filter: filter.validated()?,
        })
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<ExitCode, AgentError> {
    if args.look.form.list_columns {
        columns::list::<Operations>().iter().for_each(line);
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::of(&args.look, &args.filter, args.count).and_then(|settings| {
        let event = &settings.filter.event.include;
        let only_existing = !event.is_empty() && event.iter().all(|op| *op == Op::Existing);
        let silent = only_existing && !args.existing;
        if silent { Err("--event existing shows nothing without --existing; add it".to_owned()) } else { Ok(settings) }
    });
    let settings = match settings {
        Ok(settings) => Settings { duration: args.duration, ..settings },
        Err(why) => {
            note(format_args!("mount-tracer: {why}"));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let record = args.record.as_deref().map(RecordFile::create).transpose()?;
    let needed = [Needed::Owners].into_iter().chain(args.existing.then_some(Needed::Existing)).collect::<Vec<_>>();
    match super::probes::attach(args.probes, &needed, None) {
        Ok((probes, rings)) => {
            let besides = Besides {
                record,
                existing: args.existing,
                runtime: args.node.socket(),
                kubelet_dir: args.node.kubelet_dir.clone(),
                fail_on_loss: args.fail_on_loss,
            };
            agent::trace(probes, rings, settings, besides)
        }
        Err(status) => Ok(status),
    }
}

/// A number of operations.
pub(super) fn count(text: &str) -> Result<u64, String> {
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
