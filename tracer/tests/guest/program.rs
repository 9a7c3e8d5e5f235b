//! The binary under test as a running process: its lines, its ready line, its end.

use std::io::{BufRead as _, BufReader, Read};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::ground;
use super::operation::Operation;

/// Guests may run under emulation, where loading and the self-test take their time.
const READY: Duration = Duration::from_mins(3);

/// How long one line may take. Far above what is seen, so that only a line that never comes runs into it.
pub(crate) const LINE: Duration = Duration::from_mins(1);

/// `mount-tracer` with its standard output and error being read by threads.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<Vec<u8>>,
    errors: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

/// A tracer without flags that serves one trial after the other, because under emulation a start takes ten seconds. What
/// came before a trial is read away when the trial begins.
pub(crate) struct Lasting(Option<Program>);

static LASTING: Mutex<Option<Program>> = Mutex::new(None);

impl Lasting {
    /// The one that runs, if it still answers, or a new one.
    pub(crate) fn trace() -> Result<Self> {
        let running = Self::lock().take().and_then(|mut running| running.drain().is_ok().then_some(running));
        Ok(Self(Some(running.map_or_else(|| Program::trace(&[]), Ok)?)))
    }

    /// Ends it, if one runs.
    pub(crate) fn end() {
        *Self::lock() = None;
    }

    fn lock() -> MutexGuard<'static, Option<Program>> {
        LASTING.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Lasting {
    type Target = Program;

    fn deref(&self) -> &Program {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Lasting {
    fn deref_mut(&mut self) -> &mut Program {
        self.0.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        *Self::lock() = self.0.take();
    }
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
    pub(crate) errors: Vec<String>,
}

/// How to attach, when the environment says it: the same trials run with each kind.
const ATTACH: &str = "GUEST_ATTACH";
/// The subcommands that attach.
const ATTACHING: [&str; 3] = ["trace", "agent", "check"];

/// A command that runs the binary under test. One that attaches is alone: the lasting tracer ends for it.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let attaches = arguments.first().is_some_and(|first| ATTACHING.contains(first));
    if attaches {
        Lasting::end();
    }
    let binary = std::env::var_os("MOUNT_TRACER").unwrap_or_else(|| "mount-tracer".into());
    let mut command = Command::new(binary);
    command.args(arguments);
    if let (Some(kind), true) = (attach_kind(), attaches) {
        command.args(["--attach", &kind]);
    }
    command
}

/// The kind of attachment that the environment asks for.
pub(crate) fn attach_kind() -> Option<String> {
    std::env::var(ATTACH).ok()
}

impl Program {
    /// Starts `mount-tracer trace -o json` with more flags, and waits until its hooks are attached.
    pub(crate) fn trace(flags: &[&str]) -> Result<Self> {
        ground::base()?;
        let mut program = Self::start(&[&["trace", "-o", "json"], flags].concat())?;
        program.wait_ready()?;
        Ok(program)
    }

    /// Starts the binary.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        Self::spawn(command(arguments)).with_context(|| format!("mount-tracer {}", arguments.join(" ")))
    }

    fn spawn(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start mount-tracer; is it in PATH?")?;
        let (stdout, stderr) = (child.stdout.take().context("no pipe")?, child.stderr.take().context("no pipe")?);
        let (sender, lines) = channel();
        let errors = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&errors);
        let readers = vec![
            std::thread::spawn(move || {
                each_line(stdout, |line| {
                    let _ = sender.send(line);
                });
            }),
            std::thread::spawn(move || {
                each_line(stderr, |line| {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                });
            }),
        ];
        Ok(Self { child, lines, errors, readers })
    }

