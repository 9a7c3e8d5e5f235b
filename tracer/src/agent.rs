//! Wires the rooms and shuts them down; the one place that spawns.

mod asks;
mod door;
mod doors;
mod error;
mod feed;
mod hands;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod lock;
mod metrics_door;
mod namer;
mod owners;
mod pod_figures;
mod policy_watch;
mod pump;
mod reader;
mod record;
mod replay;
mod stats;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    time::Duration,
};

#[cfg(feature = "kubernetes")]
pub use self::kubernetes::{Follower, feed};
pub use self::{
    doors::{DIRECTORY, Doors, Metrics},
    error::AgentError,
    feed::Feed,
    namer::{RuntimeSocket, name_all},
    record::RecordFile,
    replay::replay,
};
use self::{hands::Hands, namer::Namer, owners::OwnersHand, pod_figures::PodFigures, pump::Beside};
use crate::{
    cli::{EXIT_LOSS, trace},
    clock::Clock,
    correlate::Kubelet,
    engine::{Effect, Engine},
    host::{block::Block, cgroups, namespaces},
    limit::{limiter::Limiter, policy::Policy},
    mirror::Mirror,
    output::{
        json::Origin,
        recording::Known,
        say::note,
        show::{Flow, Show, terminal_width},
        words,
    },
    probe::running::Probes,
    stream::Rings,
};
use jiff::Timestamp;
use rustix::{
    system::uname,
    time::{ClockId, clock_gettime},
};

/// Where the node keeps its cgroups.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// What `trace` does besides.
#[derive(Debug, Default)]
pub struct Besides {
    /// Into what all is written that is seen.
    pub record: Option<RecordFile>,
    /// Whether what is mounted already is shown first.
    pub existing: bool,
    /// The container runtime that is asked for names.
    pub runtime: RuntimeSocket,
    /// The kubelet's directory, by which volumes are known.
    pub kubelet_dir: PathBuf,
    /// Whether a loss is a failure.
    pub fail_on_loss: bool,
}

/// Shows operations until the settings, a signal or the reader of the output end it.
pub fn trace(
    probes: Probes,
    rings: Rings,
    settings: trace::Settings,
    besides: Besides,
) -> Result<ExitCode, AgentError> {
    let origin = origin();
    let typed = besides.kubelet_dir;
    // It need not be there: a node may have no kubelet.
    let kubelet_dir = namespaces::real_directory(Path::new("/proc"), &typed).unwrap_or(typed);
    let known = Known { own_pid: process::id(), kubelet_dir: kubelet_dir.to_string_lossy().into_owned() };
    let engine = Engine::new(known.own_pid, None).with_kubelet_dir(known.kubelet_dir.clone().into_bytes());
    let record = besides.record.map(|file| file.begin(&origin, known)).transpose()?;
    let owners = Some(OwnersHand::new(Path::new(CGROUP_ROOT)));
    let namer = Some(Namer::start(besides.runtime)?);
    let tables = besides.existing;
    let beside = Beside { duration: settings.duration, record, tables, owners, namer, ..Beside::default() };
    let mut show = Show::new(settings, origin, terminal_width());
    let ready = format!("ready: hooks={}, tracing all mount namespaces", probes.kind());
    show.head().map_err(AgentError::Output)?;
    let stats = pump::run(probes, rings, engine, beside, &ready, |effect| match effect {
        Effect::Emit { seq, operation } => Ok((show.operation(seq, &operation).map_err(AgentError::Output)?, None)),
        Effect::Limit(_) | Effect::Read(_) | Effect::Ask(_) | Effect::Name(_) => Ok((Flow::On, None)),
    })?;
    let failed = besides.fail_on_loss && stats.lost_anything();
    Ok(if failed { ExitCode::from(EXIT_LOSS) } else { ExitCode::SUCCESS })
}

/// What the agent was told.
#[derive(Debug)]
pub struct Settings {
    /// The policy's file.
    pub policy_file: PathBuf,
    /// What it says.
    pub policy: Policy,
    /// The kubelet's directory.
    pub kubelet_dir: PathBuf,
    /// The container runtime that is asked for names.
    pub runtime: RuntimeSocket,
}

/// Limits the disks of pods' volumes until a signal ends it, by a policy and whatever its file says later. The limits stay.
pub fn limit(
    probes: Probes,
    rings: Rings,
    settings: Settings,
    mirror: Mirror,
    mut doors: Doors,
    pods: Option<Feed>,
) -> Result<ExitCode, AgentError> {
    let clock = origin().clock;
    // The probes are attached: a pod whose cgroup is made during the scan is seen twice, never not at all.
    let there = cgroups::scan(Path::new(CGROUP_ROOT), 0)?;
    let namespace = namespaces::mount_namespace(Path::new("/proc"), 1)?;
    let kubelet_dir = real_kubelet_dir(settings.kubelet_dir);
    let kubelet = Kubelet { directory: kubelet_dir.as_os_str().as_encoded_bytes().to_vec(), namespace };
    let pod_figures = Some(PodFigures::new(kubelet_dir.clone()));
    let mut hands = Hands::new(Path::new(CGROUP_ROOT), kubelet_dir)?;
    let policy = settings.policy;
    let (kind, mode, rules) = (probes.kind(), policy.mode.name(), policy.rules.len());
    let ready = format!("ready: hooks={kind} mode={mode} rules={rules} pods={}", there.len());
    let limiter = Limiter::new(policy.clone(), kubelet, clock, there);
    let mut engine = Engine::new(process::id(), Some(limiter)).with_mirror(mirror);
    if pods.is_some() {
        engine = engine.with_pods();
    }
    let beside = Beside {
        watched: Some((settings.policy_file, policy)),
        tables: true,
        asked: Some(doors.open()?),
        owners: Some(OwnersHand::new(Path::new(CGROUP_ROOT))),
        namer: Some(Namer::start(settings.runtime)?),
        pod_figures,
        disks: Some(Block::new("/sys", "/proc")),
        pods,
        ..Beside::default()
    };
    pump::run(probes, rings, engine, beside, &ready, |effect| match effect {
        Effect::Emit { operation, .. } => {
            if let Some(gap) = operation.gap.filter(|gap| gap.doubt.is_some()) {
                note(format_args!("doubt: {}", words::loss(&gap)));
            }
            Ok((Flow::On, None))
        }
        Effect::Read(_) | Effect::Ask(_) | Effect::Name(_) => Ok((Flow::On, None)),
        Effect::Limit(order) => Ok((Flow::On, hands.carry_out(order)?)),
    })?;
    Ok(ExitCode::SUCCESS)
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
