//! Flags about the probes, the same for every subcommand that attaches them, and the attaching itself: programs in the
//! kernel, proven by the self-test, or the exit status after the findings were said.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::{
    host::node::{self, Verdict},
    limit::quantity,
    output::say::note,
    probe::{
        hooks::{Method, Needed},
        load::Loader,
        options::{Options, TABLES_BYTES},
        refusal::finding,
        running::Probes,
        self_test,
    },
    stream::Rings,
};

/// A ring of this size holds some four million facts; the kernel takes no larger ones by far.
const MAX_RING_BYTES: u64 = 1 << 30;

/// Flags about the probes.
// Flattened into other structs of this name, whose group it would take.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// How to attach: by trampolines, by probes, or by what works on this kernel, function by function
    #[arg(long, value_enum, default_value_t)]
    attach: Attach,
    /// Size of each of the two rings, a power of two: 64Ki, 32Mi; without it 16Mi for what changes in mount tables, 8Mi for calls
    #[arg(long, value_name = "SIZE", value_parser = ring_size)]
    ring_size: Option<u32>,
}

/// How to attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// By what works, function by function: trampolines first.
    #[default]
    Auto,
    /// By trampolines only.
    Fentry,
    /// By probes only.
    Kprobe,
}

impl Attach {
    /// The method that was asked for; `None` for whatever works.
    pub fn method(self) -> Option<Method> {
        match self {
            Self::Auto => None,
            Self::Fentry => Some(Method::Fentry),
            Self::Kprobe => Some(Method::Kprobe),
        }
    }
}

impl Args {
    /// What they say.
    pub fn options(self) -> Options {
        Options { method: self.attach.method(), ring_bytes: self.ring_size }
    }
}

/// The attached and proven probes and their rings, without the hooks of one name, or the exit status after the findings were said.
pub fn attach(args: Args, besides: &[Needed], without: Option<&str>) -> Result<(Probes, Rings), ExitCode> {
    let refused = |verdicts: Vec<Verdict>| {
        super::report(&verdicts, note);
        note("mount-tracer: this node cannot be traced; `mount-tracer check` looks at the rest of it");
        ExitCode::from(super::EXIT_NODE)
    };
    // Without it the self-test would not know its own child.
    if let Err(finding) = node::pid_namespace("/proc".as_ref()) {
        return Err(refused(vec![Err(finding)]));
    }
    let attached =
        Loader::new(args.options()).map_err(|error| vec![error]).and_then(|loader| loader.attach_all(besides, without));
    let errors = |errors: Vec<_>| refused(errors.iter().map(finding).map(Err).collect());
    let mut probes = attached.map_err(errors)?;
    let mut rings = Rings::take(&mut probes).map_err(|error| errors(vec![error]))?;
    let shown = self_test::run(&mut rings, probes.attached());
    let failed: Vec<Verdict> = shown.verdicts.into_iter().filter(Result::is_err).collect();
    probes.detach(&shown.idle);
    if failed.is_empty() { Ok((probes, rings)) } else { Err(refused(failed)) }
}

fn ring_size(text: &str) -> Result<u32, String> {
    let bytes = quantity::parse(text).map_err(|error| error.to_string())?;
    let page = rustix::param::page_size() as u64;
    let fits = bytes.is_power_of_two() && (page..=MAX_RING_BYTES).contains(&bytes);
    u32::try_from(bytes).ok().filter(|_| fits).ok_or_else(|| {
        format!("write a power of two from {page} on, such as 64Ki or {}Mi, up to 1Gi", TABLES_BYTES >> 20)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_a_power_of_two() {
        assert_eq!(ring_size("64Ki").unwrap(), 65536);
        assert_eq!(ring_size("16Mi").unwrap(), TABLES_BYTES);
        for wrong in ["0", "100", "3Mi", "2Gi", "8M", "big"] {
            assert!(ring_size(wrong).is_err(), "{wrong}");
        }
    }
}
