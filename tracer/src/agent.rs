//! Wires the rooms and shuts them down; the one place that spawns.

mod error;
mod hands;

use std::{
    collections::VecDeque,
    fs, future,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::{self, ExitCode},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::{
    system::uname,
    time::{ClockId, clock_gettime},
};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    task::yield_now,
    time::sleep,
};

pub use self::error::AgentError;
use self::hands::Hands;
use crate::{
    cli::trace::Settings,
    clock::Clock,
    correlate::Kubelet,
    engine::{Counts, Effect, Engine, Input},
    host::{cgroups, namespaces},
    limit::{limiter::Limiter, policy::Policy},
    output::{
        json::Origin,
        say::note,
        show::{Flow, Show},
    },
    probe::load::Probes,
    stream::Stream,
};

/// Where the node keeps its cgroups.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Shows operations until the settings, a signal or the reader of the output end it.
pub fn trace(probes: Probes, settings: Settings) -> Result<ExitCode, AgentError> {
    let origin = origin();
    let duration = settings.duration;
    let mut show = Show::new(settings, origin, terminal_width());
    let ready = format!("ready: hooks={}, tracing all mount namespaces", probes.kind());
    show.head().map_err(AgentError::Output)?;
    run(probes, Engine::new(process::id(), None), duration, &ready, |effect| match effect {
        Effect::Emit { seq, operation } => Ok((show.operation(seq, &operation).map_err(AgentError::Output)?, None)),
        Effect::Limit(_) => Ok((Flow::On, None)),
    })
}

/// Limits the disks of pods' volumes until a signal ends it. The limits stay.
pub fn limit(probes: Probes, policy: Policy, kubelet_dir: PathBuf) -> Result<ExitCode, AgentError> {
    let clock = origin().clock;
    // The probes are attached: a pod whose cgroup is made during the scan is seen twice, never not at all.
    let pods = cgroups::scan(Path::new(CGROUP_ROOT), 0)?;
    let namespace = namespaces::mount_namespace(Path::new("/proc"), 1)?;
    let kubelet_dir = real_kubelet_dir(kubelet_dir);
    let kubelet = Kubelet { directory: kubelet_dir.as_os_str().as_encoded_bytes().to_vec(), namespace };
    let mut hands = Hands::new(Path::new(CGROUP_ROOT), kubelet_dir)?;
    let (kind, mode, rules) = (probes.kind(), policy.mode.name(), policy.rules.len());
    let ready = format!("ready: hooks={kind} mode={mode} rules={rules} pods={}", pods.len());
    let limiter = Limiter::new(policy, kubelet, clock, pods);
    run(probes, Engine::new(process::id(), Some(limiter)), None, &ready, |effect| match effect {
        Effect::Emit { .. } => Ok((Flow::On, None)),
        Effect::Limit(order) => Ok((Flow::On, hands.carry_out(order)?)),
    })
}

/// The kernel's paths have no links in them, so the kubelet's directory must not either.
fn real_kubelet_dir(typed: PathBuf) -> PathBuf {
    match namespaces::real_directory(Path::new("/proc"), &typed) {
        Some(real) if real != typed => {
            note(format_args!("note: {} is {}", typed.display(), real.display()));
            real
        }
        Some(real) => real,
        None => {
            note(format_args!(
                "note: the kubelet's directory {} is not there; it is waited for, but --kubelet-dir may be wrong",
                typed.display()
            ));
            typed
        }
    }
}

/// Takes the ring through the engine until it is time to end; prints what was seen and what was lost.
///
/// `ready` is said when a signal would already end it in order.
fn run(
    mut probes: Probes,
    engine: Engine,
    duration: Option<Duration>,
    ready: &str,
    act: impl FnMut(Effect) -> Result<(Flow, Option<Input<'static>>), AgentError>,
) -> Result<ExitCode, AgentError> {
    let ring = probes.take_ring()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
    let counts = runtime.block_on(async {
        let stream = Stream::new(ring).map_err(AgentError::Ring)?;
        let signals = Signals::new()?;
        note(ready);
        Pump { stream, engine, act, probes: &probes, losses_at: None, dropped: 0, more: false }
            .run(signals, duration)
            .await
    })?;
    let losses = probes.losses()?;
    let missed = losses.missed.map_or_else(|| "unknown".to_owned(), |missed| missed.to_string());
    let unresolved = counts.unresolved + counts.undecodable;
    let (seen, dropped) = (counts.operations, losses.dropped);
    note(format_args!("stats: seen={seen} dropped={dropped} missed={missed} unresolved={unresolved}"));
    Ok(ExitCode::SUCCESS)
}

/// How long after a record the kernel's counters are looked at: a loss is said within a second, and an idle agent
/// has no timer.
const LOSSES_AFTER: Duration = Duration::from_millis(500);

/// Records that are taken before the loop looks for signals, deadlines and losses again, however many there are.
const BATCH: usize = 4096;
/// Batches that a full ring of 8 MiB can hold at most: a record has no less than 48 bytes there.
const RING_BATCHES: usize = 43;

/// The one loop.
struct Pump<'a, A> {
    stream: Stream,
    engine: Engine,
    act: A,
    probes: &'a Probes,
    /// When to look for losses.
    losses_at: Option<Instant>,
    /// Losses that were said.
    dropped: u64,
    /// The ring was not empty when the last batch ended.
    more: bool,
}

