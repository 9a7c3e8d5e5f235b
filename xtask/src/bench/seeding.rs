//! `cargo xtask bench seeding`: how long the agent takes to know a table of many mounts, and what it holds for it, beside what a poller
//! pays for each look: one reading of mountinfo. The same command measures on both sides: the host boots a guest in which it runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::ground::{self, tmpfs};
use super::idle;
use super::record::Watcher;
use super::watch::Watching;
use crate::guest::{self, Arch, GuestFile, Spec};
use crate::{build, setup};

const TIMEOUT: Duration = Duration::from_mins(8);
const BASE: &str = "/tmp/seeding";
/// Mounts of one tree, which is then bound as often as it takes.
const TREE: usize = 1_000;
/// Where the agent answers.
const METRICS: &str = "127.0.0.1:10912";
/// Between two looks at what the agent knows.
const LOOK: Duration = Duration::from_millis(20);
/// Many times what it takes.
const KNOWN: Duration = Duration::from_mins(2);
/// The fastest of so many readings of mountinfo: what else the machine does only ever adds.
const READINGS: u32 = 5;
/// Mounts that mountinfo does not tell: the kernel's first root.
const MOST_HIDDEN: usize = 1;
/// `sysctl fs.mount-max`, for more mounts than any node has.
const MOUNT_MAX: &str = "/proc/sys/fs/mount-max";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kernel series of the guest: 6.1, 6.18, ... or `newest`
    #[arg(long, value_name = "SERIES", default_value = "6.18")]
    kernel: String,
    /// Mounts in thousands, the fewest first; repeat for more sizes [default: 10 and 30]
    #[arg(long, value_name = "N", default_values_t = [10, 30], hide_default_value = true)]
    thousands: Vec<usize>,
    /// This is the guest
    #[arg(long, hide = true)]
    here: bool,
}

pub(super) fn run(options: &Options) -> Result<ExitCode> {
    if options.here {
        return inside(&options.thousands);
    }
    setup::ensure(std::slice::from_ref(&options.kernel))?;
    let mut spec = Spec::new(&options.kernel, &["xtask", "bench", "seeding", "--here"]);
    let sizes = options.thousands.iter().flat_map(|thousands| ["--thousands".to_owned(), thousands.to_string()]);
    spec.command.extend(sizes);
    spec.timeout = TIMEOUT;
    spec.live = true;
    spec.files = build::guest_binaries(Arch::Amd64)?.into_iter().map(GuestFile::in_bin).collect();
    guest::run(&spec)?.success(&spec)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a line for each size, the closing ones.
fn inside(thousands: &[usize]) -> Result<ExitCode> {
    ground::prepare()?;
    fs::write(MOUNT_MAX, "1000000").with_context(|| format!("cannot write {MOUNT_MAX}"))?;
    ground::private(Path::new(BASE))?;
    let mut trees = 0;
    for wanted in thousands {
        while trees < *wanted {
            tree(trees)?;
            trees += 1;
        }
        println!("{}", measured()?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The first one is made mount by mount, the others are copies of it.
fn tree(number: usize) -> Result<()> {
    let first = Path::new(BASE).join("0");
    if number == 0 {
        tmpfs(&first)?;
        // Its root counts too.
        return (1..TREE).try_for_each(|branch| tmpfs(&first.join(branch.to_string())));
    }
    let at = Path::new(BASE).join(number.to_string());
    fs::create_dir(&at).with_context(|| format!("cannot make the directory {}", at.display()))?;
    rustix::mount::mount_bind_recursive(&first, &at)
        .with_context(|| format!("cannot bind {} at {}", first.display(), at.display()))
}

fn measured() -> Result<String> {
    let mounts = ground::count()?;
    let look = (0..READINGS).map(|_| time_of(ground::count)).collect::<Result<Vec<_>>>()?;
    let look = look.into_iter().min().unwrap_or_default();
    let agent = Watching::start(Watcher::Agent)?.context("the agent is a program")?;
    // It waits for its tables since it has said that it is ready.
    let known = time_of(until_known)?;
    let known_mounts = metric(&metrics()?, "mount_tracer_largest_table_mounts")?;
    let hidden = known_mounts.checked_sub(mounts);
    ensure!(hidden.is_some_and(|hidden| hidden <= MOST_HIDDEN), "the agent knows {known_mounts} of {mounts} mounts");
    let memory = idle::memory_of(agent.pid())?;
    agent.stop()?;
    let release = rustix::system::uname();
    Ok(format!(
        "bench-seeding: kernel={} mounts={mounts} known_ms={} anon_kib={} look_ms={}",
        release.release().to_string_lossy(),
        known.as_millis(),
        memory.anon,
        look.as_millis(),
    ))
}

fn time_of<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// Until the agent knows all tables.
fn until_known() -> Result<()> {
    let deadline = Instant::now() + KNOWN;
    loop {
        let text = metrics()?;
        let in_state = |state| metric(&text, &format!("mount_tracer_namespaces{{state=\"{state}\"}}"));
        if in_state("exact")? > 0 && in_state("dirty")? + in_state("unread")? == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not all tables were known within {KNOWN:?}:\n{text}");
        std::thread::sleep(LOOK);
    }
}

/// What the agent says of itself.
fn metrics() -> Result<String> {
    let mut stream = TcpStream::connect(METRICS).with_context(|| format!("cannot connect to {METRICS}"))?;
    let mut text = String::new();
    let asked = stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n");
    asked.and_then(|()| stream.read_to_string(&mut text)).with_context(|| format!("cannot talk to {METRICS}"))?;
    Ok(text)
}

/// The value of a series.
fn metric(text: &str, series: &str) -> Result<usize> {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    value.with_context(|| format!("the agent's metrics have no {series}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let text = "# HELP mounts 3\nmounts_all 4\nmounts 5\nstates{state=\"a\"} 6\r\n";
        assert_eq!((metric(text, "mounts").unwrap(), metric(text, "states{state=\"a\"}").unwrap()), (5, 6));
        assert!(metric(text, "none").is_err());
    }
}
