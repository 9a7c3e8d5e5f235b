//! `cargo xtask demo`: the whole of mount-tracer on one screen. A pod's volume is mounted, the mount is seen, the disk is
//! limited, and the pod's writes get slower; each step says what it does and shows what came of it.
//!
//! Without `--native` all of it happens in a throw-away guest. With it, on this machine: everything it makes it takes away
//! again, also when a step fails.

mod cgroup;
mod disk;
mod guest;
mod mount_tracer;
mod plan;
mod story;
mod undo;
mod volume;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::guest::Arch;
use crate::{build, setup};

/// What can be chosen.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kernel series of the guest: 6.1, 6.18, ... or `newest`
    #[arg(long, value_name = "SERIES", default_value = "6.1")]
    kernel: String,
    /// On this machine instead of in a guest; needs root
    #[arg(long)]
    native: bool,
    /// Names, sizes and limits follow from this number [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// With --native: the disk to use, blank or with an ext4 on it [default: a loop device on a temporary file]
    #[arg(long, value_name = "DEVICE", requires = "native")]
    disk: Option<PathBuf>,
    /// Be the process that writes to this file, in --in-cgroup, for --seconds
    #[arg(long, hide = true, requires_all = ["in_cgroup", "seconds"])]
    write_to: Option<PathBuf>,
    /// Be a process in this cgroup that does nothing until its input ends
    #[arg(long, hide = true)]
    in_cgroup: Option<PathBuf>,
    #[arg(long, hide = true)]
    seconds: Option<u64>,
}

/// Runs the demo, or the part of it that a child of the demo was asked to be.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if let Some(cgroup) = &options.in_cgroup {
        return match &options.write_to {
            Some(file) => writer::serve(file, cgroup, Duration::from_secs(options.seconds.unwrap_or_default())),
            None => cgroup::serve_pause(cgroup),
        };
    }
    let seed = options.seed.map_or_else(plan::seed_from_clock, Ok).context("choosing a seed")?;
    if !options.native {
        return guest::run(&options.kernel, seed);
    }
    // Started by cargo, it shows what the sources say; in a guest there is no cargo, and the binary is in PATH.
    if std::env::var_os("CARGO").is_some() {
        setup::ensure_toolchain(Arch::Amd64)?;
        build::native_binary()?;
    }
    story::run(seed, options.disk.as_deref())
}
