//! A reading that hangs is given up, and the other tables are read. A kernel that does not answer is played by a tracer that stops the
//! thread that reads, and no other one, as long as it is told to.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::super::actor::Actor;
use super::super::node::Agent;
use super::super::{kernel, raw};
use super::socket::Socket;

/// `linux/ptrace.h`.
const PTRACE_DETACH: u64 = 17;
const PTRACE_SEIZE: u64 = 0x4206;
const PTRACE_INTERRUPT: u64 = 0x4207;
/// What the agent calls the thread.
const NAME: &str = "tables\n";
/// How long a thread may take to end that goes on.
const ENDED: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn others_are_read() -> Result<()> {
    // At least one more table than that of everybody.
    let actor = Actor::unshared()?;
    let agent = Agent::start("observe", &[])?;
    let mut socket = Socket::connect()?;
    socket.wait_until_read()?;
    let pid = agent.program.pid().as_raw_nonzero().get();
    let all = audited(&mut socket)?;
    let reader = readers(pid)?;
    ensure!(reader.len() == 1, "the agent has threads {reader:?} that read");

    let stopped = Stopped::stop(reader[0])?;
    let others = audited(&mut socket)?;
    ensure!(others < all, "{others} records were compared of {all}, and the thread that reads stands still");
    let says = |line: &String| line.contains("the kernel has not answered for 30 s");
    ensure!(agent.program.errors().iter().filter(|line| says(line)).count() == 1, "{:#?}", agent.program.errors());
    let begin = Instant::now();
    let again = audited(&mut socket)?;
    ensure!(
        again == others && begin.elapsed() < ENDED,
        "the next time {again} of {others} were, in {:?}",
        begin.elapsed()
    );

    stopped.go_on()?;
    let deadline = Instant::now() + ENDED;
    while readers(pid)?.contains(&reader[0]) {
        ensure!(Instant::now() < deadline, "the thread goes on, and does not end");
        thread::sleep(PAUSE);
    }
    let healed = audited(&mut socket)?;
    ensure!(healed == all, "{healed} records were compared of {all} when the kernel answered again");
    drop(actor);
    agent.stop()
}

/// How many records an audit compares.
fn audited(socket: &mut Socket) -> Result<u64> {
    let before = socket.tables()?.1.audited;
    let end = socket.audit()?;
    ensure!(end.differences.is_empty(), "{:#?}", end.differences);
    Ok(end.audited - before)
}

/// The threads of a process that read tables.
fn readers(pid: i32) -> Result<Vec<i32>> {
    let directory = format!("/proc/{pid}/task");
    let mut readers = Vec::new();
    for thread in fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))? {
        let name = thread?.file_name().into_string().ok().context("a thread without a number")?;
        if kernel::read(&format!("{directory}/{name}/comm")).is_ok_and(|comm| comm == NAME) {
            readers.push(name.parse()?);
        }
    }
    Ok(readers)
}

/// A thread that this one has stopped.
struct Stopped(i32);

impl Stopped {
    fn stop(tid: i32) -> Result<Self> {
        raw::ptrace(PTRACE_SEIZE, tid).with_context(|| format!("cannot trace thread {tid}"))?;
        raw::ptrace(PTRACE_INTERRUPT, tid).with_context(|| format!("cannot stop thread {tid}"))?;
        // SAFETY: it writes nothing, as no place for a status is given.
        let waited = unsafe { libc::waitpid(tid, std::ptr::null_mut(), libc::__WALL) };
        ensure!(waited == tid, "thread {tid} does not stop: {}", io::Error::last_os_error());
        Ok(Self(tid))
    }

    fn go_on(self) -> Result<()> {
        raw::ptrace(PTRACE_DETACH, self.0).with_context(|| format!("cannot let go of thread {}", self.0))
    }
}
