//! `cargo xtask bench`: what mount-tracer costs, beside what the same work costs without it, with the least that any
//! tracer could do, and with a peer; all in one guest and one run, because only there figures can be compared.

mod ground;
mod idle;
mod inside;
mod latency;
mod mountsnoop;
mod numbers;
mod plot;
mod record;
mod report;
mod seeding;
mod tap;
mod trace;
mod watch;
mod workload;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// What can be measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Goals C1, C2 and C5: what a mount costs while traced, how late it is seen, what an idle tracer takes
    Trace(trace::Options),
    /// How long the agent takes to know a table of many mounts, and what memory it holds for it
    Seeding(seeding::Options),
    /// The part of `trace` that runs in the guest
    #[command(hide = true)]
    Inside(inside::Options),
    /// The work that is measured
    #[command(hide = true)]
    Workload(workload::Options),
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    match &options.bench {
        Bench::Trace(options) => trace::run(options),
        Bench::Seeding(options) => seeding::run(options),
        Bench::Inside(options) => inside::run(options),
        Bench::Workload(options) => workload::run(options),
    }
}
