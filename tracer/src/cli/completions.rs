//! `mount-tracer completions`: what a shell needs to complete this command line.

use std::process::ExitCode;

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::{
    aot::{Bash, Fish, Zsh},
    generate,
};

use super::Cli;
use crate::output::say::whole;

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell is to read it
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells that nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints it.
pub fn run(args: &Args) -> ExitCode {
    whole(&script(args.shell));
    ExitCode::SUCCESS
}

fn script(shell: Shell) -> Vec<u8> {
    let (mut command, mut script) = (Cli::command(), Vec::new());
    let name = command.get_name().to_owned();
    match shell {
        Shell::Bash => generate(Bash, &mut command, name, &mut script),
        Shell::Zsh => generate(Zsh, &mut command, name, &mut script),
        Shell::Fish => generate(Fish, &mut command, name, &mut script),
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_learns_the_subcommands_and_their_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for word in ["mount-tracer", "trace", "duration", "kubelet-dir"] {
                assert!(script.contains(word), "{shell:?} lacks {word}");
            }
        }
    }
}
