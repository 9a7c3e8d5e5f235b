//! The workshop of mount-tracer: set-up, guests, tests, benches. It dispatches, nothing else; each subcommand is one file.
//!
//! Nothing here is needed to build or to run mount-tracer.

mod arm64;
mod audit;
mod bench;
mod build;
mod cri;
mod demo;
mod guest;
mod host;
mod image;
mod mirror_diff;
mod setup;
mod test;
#[cfg(test)]
mod tidy;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The workshop of mount-tracer", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building and testing needs and is missing, and nothing else
    Setup(setup::Options),
    /// Run one command in a throw-away guest with a Debian kernel
    Vm(vm::Options),
    /// Check, test, and test again in guests; the last line counts
    Test(test::Options),
    /// Compare the agent's mirror with the kernel's mount tables after random operations, in a guest
    MirrorDiff(mirror_diff::Options),
    /// Check, trace and test on 64-bit ARM, in a guest whose processor is emulated
    Arm64(arm64::Options),
    /// Show on one screen what mount-tracer does, in a guest or here
    Demo(demo::Options),
    /// Measure what mount-tracer costs, beside the least that is possible and a peer
    Bench(bench::Options),
    /// Make the agent's container image, an OCI archive, without a container engine
    Image(image::Options),
    /// Check what our dependencies bring along: bans, licences, sources, advisories
    Audit(audit::Options),
    /// Write the client of the container runtime interface anew, from its proto file
    Cri(cri::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(options) => setup::run(&options),
        Command::Vm(options) => vm::run(options),
        Command::Test(options) => Ok(test::run(&options)),
        Command::MirrorDiff(options) => mirror_diff::run(&options),
        Command::Arm64(options) => arm64::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Image(options) => image::run(&options),
        Command::Audit(options) => audit::run(&options),
        Command::Cri(options) => cri::run(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
