//! `cargo xtask setup`: finds what is missing and installs that and nothing else. What cannot be installed is collected
//! and listed in one go, each with how to get it. May write: the rustup toolchain, cargo's binaries, Debian packages,
//! and `target/guest`.

mod packages;
mod rust;

use std::fs::File;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::guest::node::rootfs;
use crate::guest::{Arch, System, kernels};
use crate::host::{self, Progress};

/// What `test` and `demo` boot when nothing else was asked for.
const DEFAULT_SERIES: [&str; 3] = ["6.1", "6.18", "5.10"];

/// What is fetched from Debian's archive for guests, not for this machine.
const AGAIN: &str = "run it again on Debian 12 or newer, with the Debian archive reachable";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// A kernel series to have in target/guest: 5.10, 6.1, 6.12, 6.18, ... or `newest`; repeat for several [default: 6.1 6.18 5.10]
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,
    /// The root file system of a node, too
    #[arg(long)]
    node: bool,
}

/// One thing that has to be there.
struct Piece {
    name: String,
    /// How a person gets it when we cannot.
    remedy: String,
    install: Box<dyn Fn() -> Result<String>>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let defaults = DEFAULT_SERIES.map(String::from);
    let series = if options.kernels.is_empty() { &defaults[..] } else { &options.kernels[..] };
    let progress = Progress::start();
    let system = if options.node { System::Node } else { System::Busybox };
    ensure_for(Arch::Amd64, system, series)?;
    progress.say(&format!("set-up: all is there (kernels {})", series.join(", ")));
    Ok(ExitCode::SUCCESS)
}

/// Everything for a guest of these series, installing what is missing; silent if nothing is. One runs at a time.
pub(crate) fn ensure(series: &[String]) -> Result<()> {
    ensure_for(Arch::Amd64, System::Busybox, series)
}

/// The same for a guest of another architecture or with another system.
pub(crate) fn ensure_for(arch: Arch, system: System, series: &[String]) -> Result<()> {
    if system == System::Node && arch != Arch::Amd64 {
        bail!("a node has the machine's own architecture, {}; leave --arch out", Arch::Amd64.name());
    }
    let mut pieces = rust::missing(arch)?;
    pieces.extend(packages::missing(arch, system));
    if arch.lacks_busybox()? {
        pieces.push(busybox_piece(arch));
    }
    pieces.extend(missing_kernels(arch, series)?);
    if system == System::Node && rootfs::installed()?.is_none() {
        pieces.push(rootfs_piece());
    }
    finish(&pieces)
}

/// What building for an architecture and unit tests need: no packages for guests, no kernels.
pub(crate) fn ensure_toolchain(arch: Arch) -> Result<()> {
    finish(&rust::missing(arch)?)
}

fn missing_kernels(arch: Arch, series: &[String]) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for series in series {
        if kernels::installed(arch, series)?.is_none() {
            pieces.push(kernel_piece(arch, series));
        }
    }
    Ok(pieces)
}

fn kernel_piece(arch: Arch, series: &str) -> Piece {
    let wanted = series.to_owned();
    Piece {
        name: format!("kernel {series} for {}", arch.name()),
        remedy: AGAIN.to_owned(),
        install: Box::new(move || kernels::install(arch, &wanted).map(|kernel| kernel.version)),
    }
}

fn busybox_piece(arch: Arch) -> Piece {
    Piece {
        name: format!("busybox for {}", arch.name()),
        remedy: AGAIN.to_owned(),
        install: Box::new(move || arch.fetch_busybox().map(|()| String::from("for guests only"))),
    }
}

fn rootfs_piece() -> Piece {
    Piece {
        name: String::from("root file system of a node (half a minute)"),
        remedy: format!("as root, {AGAIN}"),
        install: Box::new(rootfs::install),
    }
}

/// Installs the pieces one after the other and reports all that failed together.
fn finish(pieces: &[Piece]) -> Result<()> {
    if pieces.is_empty() {
        return Ok(());
    }
    let progress = Progress::start();
    let lock = lock()?;
    let mut failures = Vec::new();
    for piece in pieces {
        progress.say(&format!("{}: missing, installing", piece.name));
        match (piece.install)() {
            Ok(what) => progress.say(&format!("{}: installed {what}", piece.name)),
            Err(error) => {
                progress.say(&format!("{}: failed", piece.name));
                failures.push(format!("  {}: {error:#}\n      to get it: {}", piece.name, piece.remedy));
            }
        }
    }
    drop(lock);
    if !failures.is_empty() {
        bail!("{} of {} missing pieces could not be installed:\n{}", failures.len(), pieces.len(), failures.join("\n"));
    }
    Ok(())
}

/// Held while installing, so that two set-ups of one checkout do not meet.
fn lock() -> Result<File> {
    let path = host::guest_dir()?.join("setup.lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.lock().with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}
