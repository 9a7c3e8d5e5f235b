//! `cargo xtask test`: every check of the project in one run. A failed step does not stop the others, except those that
//! need its result; a failed step counts as a failed test. The last line of stdout is the count, alone.

mod count;
mod guests;
mod host_steps;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::guest::kernels::NEWEST;
use crate::setup;
use count::Count;

/// What `--full` boots.
const FULL_SERIES: [&str; 4] = ["6.1", "6.12", "6.18", NEWEST];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the guests out
    #[arg(long, conflicts_with_all = ["full", "kernels"])]
    quick: bool,
    /// All kernels: 6.1, 6.12, 6.18 and the newest
    #[arg(long, conflicts_with = "kernels")]
    full: bool,
    /// Kernel series for the guests; repeat for several [default: 6.1 6.18]
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,
}

impl Options {
    fn series(&self) -> Vec<String> {
        if self.full {
            FULL_SERIES.map(String::from).to_vec()
        } else if self.kernels.is_empty() {
            setup::DEFAULT_SERIES.map(String::from).to_vec()
        } else {
            self.kernels.clone()
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
}

impl Report {
    /// Runs one step, times it, and notes how it ended. True if nothing failed.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Count>) -> bool {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let count = work().unwrap_or_else(|error| {
            eprintln!("{error:#}");
            Count { passed: 0, failed: 1 }
        });
        let step = Step { name: name.to_owned(), time: start.elapsed(), count, skipped: false };
        eprintln!("=== {}", step.line());
        self.steps.push(step);
        count.failed == 0
    }

    /// Notes a step that cannot run, because one that it needs has failed.
    fn skip(&mut self, name: &str) {
        self.steps.push(Step { name: name.to_owned(), time: Duration::ZERO, count: Count::default(), skipped: true });
    }

    fn total(&self) -> Count {
        self.steps.iter().fold(Count::default(), |sum, step| sum + step.count)
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
    let series = options.series();
    let mut report = Report::default();
    let ready = report.step("set-up", || {
        if options.quick { setup::ensure_toolchain() } else { setup::ensure(&series) }.map(|()| Count::default())
    });
    if ready {
        host_steps::run(&mut report);
        if !options.quick {
            guests::run(&mut report, &series);
        }
    }
    report.print();
    if report.total().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
