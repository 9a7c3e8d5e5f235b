//! `mount-tracer agent`: flags -> a policy that was read and checked, before the node is looked at.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    agent::{self, AgentError, CGROUP_ROOT, DIRECTORY, Doors, Metrics},
    host::node::{self, Verdict},
    limit::policy_file,
    mirror::Mirror,
    output::say::{chain, note},
    probe::hooks::{HOOKS, Needed},
};

/// The hooks that it needs besides those of everybody.
const NEEDED: &[Needed] = &[Needed::Owners, Needed::Mirror, Needed::Existing];

/// Flags of `agent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to limit, and how far (docs/policy.md); a change of the file reaches running pods within a second
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    probes: super::probes::Args,
    #[command(flatten)]
    node: super::node::Args,
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    kubernetes: super::kubernetes::Args,
    /// Where to answer /metrics by HTTP (docs/metrics.md), or none [default: 127.0.0.1:10912]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_address: Option<Metrics>,
    /// Leave this hook out and read no table again, so that the mirror goes wrong: it shows what tests would find
    #[arg(long, hide = true, value_name = "FUNCTION", value_parser = hook)]
    without: Option<String>,
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
    let doors = Doors::make(DIRECTORY.as_ref(), args.metrics_address.unwrap_or_default())?;
    let mirror = if args.without.is_some() { Mirror::without_healing() } else { Mirror::default() };
    match super::probes::attach(args.probes, NEEDED, args.without.as_deref()) {
        Ok((probes, rings)) => {
            let kubelet_dir = args.node.kubelet_dir.clone();
            let settings =
                agent::Settings { policy_file: args.policy.clone(), policy, kubelet_dir, runtime: args.node.socket() };
            #[cfg(feature = "kubernetes")]
            let pods = args.kubernetes.feed()?;
            #[cfg(not(feature = "kubernetes"))]
            let pods = None;
            agent::limit(probes, rings, settings, mirror, doors, pods)
        }
        Err(status) => Ok(status),
    }
}

fn hook(text: &str) -> Result<String, String> {
    let known = HOOKS.iter().any(|hook| hook.name() == text);
    if known { Ok(text.to_owned()) } else { Err("write a function that `mount-tracer check` lists".to_owned()) }
}
