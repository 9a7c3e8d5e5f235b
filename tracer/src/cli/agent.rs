//! `mount-tracer agent`: flags -> a policy that was read and checked, before the node is looked at.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    agent::{self, AgentError, CGROUP_ROOT, DIRECTORY, Doors},
    host::node::{self, Verdict},
    limit::policy_file,
    output::say::{chain, note},
    probe::hooks::Needed,
};

/// Flags of `agent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to limit, and how far (docs/policy.md); a change of the file reaches running pods within a second
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    probes: super::probes::Args,
    /// The kubelet's directory, as its own --root-dir has it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet", value_parser = absolute)]
    kubelet_dir: PathBuf,
}

/// Runs it.
pub fn run(args: &Args) -> Result<ExitCode, AgentError> {
    let policy = match policy_file::load(&args.policy) {
        Ok(policy) => policy,
        Err(error) => {
            note(format_args!("mount-tracer: {}", chain(&error)));
            return Ok(ExitCode::from(super::EXIT_USAGE));
        }
    };
    let limits: Vec<Verdict> = [node::pid_namespace("/proc".as_ref()), node::cgroup_root(CGROUP_ROOT.as_ref())]
        .into_iter()
        .filter(Result::is_err)
        .collect();
    if !limits.is_empty() {
        super::report(&limits, note);
        note("mount-tracer: nothing can be limited on this node; `mount-tracer check` looks at the rest of it");
        return Ok(ExitCode::from(super::EXIT_NODE));
    }
    let doors = Doors::make(DIRECTORY.as_ref())?;
    match super::probes::attach(args.probes, &[Needed::Limiter, Needed::Mirror, Needed::Existing]) {
        Ok((probes, rings)) => {
            agent::limit(probes, rings, (args.policy.clone(), policy), args.kubelet_dir.clone(), doors)
        }
        Err(status) => Ok(status),
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    // Taken apart and put together again, so that `/var/lib/kubelet/` and `/var//lib/kubelet` are the same.
    let path: PathBuf = PathBuf::from(text).components().collect();
    if path.is_absolute() { Ok(path) } else { Err("write an absolute path".to_owned()) }
}
