//! `mount-tracer check`: what this node allows, line by line, and the remedy for what it does not.

use std::process::ExitCode;

use crate::{
    agent::CGROUP_ROOT,
    host::node::{self, Verdict},
    output::say::line,
    probe::{hooks::HOOKS, load::Loader, refusal::finding},
};

/// Looks at everything; exit status 1 when something is missing.
pub fn run() -> ExitCode {
    let mut verdicts = probes();
    verdicts.push(node::capabilities("/proc/self/status".as_ref()));
    verdicts.push(node::pid_namespace("/proc".as_ref()));
    verdicts.extend(node::cgroups(CGROUP_ROOT.as_ref()));
    super::report(&verdicts, line);
    if verdicts.iter().all(Result::is_ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// BTF, and each hook: loaded, attached and let go of again.
fn probes() -> Vec<Verdict> {
    let mut loader = match Loader::new() {
        Ok(loader) => loader,
        Err(error) => return vec![Err(finding(&error))],
    };
    let mut verdicts = vec![Ok("btf: the kernel shows its types, and every member that the probes need".to_owned())];
    for hook in HOOKS {
        verdicts.push(match loader.attach(hook) {
            Ok(instructions) => {
                let verified = instructions.map_or_else(String::new, |n| format!(" ({n} instructions verified)"));
                Ok(format!("hook {} {}: {}{verified}", hook.attach.name(), hook.target, hook.sees))
            }
            Err(error) => Err(finding(&error)),
        });
    }
    verdicts
}
