//! Processes that carry a workload out, each in a mount namespace of its own.
//!
//! A worker is this binary again, told by an environment variable. The first line it reads says where it works and who the
//! others are; each further one is an operation, answered with its errno, 0 for success. It ends when its input does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use super::perform::Site;
use super::workload::Step;

const ROLE: &str = "MOUNT_TRACER_MIRROR_WORKER";

/// A worker, from the test's side.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Worker {
    fn start() -> Result<Self> {
        let binary = std::env::current_exe().context("cannot find the test binary itself")?;
        let mut command = Command::new(binary);
        command.env(ROLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the test binary a second time, as a worker")?;
        let commands = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().context("the worker has no pipe")?);
        Ok(Self { child, commands, replies })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it lines to carry out, and does not wait.
    fn send(&mut self, lines: &str) -> Result<()> {
        let pipe = self.commands.as_mut().context("the worker's input is closed")?;
        pipe.write_all(lines.as_bytes()).context("cannot write to a worker")
    }

    /// Waits for the errno of the next operation.
    fn reply(&mut self) -> Result<i32> {
        let mut reply = String::new();
        self.replies.read_line(&mut reply).context("cannot read from a worker")?;
        reply.trim().parse().with_context(|| format!("a worker's reply is {reply:?}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

/// An operation and its errno.
pub(crate) type Done<'a> = (&'a Step, i32);

/// All workers of a run.
#[derive(Debug)]
pub(crate) struct Crew(Vec<Worker>);

impl Crew {
    /// Starts so many, at work below `tree`.
    pub(crate) fn start(workers: usize, tree: &Path) -> Result<Self> {
        let mut workers: Vec<Worker> = (0..workers).map(|_| Worker::start()).collect::<Result<_>>()?;
        let pids: Vec<String> = workers.iter().map(|worker| worker.pid().to_string()).collect();
        let tree = tree.to_str().context("the trials' own paths are UTF-8")?;
        for worker in &mut workers {
            worker.send(&format!("{tree} {}\n", pids.join(" ")))?;
        }
        Ok(Self(workers))
    }

    /// Their process ids.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.0.iter().map(Worker::pid).collect()
    }

    /// Carries steps out one by one, in their order.
    pub(crate) fn serially<'a>(&mut self, steps: &'a [Step]) -> Result<Vec<Done<'a>>> {
        let one = |step: &'a Step| {
            let worker = self.0.get_mut(step.worker).with_context(|| format!("nobody is there for `{step}`"))?;
            worker.send(&format!("{}\n", step.operation()))?;
            Ok((step, worker.reply().with_context(|| format!("at `{step}`"))?))
        };
        steps.iter().map(one).collect()
    }

    /// Carries out one by one what has to succeed.
    pub(crate) fn must(&mut self, steps: &[Step]) -> Result<()> {
        let failed = self.serially(steps)?.into_iter().find(|(_, errno)| *errno != 0);
        failed.map_or(Ok(()), |(step, errno)| bail!("`{step}` failed with errno {errno}"))
    }

    /// Carries steps out, those of different workers at once; `meanwhile` runs while they do.
    pub(crate) fn at_once<'a>(
        &mut self,
        steps: &'a [Step],
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<Done<'a>>> {
        if steps.iter().any(|step| step.worker >= self.0.len()) {
            bail!("more workers are asked for than {}", self.0.len());
        }
        let own = |number: usize| steps.iter().filter(move |step| step.worker == number);
        for (number, worker) in self.0.iter_mut().enumerate() {
            let lines: String = own(number).map(|step| step.operation() + "\n").collect();
            worker.send(&lines)?;
        }
        meanwhile()?;
        let mut done = Vec::with_capacity(steps.len());
        for (number, worker) in self.0.iter_mut().enumerate() {
            for step in own(number) {
                done.push((step, worker.reply().with_context(|| format!("at `{step}`"))?));
            }
        }
        Ok(done)
    }
}

/// Whether this process was started as a worker.
pub(crate) fn is_worker() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// The worker's side.
pub(crate) fn serve() -> ExitCode {
    let mut lines = std::io::stdin().lines();
    let Some(Ok(first)) = lines.next() else { return ExitCode::SUCCESS };
    let Ok(mut site) = Site::new(&first) else { return ExitCode::FAILURE };
    let mut replies = std::io::stdout();
    for line in lines {
        let Ok(line) = line else { return ExitCode::FAILURE };
        let words: Vec<&str> = line.split(' ').collect();
        let errno = site.perform(&words).map_or_else(rustix::io::Errno::raw_os_error, |()| 0);
        if writeln!(replies, "{errno}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
