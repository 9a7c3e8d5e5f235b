//! `mount-tracer check`: what this node allows, line by line, and the remedy for what it does not.

use std::process::ExitCode;

use tracer_common::hook::DOORS;

use super::{EXIT_NODE, probes::Attach};
use crate::{
    agent::CGROUP_ROOT,
    host::node::{self, Verdict},
    output::say::line,
    probe::{
        hooks::{HOOKS, Hook, Needed},
        load::{Attached, Loader},
        options::Options,
        refusal::finding,
        running::Probes,
        self_test,
    },
    stream::Rings,
};

/// Flags of `check`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// How to attach: by trampolines, by probes, or by what works on this kernel, function by function
    #[arg(long, value_enum, default_value_t)]
    attach: Attach,
}

/// Looks at everything; exit status 3 when the node cannot be traced, 1 when something else is missing.
pub fn run(args: Args) -> ExitCode {
    let pid_namespace = node::pid_namespace("/proc".as_ref());
    let mut traced = probes(args, pid_namespace.is_ok());
    traced.push(pid_namespace);
    let capabilities = node::capabilities("/proc/self/status".as_ref());
    let rest: Vec<Verdict> = [capabilities].into_iter().chain(node::cgroups(CGROUP_ROOT.as_ref())).collect();
    let failed = |verdicts: &[Verdict]| verdicts.iter().any(Result::is_err);
    let status = match (failed(&traced), failed(&rest)) {
        (true, _) => ExitCode::from(EXIT_NODE),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    };
    super::report(&[traced, rest].concat(), line);
    status
}

/// BTF, each hook, and what the self-test saw of them, where it knows its own child by its pid.
fn probes(args: Args, pids_are_known: bool) -> Vec<Verdict> {
    let options = Options { method: args.attach.method(), ..Options::default() };
    let mut loader = match Loader::new(options) {
        Ok(loader) => loader,
        Err(error) => return vec![Err(finding(&error))],
    };
    let mut verdicts = vec![Ok("btf: the kernel shows its types, and every member that the probes need".to_owned())];
    for hook in &HOOKS {
        match loader.attach(hook) {
            Ok(Some(attached)) => verdicts.push(Ok(attached_line(&attached))),
            Ok(None) => verdicts.push(Ok(format!("hook {}: {}", hook.name(), not_needed(hook)))),
            Err(error) => verdicts.push(Err(finding(&error))),
        }
    }
    if pids_are_known && verdicts.iter().all(Result::is_ok) {
        verdicts.extend(proven(loader.done()));
    }
    verdicts
}

fn attached_line(attached: &Attached) -> String {
    let verified = attached.instructions.map_or_else(String::new, |n| format!(" ({n} instructions verified)"));
    format!("hook {} {}: {}{verified}", attached.kind(), attached.candidate.target, attached.hook.sees)
}

fn proven(mut probes: Probes) -> Vec<Verdict> {
    let mut rings = match Rings::take(&mut probes) {
        Ok(rings) => rings,
        Err(error) => return vec![Err(finding(&error))],
    };
    let mut verdicts = self_test::run(&mut rings, probes.attached()).verdicts;
    if verdicts.iter().all(Result::is_ok) {
        let unproven = self_test::unproven(probes.attached()).join(", ");
        verdicts.push(Ok(format!("self-test: not tried, because it takes more than a process: {unproven}")));
    }
    verdicts
}

/// Why a kernel does without a hook.
fn not_needed(hook: &Hook) -> String {
    match hook.needed {
        Needed::For(_) => {
            "this kernel has no mount_setattr(2), or nothing that tells what it found: it is read then".to_owned()
        }
        Needed::Unless(other) => format!("this kernel's {other} tells the same"),
        _ if DOORS.iter().any(|door| door.compat && door.function == hook.name()) => {
            "this kernel takes no 32-bit callers in there".to_owned()
        }
        _ => "this kernel has no such call".to_owned(),
    }
}
