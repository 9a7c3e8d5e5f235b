//! `cargo xtask test`: every check of the project in one run. A failed step does not stop the others, except those that
//! need its result; a failed step counts as a failed test. The last line of stdout is the count, alone.

mod count;
mod guests;
mod host_steps;
mod plan;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::setup;
use count::Count;
pub(crate) use plan::Attach;
use plan::Guest;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the guests out
    #[arg(long, conflicts_with_all = ["full", "kernels"])]
    quick: bool,
    /// All trials on each kernel: 5.10, 6.1, 6.12, 6.18 and the newest with fentry, 5.10 and 6.18 with kprobes
    #[arg(long, conflicts_with = "kernels")]
    full: bool,
    /// Kernel series for the guests; repeat for several [default: those of the operations on every kernel and kind, the rest on
    /// 6.18, the limiter on 5.10]
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,
    /// With --kernel: how to attach; repeat for both
    #[arg(long, value_enum, requires = "kernels", default_value = "fentry")]
    attach: Vec<Attach>,
}

impl Options {
    fn guests(&self) -> Vec<Guest> {
        if self.full {
            plan::full()
        } else if self.kernels.is_empty() {
            plan::default()
        } else {
            plan::chosen(&self.kernels, &self.attach)
        }
    }
}

/// All steps so far.
#[derive(Default)]
struct Report {
    steps: Vec<Step>,
}

struct Step {
    name: String,
    time: Duration,
    count: Count,
    /// Left out, because what it needs failed.
    skipped: bool,
    /// Whether its count is part of the run's.
    gates: bool,
}

impl Report {
    /// Runs one step, times it, and notes how it ended. True if nothing failed.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Count>) -> bool {
        self.step_that(true, name, work)
    }

    /// The same; one that does not gate is reported and not counted.
    fn step_that(&mut self, gates: bool, name: &str, work: impl FnOnce() -> Result<Count>) -> bool {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let count = work().unwrap_or_else(|error| {
            eprintln!("{error:#}");
            Count { passed: 0, failed: 1 }
        });
        let step = Step { name: name.to_owned(), time: start.elapsed(), count, skipped: false, gates };
        eprintln!("=== {}", step.line());
        self.steps.push(step);
        count.failed == 0
    }

    /// Notes a step that cannot run, because one that it needs has failed.
    fn skip(&mut self, name: &str) {
        self.steps.push(Step {
            name: name.to_owned(),
            time: Duration::ZERO,
            count: Count::default(),
            skipped: true,
            gates: true,
        });
    }

    fn total(&self) -> Count {
        self.steps.iter().filter(|step| step.gates).fold(Count::default(), |sum, step| sum + step.count)
    }

    /// One line per step, then the count.
    fn print(&self) {
        println!();
        for step in &self.steps {
            println!("{}", step.line());
        }
        let total = self.total();
        println!("{} passed, {} failed", total.passed, total.failed);
    }
}

impl Step {
    fn line(&self) -> String {
        let minutes = self.time.as_secs_f64() / 60.0;
        let verdict = match (self.count.failed, self.count.passed) {
            _ if self.skipped => String::from("not run"),
            (0, 0) => String::from("ok"),
            (0, passed) => format!("ok, {passed} passed"),
            (failed, passed) => format!("FAILED, {passed} passed, {failed} failed"),
        };
        format!("{minutes:6.2} min  {}: {verdict}", self.name)
    }
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let guests = options.guests();
    let mut report = Report::default();
    let ready = report.step("set-up", || {
        if options.quick { setup::ensure_toolchain() } else { setup::ensure(&plan::kernels(&guests)) }
            .map(|()| Count::default())
    });
    if ready {
        host_steps::run(&mut report);
        if !options.quick {
            guests::run(&mut report, &guests);
        }
    }
    report.print();
    if report.total().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
