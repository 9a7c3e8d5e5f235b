//! `mount-tracer trace`: flags -> [`Settings`].

use std::{process::ExitCode, time::Duration};

use jiff::SignedDuration;

use super::{
    EXIT_USAGE,
    look::{self, Output},
};
use crate::{
    agent::{self, AgentError},
    operation::Op,
    output::{
        columns,
        say::{line, note},
        table::Look,
    },
};

/// Flags of `trace`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    look: look::Args,
    /// End after this long: 10s, 500ms, 1m30s, or a number of seconds
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// End after this many operations were shown
    #[arg(long, value_parser = count)]
    count: Option<u64>,
    #[command(flatten)]
    probes: super::probes::Args,
    /// End with status 4 if anything was lost
    #[arg(long)]
    fail_on_loss: bool,
    /// Only operations that touch these mount namespaces, by inode number as in /proc/PID/ns/mnt
    #[arg(long, value_delimiter = ',', value_name = "INODE", value_parser = inode)]
    mntns: Vec<u32>,
    /// Only these kinds of operation: mount, bind, umount, ...
    #[arg(short, long, value_delimiter = ',', value_parser = event)]
    event: Vec<&'static str>,
}

/// What `trace` shows and when it ends.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to print.
    pub output: Output,
    /// What a table looks like.
    pub look: Look,
    /// Whether a table has a head.
    pub headers: bool,
    /// When to end.
    pub duration: Option<Duration>,
    /// After how many operations to end.
    pub count: Option<u64>,
    /// Namespaces to show; all when empty.
    pub mntns: Vec<u32>,
    /// Kinds to show, by name; all when empty.
    pub events: Vec<&'static str>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<ExitCode, AgentError> {
    if args.look.list_columns {
        columns::list().iter().for_each(line);
        return Ok(ExitCode::SUCCESS);
    }
    let look = match args.look.validated() {
        Ok(look) => look,
        Err(why) => {
            note(format_args!("mount-tracer: {why}"));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let settings = Settings {
        output: args.look.output,
        look,
        headers: !args.look.no_headers,
        duration: args.duration,
        count: args.count,
        mntns: args.mntns.clone(),
        events: args.event.clone(),
    };
    match super::probes::attach(args.probes, false) {
        Ok((probes, rings)) => agent::trace(probes, rings, settings, args.fail_on_loss),
        Err(status) => Ok(status),
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a whole number from 1 on".to_owned())
}

fn inode(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "write the number that `readlink /proc/PID/ns/mnt` shows in brackets".to_owned())
}

fn event(text: &str) -> Result<&'static str, String> {
    match Op::ALL.iter().map(|op| op.name()).find(|name| *name == text) {
        Some(name) => Ok(name),
        None => Err(format!("write one of {}", Op::ALL.iter().map(|op| op.name()).collect::<Vec<_>>().join(", "))),
    }
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

    #[test]
    fn an_unknown_event_lists_the_known_ones() {
        assert!(event("mounts").unwrap_err().contains("mount, bind"));
        assert_eq!(event("umount").unwrap(), "umount");
    }
}