    /// What it has said on standard error so far.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the line that starts with `ready`.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        while !self.errors().iter().any(|line| line.starts_with("ready")) {
            if let Some(status) = self.child.try_wait().context("cannot wait for mount-tracer")? {
                bail!("ended with {status} before it was ready; it said: {:#?}", self.errors());
            }
            ensure!(Instant::now() < deadline, "not ready after {READY:?}; it said: {:#?}", self.errors());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The next line, or `None` when it has closed its output.
    pub(crate) fn next_line(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("no further line in time; it said: {:#?}", self.errors()),
        }
    }

    /// The next line as JSON, or `None` when it has closed its output.
    pub(crate) fn next_json(&mut self, deadline: Instant) -> Result<Option<Value>> {
        let Some(line) = self.next_line(deadline)? else { return Ok(None) };
        ensure!(!line.iter().any(|byte| *byte < b' '), "a control character in {:?}", String::from_utf8_lossy(&line));
        let text = String::from_utf8(line).context("a line that is not UTF-8")?;
        serde_json::from_str(&text).map(Some).with_context(|| format!("a line that is not JSON: {text}"))
    }

    /// All operations up to the sentinel, which this makes now: what happened before, and nothing that it did not print.
    pub(crate) fn drain(&mut self) -> Result<Vec<Operation>> {
        ground::touch_sentinel()?;
        self.drain_to_sentinel()
    }

    /// The same, when something else has made the sentinel.
    pub(crate) fn drain_to_sentinel(&mut self) -> Result<Vec<Operation>> {
        self.drain_to_sentinel_within(LINE)
    }

    /// The same, when much has to be read before it.
    pub(crate) fn drain_to_sentinel_within(&mut self, time: Duration) -> Result<Vec<Operation>> {
        let sentinel = ground::sentinel()?;
        let deadline = Instant::now() + time;
        let mut operations = Vec::new();
        loop {
            let next = self.next_json(deadline);
            let next = next.with_context(|| format!("before the sentinel there were {}", shown(&operations)))?;
            let operation = Operation(next.context("trace ended before it showed the sentinel")?);
            if !operation.touches(&sentinel) {
                operations.push(operation);
            } else if operation.op() == "umount" {
                return Ok(operations);
            }
        }
    }

    /// Exactly one operation, and what it is.
    pub(crate) fn drain_one(&mut self) -> Result<Operation> {
        let mut operations = self.drain()?;
        ensure!(operations.len() == 1, "one operation was made, {} were shown: {operations:#?}", operations.len());
        operations.pop().context("no operation")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(self) -> Result<Finished> {
        rustix::process::kill_process(self.pid(), Signal::TERM).context("cannot send SIGTERM to mount-tracer")?;
        self.wait()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Result<Finished> {
        let deadline = Instant::now() + LINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for mount-tracer")? {
                break status;
            }
            ensure!(Instant::now() < deadline, "still running after {LINE:?}; it said: {:#?}", self.errors());
            std::thread::sleep(Duration::from_millis(5));
        };
        for reader in self.readers.drain(..) {
            ensure!(reader.join().is_ok(), "a thread that reads mount-tracer's output panicked");
        }
        let lines = self.lines.try_iter().map(|line| String::from_utf8_lossy(&line).into_owned()).collect();
        Ok(Finished { status, lines, errors: self.errors() })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// One figure of the line `stats: seen=… dropped=… missed=… unresolved=…`.
    pub(crate) fn stat(&self, name: &str) -> Result<u64> {
        let value = self.stat_text(name)?;
        value.parse().with_context(|| format!("{name} is no number but {value}"))
    }

    /// The operations that nobody has read, when each line is one.
    pub(crate) fn operations(&self) -> Result<Vec<Operation>> {
        self.lines.iter().map(|line| Ok(Operation(serde_json::from_str(line)?))).collect()
    }

    /// Runs that the kernel skipped; `None` where it does not count them.
    pub(crate) fn missed(&self) -> Result<Option<u64>> {
        if self.stat_text("missed")? == "unknown" { Ok(None) } else { self.stat("missed").map(Some) }
    }

    fn stat_text(&self, name: &str) -> Result<&str> {
        let line = self.errors.iter().find_map(|line| line.strip_prefix("stats:"));
        let line = line.with_context(|| format!("no line `stats:` in {:#?}", self.errors))?;
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.with_context(|| format!("no {name}= in `stats:{line}`"))
    }
}

/// Operations for a message, the first few of many.
fn shown(operations: &[Operation]) -> String {
    const FEW: usize = 3;
    format!("{} operations: {:#?}", operations.len(), &operations[..operations.len().min(FEW)])
}

fn each_line(from: impl Read, mut take: impl FnMut(Vec<u8>)) {
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { return };
        take(line);
    }
}
