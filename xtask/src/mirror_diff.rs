//! `cargo xtask mirror-diff`: the differential test of the agent's mirror in a guest, as long and as wide as asked for. It is
//! the subject `mirror` of the guest tests, whose closing line it passes through as its own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::slice;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::guest::{self, GuestFile, Spec};
use crate::test::Attach;
use crate::{build, setup};

/// What booting, starting agents and looking for a shorter sequence may take under emulation.
const ELSE: Duration = Duration::from_mins(20);
/// What an operation may take, with its part of the comparisons: ten times what is seen.
const OPERATION: Duration = Duration::from_millis(100);
/// Where the guest finds a sequence to run again.
const REPLAY: &str = "/guest/sequence";
/// The beginning of the closing line.
const CLOSING: &str = "mirror-diff: ";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kernel series: 5.10, 6.18, ... or `newest`
    #[arg(long, value_name = "SERIES", default_value = "6.18")]
    kernel: String,
    /// How to attach
    #[arg(long, value_enum, default_value = "fentry")]
    attach: Attach,
    /// How many operations in all
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    operations: u32,
    /// How many mount namespaces, each with a process that acts at the same time as the others
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(3..=64))]
    namespaces: u32,
    /// The operations follow from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Run this printed sequence instead, one operation after the other
    #[arg(long, value_name = "FILE", conflicts_with_all = ["operations", "namespaces", "seed"])]
    replay: Option<PathBuf>,
}

impl Options {
    fn command(&self) -> Vec<String> {
        let variables = [
            format!("GUEST_ATTACH={}", self.attach.name()),
            "GUEST_TRIALS=mirror".to_owned(),
            format!("MIRROR_OPERATIONS={}", self.operations),
            format!("MIRROR_NAMESPACES={}", self.namespaces),
            format!("MIRROR_SEED={}", self.seed),
        ];
        let replay = self.replay.as_ref().map(|_| format!("MIRROR_REPLAY={REPLAY}"));
        let words = ["env".to_owned()].into_iter().chain(variables).chain(replay);
        words.chain(["guest-tests", "--test-threads=1"].map(str::to_owned)).collect()
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    setup::ensure(slice::from_ref(&options.kernel))?;
    let mut spec = Spec::new(&options.kernel, &[]);
    spec.command = options.command();
    spec.timeout = ELSE + OPERATION * options.operations;
    spec.files = build::guest_binaries(spec.arch)?.into_iter().map(GuestFile::in_bin).collect();
    spec.files.push(GuestFile { host: build::guest_tests(spec.arch)?, guest: "/bin/guest-tests".to_owned() });
    let replay = options.replay.iter().cloned();
    spec.files.extend(replay.map(|host| GuestFile { host, guest: REPLAY.to_owned() }));
    let outcome = guest::run(&spec)?;
    let text = String::from_utf8_lossy(&outcome.stdout);
    let (closing, rest) = split(&text);
    eprintln!("{rest}");
    if let Some(closing) = closing {
        println!("{closing}");
    }
    match (outcome.status(&spec)?, closing) {
        (0, Some(_)) => Ok(ExitCode::SUCCESS),
        (0, None) => bail!("the trials passed, but said nothing of what they had compared"),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// The closing line, which may follow a test's name on one line, and everything else.
fn split(text: &str) -> (Option<&str>, String) {
    let begin = |line: &str| line.find(CLOSING);
    let closing = text.lines().find_map(|line| Some(&line[begin(line)?..]));
    let rest: Vec<&str> = text.lines().map(|line| &line[..begin(line).unwrap_or(line.len())]).collect();
    (closing, rest.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_is_found_behind_a_name() {
        let text = "running 1 test\ntest mirror::equals_the_kernel ... mirror-diff: kernel=6.18 reads=3\nok\n";
        let (closing, rest) = split(text);
        assert_eq!(closing, Some("mirror-diff: kernel=6.18 reads=3"));
        assert_eq!(rest, "running 1 test\ntest mirror::equals_the_kernel ... \nok");
        assert_eq!(split("ok"), (None, "ok".to_owned()));
    }

    #[test]
    fn the_guest_is_told_what_to_do() {
        let (kernel, attach, replay) = ("6.18".to_owned(), Attach::Kprobe, None);
        let mut options = Options { kernel, attach, operations: 5, namespaces: 4, seed: 3, replay };
        let command = options.command().join(" ");
        let wanted = "env GUEST_ATTACH=kprobe GUEST_TRIALS=mirror MIRROR_OPERATIONS=5 MIRROR_NAMESPACES=4 MIRROR_SEED=3 \
                      guest-tests --test-threads=1";
        assert_eq!(command, wanted);
        options.replay = Some(PathBuf::from("sequence"));
        assert!(options.command().contains(&"MIRROR_REPLAY=/guest/sequence".to_owned()));
    }
}
