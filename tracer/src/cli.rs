//! Flags as typed -> validated settings; one file per subcommand.

pub mod agent;
pub mod check;
pub mod completions;
pub mod filter;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod list;
pub mod look;
pub mod man;
mod nearest;
pub mod node;
pub mod probes;
pub mod replay;
pub mod self_test;
pub mod trace;
pub mod who;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::agent::AgentError;
use crate::host::node::Verdict;
use crate::probe::refusal::Finding;
use crate::probe::self_test::SUBCOMMAND;

/// Exit status: wrong usage or bad configuration.
pub const EXIT_USAGE: u8 = 2;
/// Exit status: this node cannot run it; `check` says why.
pub const EXIT_NODE: u8 = 3;
/// Exit status: something was lost, and `--fail-on-loss` was given.
pub const EXIT_LOSS: u8 = 4;

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
    Trace(Box<trace::Args>),
    /// Shows what is mounted now, in any mount namespace.
    List(list::Args),
    /// Says who holds a path, a mount or a device: what stands in the way of unmounting it, and what to do first.
    Who(who::Args),
    /// Limits the disks of pods' volumes as a policy says, as soon as a volume appears.
    Agent(agent::Args),
    /// Shows again what `trace --record` has seen, here or elsewhere, without any privilege.
    Replay(Box<replay::Args>),
    /// Says what this node allows, and the remedy for what it does not.
    Check(check::Args),
    /// The process that the self-test watches
    #[command(name = SUBCOMMAND, hide = true)]
    SelfTest,
    /// Prints what a shell needs to complete this command line.
    Completions(completions::Args),
    /// Prints a manual page: `mount-tracer man trace | man -l -`.
    Man(man::Args),
}

/// Runs what was typed.
pub fn run(cli: Cli) -> Result<ExitCode, AgentError> {
    match cli.command {
        Command::Trace(args) => trace::run(&args),
        Command::List(args) => Ok(list::run(&args)),
        Command::Who(args) => Ok(who::run(&args)),
        Command::Agent(args) => agent::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Check(args) => Ok(check::run(args)),
        Command::SelfTest => Ok(self_test::run()),
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Man(args) => Ok(man::run(&args)),
    }
}

/// One line for each verdict, and below the last of those that want the same remedy, the remedy.
fn report(verdicts: &[Verdict], say: impl Fn(String)) {
    let mut rest = verdicts.iter().peekable();
    while let Some(verdict) = rest.next() {
        let Finding { remedy, .. } = match verdict {
            Ok(fine) => {
                say(format!("ok   {fine}"));
                continue;
            }
            Err(finding) => {
                say(finding.problem());
                finding
            }
        };
        if !rest.peek().is_some_and(|next| next.as_ref().is_err_and(|next| next.remedy == *remedy)) {
            say(format!("     remedy: {remedy}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn findings_that_want_the_same_remedy_share_it() {
        let fails = |subject: &str, remedy: &str| {
            let why = "no".to_owned();
            Err(Finding { subject: subject.to_owned(), why, remedy: remedy.to_owned() })
        };
        let verdicts = [Ok("a: yes".to_owned()), fails("b", "1"), fails("c", "1"), fails("d", "2")];
        let said = RefCell::new(Vec::new());
        report(&verdicts, |line| said.borrow_mut().push(line));
        let expected = ["ok   a: yes", "FAIL b: no", "FAIL c: no", "     remedy: 1", "FAIL d: no", "     remedy: 2"];
        assert_eq!(*said.borrow(), expected);
    }
}
