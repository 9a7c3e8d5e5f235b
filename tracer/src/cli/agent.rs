//! `mount-tracer agent`: flags -> a policy that was read and checked, before the node is looked at.

use std::{path::PathBuf, process::ExitCode};

use crate::{agent, limit::policy_file, output::say::note};

/// Flags of `agent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to limit, and how far (docs/policy.md)
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The kubelet's directory, as its own --root-dir has it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet", value_parser = absolute)]
    kubelet_dir: PathBuf,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let policy = match policy_file::load(&args.policy) {
        Ok(policy) => policy,
        Err(error) => {
            note(format_args!("mount-tracer: {:#}", anyhow::Error::new(error)));
            return Ok(ExitCode::from(super::EXIT_USAGE));
        }
    };
    match super::attach(true) {
        Ok(probes) => agent::limit(probes, policy, args.kubelet_dir.clone()),
        Err(status) => Ok(status),
    }
}

fn absolute(text: &str) -> anyhow::Result<PathBuf> {
    // Taken apart and put together again, so that `/var/lib/kubelet/` and `/var//lib/kubelet` are the same.
    let path: PathBuf = PathBuf::from(text).components().collect();
    anyhow::ensure!(path.is_absolute(), "write an absolute path");
    Ok(path)
}
