//! The part of the bench that runs in the guest: rounds, each with every watcher in turn, then an idle tracer. Prints
//! what was measured as lines of JSON and judges nothing.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::ground::{self, Ground};
use super::latency::{self, Line};
use super::record::{Absent, Idle, Measurement, Place, Said, Watcher, Work};
use super::watch::Watching;
use super::{idle, numbers, workload};

/// Time for a watcher that has fallen behind; what it has not told by then, it tells when it is ended.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Clone, clap::Args)]
pub(crate) struct Options {
    /// How often every watcher has its turn
    #[arg(long)]
    rounds: usize,
    /// Pairs back to back, in each turn
    #[arg(long)]
    burst: u32,
    /// Pairs with pauses, in each turn
    #[arg(long)]
    paced: u32,
    /// The pause after a pair, in milliseconds
    #[arg(long)]
    every: u64,
    /// There is no mountsnoop, because of this
    #[arg(long)]
    no_mountsnoop: Option<String>,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let ground = ground::prepare()?;
    ground::pin(ground::WATCHER_CPU)?;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    say(&Said::Ground(Place { release, mounts: ground.mounts }))?;
    let mut bench = Turns { options, ground, absent: Vec::new() };
    if let Some(why) = &options.no_mountsnoop {
        bench.give_up(Watcher::Mountsnoop, why.clone())?;
    }
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        bench.round(round)?;
    }
    eprintln!("idle for half a minute");
    say(&Said::Idle(idle()?))?;
    Ok(ExitCode::SUCCESS)
}

fn say(said: &Said) -> Result<()> {
    println!("{}", serde_json::to_string(said).context("writing what was measured as JSON")?);
    Ok(())
}

/// What holds from round to round.
struct Turns<'a> {
    options: &'a Options,
    ground: Ground,
    absent: Vec<Watcher>,
}

impl Turns<'_> {
    fn round(&mut self, round: usize) -> Result<()> {
        for watcher in numbers::rotated(&Watcher::ALL, round) {
            if self.absent.contains(&watcher) {
                continue;
            }
            match self.turn(watcher, round) {
                Ok(measurement) => say(&Said::Measured(measurement))?,
                // The peer may not run on this kernel; all else must.
                Err(error) if watcher == Watcher::Mountsnoop => self.give_up(watcher, format!("{error:#}"))?,
                Err(error) => return Err(error).with_context(|| format!("`{}`", watcher.name())),
            }
        }
        Ok(())
    }

    fn give_up(&mut self, watcher: Watcher, why: String) -> Result<()> {
        self.absent.push(watcher);
        say(&Said::Absent(Absent { watcher, why }))
    }

    /// One watcher, one workload.
    fn turn(&self, watcher: Watcher, round: usize) -> Result<Measurement> {
        let watching = Watching::start(watcher)?;
        let work = self.work(&self.ground.target)?;
        std::thread::sleep(SETTLE);
        let lines = watching.map(Watching::stop).transpose()?.unwrap_or_default();
        measured(watcher, round, &work, &lines)
    }

    fn work(&self, target: &Path) -> Result<Work> {
        let Options { burst, paced, every, .. } = self.options;
        let numbers = [burst.to_string(), paced.to_string(), every.to_string()];
        let mut command = Command::new("/proc/self/exe");
        command.args(["bench", "workload", "--burst", &numbers[0], "--paced", &numbers[1], "--every", &numbers[2]]);
        let output = command.arg(target).stderr(Stdio::inherit()).output().context("cannot start the workload")?;
        if !output.status.success() {
            bail!("the workload ended with {}; what it said is above", output.status);
        }
        serde_json::from_slice(&output.stdout).context("reading the workload's stamps")
    }
}

fn measured(watcher: Watcher, round: usize, work: &Work, lines: &[Line]) -> Result<Measurement> {
    let arrivals = match watcher {
        Watcher::Floor => latency::of_floor(lines),
        Watcher::TracePipe => latency::of_trace(lines, work.pid),
        Watcher::Mountsnoop => latency::of_mountsnoop(lines, work, workload::WARM_UP.into()),
        Watcher::Nobody | Watcher::Trace | Watcher::Agent => Vec::new(),
    };
    let measurement = Measurement {
        watcher,
        round,
        burst: latency::pair_times(&work.burst),
        paced: latency::pair_times(&work.paced),
        getppid_ns: work.getppid_ns,
        seen_burst: latency::during(&work.burst, &arrivals),
        seen_paced: latency::during(&work.paced, &arrivals),
    };
    let seen = measurement.seen_burst.len() + measurement.seen_paced.len();
    if matches!(watcher, Watcher::Floor | Watcher::TracePipe) && seen != latency::calls(work) {
        bail!("it told of {seen} of {} calls, so that its figures say nothing", latency::calls(work));
    }
    Ok(measurement)
}

fn idle() -> Result<Idle> {
    let watching = Watching::start(Watcher::Trace)?.context("`trace` is a program")?;
    let idle = idle::watch(watching.pid())?;
    watching.stop()?;
    Ok(idle)
}