impl<A: FnMut(Effect) -> Result<(Flow, Option<Input<'static>>), AgentError>> Pump<'_, A> {
    async fn run(&mut self, mut signals: Signals, duration: Option<Duration>) -> Result<Counts, AgentError> {
        let mut end = std::pin::pin!(sleep_or_never(duration));
        loop {
            let deadline = self.engine.next_deadline_ns();
            let wait = deadline.map(|at| Duration::from_nanos(at.saturating_sub(boot_ns())));
            let over = tokio::select! {
                ready = self.stream.ready() => { ready.map_err(AgentError::Ring)?; false }
                () = sleep_or_never(wait) => false,
                () = sleep_or_never(self.losses_at.map(|at| at.saturating_duration_since(Instant::now()))) => false,
                () = yield_or_never(self.more) => false,
                () = signals.next() => true,
                () = &mut end => true,
            };
            if self.losses_at.is_some_and(|at| at <= Instant::now()) {
                self.say_losses()?;
            }
            let due = deadline.is_some_and(|at| at <= boot_ns());
            let flow = if due { self.step(Input::Deadline)? } else { Flow::On };
            // At the end all that the ring can hold is still taken, but not what others keep adding.
            let batches = if over { RING_BATCHES } else { 1 };
            if flow == Flow::End || self.drain(batches)? == Flow::End || over {
                return Ok(self.engine.counts());
            }
        }
    }

    /// Takes what the ring holds now through the engine, at most so many batches.
    fn drain(&mut self, batches: usize) -> Result<Flow, AgentError> {
        for _ in 0..batches * BATCH {
            let Some(record) = self.stream.take() else {
                self.more = false;
                return Ok(Flow::On);
            };
            self.losses_at.get_or_insert_with(|| Instant::now() + LOSSES_AFTER);
            if self.step(Input::Record(&record))? == Flow::End {
                return Ok(Flow::End);
            }
        }
        self.more = true;
        Ok(Flow::On)
    }

    fn say_losses(&mut self) -> Result<(), AgentError> {
        self.losses_at = None;
        let dropped = self.probes.losses()?.dropped;
        if dropped > self.dropped {
            note(format_args!(
                "loss: the ring was full, {} records were dropped ({dropped} in all)",
                dropped - self.dropped
            ));
            self.dropped = dropped;
        }
        Ok(())
    }

    /// One input, and what its effects answer.
    fn step(&mut self, input: Input<'_>) -> Result<Flow, AgentError> {
        let mut effects = VecDeque::from(self.engine.step(input, boot_ns()));
        while let Some(effect) = effects.pop_front() {
            let (flow, answer) = (self.act)(effect)?;
            if flow == Flow::End {
                return Ok(Flow::End);
            }
            if let Some(answer) = answer {
                effects.extend(self.engine.step(answer, boot_ns()));
            }
        }
        Ok(Flow::On)
    }
}

async fn sleep_or_never(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => future::pending().await,
    }
}

async fn yield_or_never(now: bool) {
    if now { yield_now().await } else { future::pending().await }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, AgentError> {
        let listen = |kind| signal(kind).map_err(AgentError::Signals);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn origin() -> Origin {
    let now = Timestamp::now();
    Origin {
        node: uname().nodename().to_string_lossy().into_owned(),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned()),
        agent_start: format!("{now:.0}"),
        clock: Clock::new(now.as_nanosecond(), boot_ns()),
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds, the clock that the probes stamp with.
fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(Duration::try_from(now).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

fn terminal_width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0)
}
