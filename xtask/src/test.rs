//! `cargo xtask test`: every check of the project in one run. A failed step does not stop the others, except those that
//! need its result; a failed step counts as a failed test. The last line of stdout is the count, alone.

mod count;
mod guests;
mod host_steps;
mod plan;

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::guest::{Arch, System};
use crate::setup;
use count::Count;
pub(crate) use plan::Attach;
use plan::Guest;

/// A guest has 1 GiB and two processors, of which its trials keep less than one busy.
const MOST_AT_ONCE: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the guests out
    #[arg(long, conflicts_with_all = ["full", "kernels"])]
    quick: bool,
    /// All trials on each kernel: 5.10, 6.1, 6.12, 6.18 and the newest with fentry, 5.10 and 6.18 with kprobes; some on arm64
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

/// Something to do in a step.
struct Job<'a> {
    name: String,
    /// Whether its count is part of the run's.
    gates: bool,
    work: Box<dyn FnOnce() -> Result<Count> + Send + 'a>,
}

impl Job<'_> {
    fn done(self) -> Step {
        eprintln!("\n=== {}", self.name);
        let start = Instant::now();
        let count = (self.work)().unwrap_or_else(|error| {
            eprintln!("{}: {error:#}", self.name);
            Count::failure(&format!("{error:#}"))
        });
        let step = Step { name: self.name, time: start.elapsed(), count, skipped: false, gates: self.gates };
        eprintln!("=== {}", step.line());
        step
    }
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
    fn step<'a>(&mut self, name: &str, work: impl FnOnce() -> Result<Count> + Send + 'a) -> bool {
        let step = Job { name: name.to_owned(), gates: true, work: Box::new(work) }.done();
        let passed = step.count.failed == 0;
        self.steps.push(step);
        passed
    }

    /// Runs several, as many at once as there are processors, but not more than `MOST_AT_ONCE`, and notes how each ended, in their
    /// order.
    fn at_once(&mut self, jobs: Vec<Job<'_>>) {
        let lanes = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_AT_ONCE);
        let done = Mutex::new(Vec::new());
        let waiting = Mutex::new(jobs.into_iter().enumerate());
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
        thread::scope(|scope| {
            for _ in 0..lanes {
                scope.spawn(|| {
                    while let Some((number, job)) = next() {
                        let step = job.done();
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((number, step));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(number, _)| *number);
        self.steps.extend(done.into_iter().map(|(_, step)| step));
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
        self.steps.iter().filter(|step| step.gates).fold(Count::default(), |sum, step| sum + step.count.clone())
    }

    /// One line per step, under it what failed in it and why, then the count.
    fn print(&self) {
        println!();
        for step in &self.steps {
            println!("{}", step.line());
            for why in &step.count.why {
                println!("                {why}");
            }
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

/// What these guests need.
fn set_up(guests: &[Guest]) -> Result<()> {
    let has_node = guests.iter().any(|guest| guest.system() == System::Node);
    let system = if has_node { System::Node } else { System::Busybox };
    setup::ensure_for(Arch::Amd64, system, &plan::kernels(guests))
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let guests = options.guests();
    let mut report = Report::default();
    let ready = report.step("set-up", || {
        if options.quick { setup::ensure_toolchain(Arch::Amd64) } else { set_up(&guests) }.map(|()| Count::default())
    });
    if ready {
        host_steps::run(&mut report);
        if !options.quick {
            guests::run(&mut report, &guests);
        }
        if options.full {
            guests::arm64(&mut report);
        }
    }
    report.print();
    if report.total().failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
