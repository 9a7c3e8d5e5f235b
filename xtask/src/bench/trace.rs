//! `cargo xtask bench trace`, the host's side: builds, boots one guest, has it measure, and shows what came of it as a
//! table, a picture and one closing line.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::record::Run;
use super::{mountsnoop, plot, report};
use crate::guest::{self, Arch, GuestFile, Spec};
use crate::host::{self, Progress};
use crate::{build, setup};

/// Twice what it takes under emulation on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(12);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kernel series of the guest: 6.1, 6.18, ... or `newest`
    #[arg(long, value_name = "SERIES", default_value = "6.1")]
    kernel: String,
    /// How often every watcher has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Pairs of mount and umount back to back, in each turn
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    burst: u32,
    /// Pairs with a pause after each, in each turn
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    paced: u32,
    /// That pause
    #[arg(long, value_name = "MS", default_value_t = 12)]
    every: u64,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    setup::ensure(std::slice::from_ref(&options.kernel))?;
    let progress = Progress::start();
    let mut files: Vec<GuestFile> = build::guest_binaries(Arch::Amd64)?.into_iter().map(GuestFile::in_bin).collect();
    files.extend(build::wake_floor()?.into_iter().map(GuestFile::in_bin));
    let peer = mountsnoop::files();
    let mut command = command(options);
    match peer {
        Ok(peer) => files.extend(peer),
        Err(error) => command.extend(["--no-mountsnoop".to_owned(), format!("cannot be had: {error:#}")]),
    }
    progress.say(&format!("built; a guest with {} measures for some minutes", options.kernel));
    let text = measure(&options.kernel, command, files)?;
    let run = Run::read(&String::from_utf8_lossy(&text)).context("reading what the guest measured")?;
    show(&run, &text, &options.kernel)?;
    progress.say("done");
    Ok(ExitCode::SUCCESS)
}

fn command(options: &Options) -> Vec<String> {
    let numbers = [
        ("--rounds", u64::from(options.rounds)),
        ("--burst", options.burst.into()),
        ("--paced", options.paced.into()),
        ("--every", options.every),
    ];
    let numbers = numbers.into_iter().flat_map(|(name, number)| [name.to_owned(), number.to_string()]);
    ["xtask", "bench", "inside"].into_iter().map(String::from).chain(numbers).collect()
}

fn measure(kernel: &str, command: Vec<String>, files: Vec<GuestFile>) -> Result<Vec<u8>> {
    let mut spec = Spec::new(kernel, &[]);
    spec.command = command;
    spec.timeout = TIMEOUT;
    spec.files = files;
    guest::run(&spec)?.success(&spec)
}

/// The table, the picture, the measurements behind both, and the closing line.
fn show(run: &Run, raw: &[u8], kernel: &str) -> Result<()> {
    let figures = report::Figures::of(run)?;
    let dir = build::target_dir()?.join("bench");
    let path = |end: &str| dir.join(format!("trace-{kernel}.{end}"));
    host::write(&path("jsonl"), raw)?;
    host::write(&path("svg"), plot::svg(run)?.as_bytes())?;
    println!("{}", report::table(run, &figures));
    println!("plot: {}, measurements: {}", path("svg").display(), path("jsonl").display());
    println!("{}", report::closing_line(run, &figures));
    Ok(())
}
