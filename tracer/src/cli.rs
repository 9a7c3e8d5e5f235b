//! Flags as typed -> validated settings; one file per subcommand.

pub mod agent;
pub mod check;
pub mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::say::note;
use crate::probe::{
    load::{Loader, Probes},
    refusal::{Finding, finding},
};

/// Exit status: wrong usage or bad configuration.
pub const EXIT_USAGE: u8 = 2;
/// Exit status: this node cannot run it; `check` says why.
pub const EXIT_NODE: u8 = 3;

/// Sees every mount of a Linux node as it happens, and limits the disks of pods' volumes.
#[derive(Debug, Parser)]
#[command(name = "mount-tracer", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows mounts, binds and unmounts as they happen, in every mount namespace.
    Trace(trace::Args),
    /// Limits the disks of pods' volumes as a policy says, as soon as a volume appears.
    Agent(agent::Args),
    /// Says what this node allows, and the remedy for what it does not.
    Check,
}

/// Runs what was typed.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Trace(args) => trace::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Check => Ok(check::run()),
    }
}

/// The attached probes, or the exit status after the findings were said.
fn attach(limiter: bool) -> Result<Probes, ExitCode> {
    let errors = match Loader::new().map(|loader| loader.attach_all(limiter)) {
        Ok(Ok(probes)) => return Ok(probes),
        Ok(Err(errors)) => errors,
        Err(error) => vec![error],
    };
    let findings: Vec<Finding> = errors.iter().map(finding).collect();
    for finding in &findings {
        note(finding.problem());
    }
    remedies(&findings.iter().collect::<Vec<_>>(), note);
    note("mount-tracer: this node cannot be traced; `mount-tracer check` looks at the rest of it");
    Err(ExitCode::from(EXIT_NODE))
}

/// Each remedy once, with what it is for when there are several.
fn remedies(findings: &[&Finding], mut say: impl FnMut(String)) {
    let mut said: Vec<&str> = Vec::new();
    for finding in findings {
        if !said.contains(&finding.remedy.as_str()) {
            said.push(&finding.remedy);
            say(format!("remedy ({}): {}", finding.subject, finding.remedy));
        }
    }
}
