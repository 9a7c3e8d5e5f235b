//! PURE: what a refusal of the kernel means, and what to do about it. `check`, `trace` and `agent` say the same
//! sentences.

use std::{error::Error, io};

use aya::programs::ProgramError;

use self::errno::{E2BIG, EACCES, ENOENT, ENOMEM, ENOSYS, EOPNOTSUPP, EPERM, ESRCH};
use super::load::{BTF_PATH, ProbeError};

/// Errnos of `asm-generic/errno*.h`.
mod errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOENT: i32 = 2;
    pub(super) const ESRCH: i32 = 3;
    pub(super) const E2BIG: i32 = 7;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const EACCES: i32 = 13;
    pub(super) const ENOSYS: i32 = 38;
    pub(super) const EOPNOTSUPP: i32 = 95;
}

/// `ENOTSUPP` of `linux/errno.h`: kernel-internal, has no public name.
const ENOTSUPP: i32 = 524;

/// One thing that a node lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// What is wrong with it.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// What was looked at and what is wrong with it, as a line of `check`.
    pub fn problem(&self) -> String {
        format!("FAIL {}: {}", self.subject, self.why)
    }
}

/// The finding behind an error.
pub fn finding(error: &ProbeError) -> Finding {
    let remedy = match error {
        ProbeError::NoBtf(_) => {
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as every Debian kernel since 5.10 is".to_owned()
        }
        ProbeError::BadBtf(_) | ProbeError::LoaderBtf(_) => {
            format!("report this with the output of `uname -a` and `sha256sum {BTF_PATH}`")
        }
        ProbeError::NoMember { .. } | ProbeError::NoFunction { .. } => {
            "use a kernel from 5.10 on; on a newer one report this with the output of `uname -a`".to_owned()
        }
        ProbeError::NoSymbol(_) => "build agent and object together: `cargo build` does".to_owned(),
        ProbeError::Load(_) | ProbeError::Map { .. } | ProbeError::Program { .. } => by_errno(error).to_owned(),
    };
    Finding { subject: subject(error), why: chain(error), remedy }
}

fn subject(error: &ProbeError) -> String {
    match error {
        ProbeError::NoBtf(_) | ProbeError::BadBtf(_) | ProbeError::LoaderBtf(_) => "btf".to_owned(),
        ProbeError::Program { kind, target, .. } => format!("hook {kind} {target}"),
        ProbeError::NoFunction { hook } => format!("hook {}", hook.name()),
        _ => "probes".to_owned(),
    }
}

fn by_errno(error: &ProbeError) -> &'static str {
    match raw_errno(error) {
        Some(EPERM | EACCES) if !is_verdict(error) => {
            "run as root on the node, in a container with `privileged: true` (CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN in \
             the initial user namespace); if root is refused too, this kernel was built or booted without function \
             tracing for BPF, or with lockdown=confidentiality (see /sys/kernel/security/lockdown): boot another one"
        }
        Some(ENOENT | ESRCH) => {
            "this kernel was built without this function as a symbol of its own: report it with the output of `uname -a`"
        }
        Some(ENOTSUPP | EOPNOTSUPP | ENOSYS) => {
            "boot a kernel with CONFIG_BPF_SYSCALL, CONFIG_BPF_JIT and CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"
        }
        Some(ENOMEM | E2BIG) => "free memory, or raise the memory limit of the cgroup that this runs in",
        _ => "report this with the output of `uname -a`",
    }
}

/// A refusal with a verifier's log is a verdict on the program and no matter of permission.
fn is_verdict(error: &ProbeError) -> bool {
    matches!(error, ProbeError::Program { source: ProgramError::LoadError { verifier_log, .. }, .. }
        if !verifier_log.to_string().trim().is_empty())
}

fn raw_errno(error: &(dyn Error + 'static)) -> Option<i32> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())
}

/// What the verifier ends every log with: figures, which say nothing of why.
const FIGURES: [&str; 3] = ["verification time ", "stack depth ", "processed "];

/// The error and its causes in one line, without what a verifier has to say beyond the last lines of its reason.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in causes(error) {
        let tail = end_of(&cause.to_string());
        if !words.iter().any(|earlier| earlier.contains(&tail)) {
            words.push(tail);
        }
    }
    words.join(": ")
}

/// The last lines that say something, as one.
fn end_of(text: &str) -> String {
    let text = text.trim().trim_end_matches("Verifier output:").trim_end().trim_end_matches('.');
    let says = |line: &&str| !line.trim().is_empty() && !FIGURES.iter().any(|figure| line.starts_with(figure));
    let lines: Vec<&str> = text.lines().filter(says).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifiers_reason_is_told_and_not_its_figures() {
        let log = "0: (bf) r6 = r1\n897: (79) r2 = *(u64 *)(r10 -112)\n898: (79) r3 = *(u64 *)(r10 -128)\n\
                   invalid read from stack R10 off=-128 size=8\nverification time 487563 usec\nstack depth 176+0\n\
                   processed 1635 insns (limit 1000000) max_states_per_insn 3 total_states 99 peak_states 99 mark_read 52\n\n";
        assert_eq!(
            end_of(log),
            "897: (79) r2 = *(u64 *)(r10 -112) | 898: (79) r3 = *(u64 *)(r10 -128) | invalid read from stack R10 off=-128 size=8"
        );
        assert_eq!(end_of("the BPF_PROG_LOAD syscall failed. Verifier output: "), "the BPF_PROG_LOAD syscall failed");
    }
}
