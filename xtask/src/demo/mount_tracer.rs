//! The program that the demo is about, as a child: its lines, its ready line, its end.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

use super::cgroup::Kept;
use crate::host;

const NAME: &str = "mount-tracer";
/// Loading into the kernel and the self-test take their time where the processor is emulated.
const READY: Duration = Duration::from_mins(1);
const LINE: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(20);

/// `mount-tracer` with its output being read.
pub(super) struct MountTracer {
    child: Kept,
    shown: String,
    lines: Receiver<String>,
    errors: Receiver<String>,
    /// What follows `ready:` on its standard error.
    pub(super) ready: String,
}

/// A command that runs it: built beside this program, or found in PATH.
pub(super) fn command() -> Result<Command> {
    let own = std::env::current_exe().context("cannot find the path of xtask itself")?;
    let beside = own.with_file_name(NAME);
    let found: Option<PathBuf> = if beside.is_file() { Some(beside) } else { host::find_program(NAME) };
    let found = found.with_context(|| format!("cannot find {NAME}; build it with `cargo build --package tracer`"))?;
    let mut command = Command::new(found);
    command.stdin(Stdio::null());
    Ok(command)
}

impl MountTracer {
    /// Starts it and waits until it is ready.
    pub(super) fn start<S: AsRef<OsStr>>(arguments: &[S]) -> Result<Self> {
        let mut command = command()?;
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        let shown = format!("{NAME} {}", words.join(" "));
        let mut child = Kept(command.spawn().with_context(|| format!("cannot start `{shown}`"))?);
        let lines = lines_of(child.0.stdout.take().context("no pipe")?);
        let errors = lines_of(child.0.stderr.take().context("no pipe")?);
        let mut started = Self { child, shown, lines, errors, ready: String::new() };
        started.wait_ready()?;
        Ok(started)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        let mut said = Vec::new();
        while let Ok(line) = self.errors.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(rest) = line.strip_prefix("ready") {
                rest.trim_start_matches(':').trim().clone_into(&mut self.ready);
                return Ok(());
            }
            said.push(line);
        }
        bail!("`{}` was not ready within {READY:?}; it said: {}", self.shown, said.join(" / "))
    }

    /// The next line of its output.
    pub(super) fn next_line(&mut self) -> Result<String> {
        match self.lines.recv_timeout(LINE) {
            Ok(line) => Ok(line),
            Err(error) => {
                let said: Vec<String> = self.errors.try_iter().collect();
                bail!("`{}` gave no further line ({error}); it said: {}", self.shown, said.join(" / "))
            }
        }
    }

    /// Ends it with SIGTERM; it has to end with success.
    pub(super) fn stop(mut self) -> Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child.0), Signal::TERM)
            .with_context(|| format!("cannot send SIGTERM to `{}`", self.shown))?;
        let deadline = Instant::now() + END;
        loop {
            match self.child.0.try_wait().with_context(|| format!("cannot wait for `{}`", self.shown))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("`{}` ended with {status} after SIGTERM", self.shown),
                None if Instant::now() > deadline => bail!("`{}` did not end within {END:?} of SIGTERM", self.shown),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

fn lines_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}
