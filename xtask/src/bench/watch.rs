//! The programs that watch, as children: started, ready, ended, and what they printed.

use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use super::latency::Line;
use super::record::Watcher;
use super::tap::Tap;

/// Loading into the kernel takes its time where the processor is emulated.
const READY: Duration = Duration::from_mins(1);
const END: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// The head of mountsnoop's table: it has attached by then.
const MOUNTSNOOP_READY: &str = "MNT_NS";

/// A policy that matches and writes nothing.
const POLICY: &str =
    "mode: observe\nrules:\n  - name: any\n    match: { volume: \"*\" }\n    limits: { readBps: 1Mi }\n";
const POLICY_FILE: &str = "/tmp/bench-policy.yaml";

/// A watching program; never outlives its owner.
pub(super) struct Watching {
    watcher: Watcher,
    child: Child,
    input: Option<ChildStdin>,
    output: Option<Tap>,
    errors: Option<Tap>,
}

impl Watching {
    /// Starts it and waits until it watches; nothing for nobody.
    pub(super) fn start(watcher: Watcher) -> Result<Option<Self>> {
        let started = match watcher {
            Watcher::Nobody => return Ok(None),
            Watcher::Floor => spawn(watcher, &["wake-floor"], Output::Pipe),
            Watcher::Trace => spawn(watcher, &["mount-tracer", "trace", "-o", "json"], Output::Nowhere),
            Watcher::TracePipe => spawn(watcher, &["mount-tracer", "trace", "-o", "json"], Output::Pipe),
            Watcher::Agent => {
                std::fs::write(POLICY_FILE, POLICY).with_context(|| format!("cannot write {POLICY_FILE}"))?;
                spawn(watcher, &["mount-tracer", "agent", "--policy", POLICY_FILE], Output::Nowhere)
            }
            // Into a pipe it prints 4 KiB at a time; on a terminal, each line.
            Watcher::Mountsnoop => spawn(watcher, &["mountsnoop"], Output::Terminal),
        };
        let mut started = started?;
        started.wait_ready()?;
        Ok(Some(started))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order and returns what it printed.
    pub(super) fn stop(mut self) -> Result<Vec<Line>> {
        match self.watcher {
            Watcher::Floor => drop(self.input.take()),
            Watcher::Mountsnoop => self.signal(Signal::INT)?,
            _ => self.signal(Signal::TERM)?,
        }
        let deadline = Instant::now() + END;
        while self.child.try_wait().context("cannot wait for a child")?.is_none() {
            if Instant::now() > deadline {
                bail!("`{}` did not end within {END:?}; it said: {}", self.watcher.name(), self.said());
            }
            std::thread::sleep(POLL);
        }
        Ok(self.output.take().map(Tap::finish).unwrap_or_default())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal `{}`", self.watcher.name()))
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            if self.is_ready() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().context("cannot wait for a child")? {
                bail!("it ended ({status}) before it was ready and said: {}", self.said());
            }
            if Instant::now() > deadline {
                bail!("it was not ready within {READY:?} and said: {}", self.said());
            }
            std::thread::sleep(POLL);
        }
    }

    fn is_ready(&self) -> bool {
        let (tap, sign) = match self.watcher {
            Watcher::Mountsnoop => (&self.output, MOUNTSNOOP_READY),
            _ => (&self.errors, "ready"),
        };
        tap.as_ref().is_some_and(|tap| tap.any(|line| line.contains(sign)))
    }

    fn said(&self) -> String {
        let said = [&self.errors, &self.output].map(|tap| tap.as_ref().map(Tap::text).unwrap_or_default());
        said.concat().trim().to_owned()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program's output goes.
#[derive(Clone, Copy)]
enum Output {
    Nowhere,
    Pipe,
    Terminal,
}

fn spawn(watcher: Watcher, words: &[&str], output: Output) -> Result<Watching> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut terminal = None;
    match output {
        Output::Nowhere => command.stdout(Stdio::null()),
        Output::Pipe => command.stdout(Stdio::piped()),
        Output::Terminal => {
            let (ours, theirs) = open_terminal().context("cannot open a pseudo terminal")?;
            terminal = Some(ours);
            command.stdout(theirs)
        }
    };
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", words.join(" ")))?;
    let printed = terminal.or_else(|| child.stdout.take().map(OwnedFd::from));
    let errors = child.stderr.take().map(|pipe| Tap::on(pipe.into()));
    Ok(Watching { watcher, input: child.stdin.take(), output: printed.map(Tap::on), errors, child })
}

/// Our side and the program's.
fn open_terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok((ours, theirs))
}
