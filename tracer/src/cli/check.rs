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
        self_test::{self, Shown},
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
    let verdict = |hook: &'static Hook| match loader.attach(hook) {
        Ok(Some(attached)) => Ok(attached_line(&attached)),
        Ok(None) => Ok(not_attached_line(hook)),
        Err(error) => Err(finding(&error)),
    };
    let mut hooks: Vec<Verdict> = HOOKS.iter().map(verdict).collect();
    let mut rest = Vec::new();
    if pids_are_known && hooks.iter().all(Result::is_ok) {
        let shown = proven(loader.done());
        // Who traces lets go of these.
        for (hook, verdict) in HOOKS.iter().zip(&mut hooks).filter(|(hook, _)| shown.idle.contains(&hook.number)) {
            *verdict = Ok(not_attached_line(hook));
        }
        rest = shown.verdicts;
    }
    let btf = Ok("btf: the kernel shows its types, and every member that the probes need".to_owned());
    [btf].into_iter().chain(hooks).chain(rest).collect()
}

fn not_attached_line(hook: &Hook) -> String {
    format!("hook {}: {}", hook.name(), not_needed(hook))
}

fn attached_line(attached: &Attached) -> String {
    let verified = attached.instructions.map_or_else(String::new, |n| format!(" ({n} instructions verified)"));
    format!("hook {} {}: {}{verified}", attached.kind(), attached.candidate.target, attached.hook.sees)
}

fn proven(mut probes: Probes) -> Shown {
    let mut rings = match Rings::take(&mut probes) {
        Ok(rings) => rings,
        Err(error) => return Shown { verdicts: vec![Err(finding(&error))], idle: Vec::new() },
    };
    let mut shown = self_test::run(&mut rings, probes.attached());
    if shown.verdicts.iter().all(Result::is_ok) {
        let unproven = self_test::unproven(probes.attached()).join(", ");
        shown.verdicts.push(Ok(format!("self-test: not tried, because it takes more than a process: {unproven}")));
    }
    shown
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
