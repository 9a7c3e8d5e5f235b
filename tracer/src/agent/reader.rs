//! Reads mount tables, one at a time, in a thread of its own that may be lost: the kernel tells what is in them by the ring, and the
//! text is thrown away.

mod tables;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io, mem,
    path::Path,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, sleep_until},
};

use self::{tables::Tables, turns::Turns};
use super::AgentError;
use crate::{
    host::{nsfs, tasks},
    output::say::note,
    probe::reading::Reading,
};

/// The node's own processes.
const PROC: &str = "/proc";

/// Bytes of the ring for each text that is read before the reader waits until all was taken out: a text of many short lines tells of
/// so much.
const RING_BYTES_EACH: usize = 256 << 10;

/// How long a thread may be silent that is to read: then it hangs in the kernel, and another one reads what is left.
const PATIENCE: Duration = Duration::from_secs(30);
/// Threads that may hang at once: where it goes on, each one more would hang too.
const MOST_HANGING: usize = 4;

/// What became of a namespace's table, by its inode number.
pub(super) enum Read {
    /// A part was read; the reader waits until what it told was taken out of the ring.
    Part,
    /// It was read to its end.
    Whole {
        /// Whose.
        inum: u32,
        /// When the reading began, `CLOCK_BOOTTIME` in nanoseconds.
        began_ns: u64,
    },
    /// It was not.
    Failed(u32, io::Error),
    /// Who reads it does not come back, which was said.
    Hangs(u32),
    /// Nobody is seen in it.
    Gone(u32),
}

/// The thread that reads, from the other side. It ends when this does.
pub(super) struct Reader {
    turns: Arc<Turns>,
    texts: usize,
    thread: Thread,
    /// What it is to read, in this order.
    asked: VecDeque<u32>,
    /// When it has been silent for too long; `None` while it waits for us.
    hangs_at: Option<Instant>,
    /// Threads that were given up, by the table that they hang at.
    hanging: BTreeMap<u32, JoinHandle<()>>,
    /// Tables at which one hangs still, and that were asked for again.
    refused: VecDeque<u32>,
}

/// The ways to a thread.
struct Thread {
    ask: Sender<u32>,
    go_on: Sender<()>,
    read: UnboundedReceiver<Read>,
    handle: JoinHandle<()>,
}

impl Reader {
    /// Begins to wait for requests. What it has told lies in a ring of so many bytes.
    pub(super) fn start(reading: Reading, ring_bytes: usize) -> Result<Self, AgentError> {
        let (turns, texts) = (Arc::new(Turns::new(reading)), (ring_bytes / RING_BYTES_EACH).max(1));
        let thread = Thread::start(&turns, texts).map_err(AgentError::Thread)?;
        let (asked, refused, hanging) = (VecDeque::new(), VecDeque::new(), BTreeMap::new());
        Ok(Self { turns, texts, thread, asked, hangs_at: None, hanging, refused })
    }

    /// What was told before [`Read::Part`] was taken out of the ring.
    pub(super) fn go_on(&mut self) {
        // A thread that has ended says so itself.
        let _ = self.thread.go_on.send(());
        self.hangs_at = (!self.asked.is_empty()).then(|| Instant::now() + PATIENCE);
    }

    /// Reads the table of the namespace with this inode number, behind those that were asked for before.
    pub(super) fn ask(&mut self, inum: u32) {
        self.hanging.retain(|_, thread| !thread.is_finished());
        if self.hanging.contains_key(&inum) {
            return self.refused.push_back(inum);
        }
        if self.asked.is_empty() {
            self.hangs_at = Some(Instant::now() + PATIENCE);
        }
        self.asked.push_back(inum);
        // As above.
        let _ = self.thread.ask.send(inum);
    }

    /// The next table that was read, or was not; `None` when nothing will be read any more.
    pub(super) async fn next(&mut self) -> Option<Read> {
        if let Some(inum) = self.refused.pop_front() {
            return Some(Read::Hangs(inum));
        }
        let read = match self.hangs_at {
            None => self.thread.read.recv().await?,
            Some(at) => tokio::select! {
                biased;
                read = self.thread.read.recv() => read?,
                () = sleep_until(at) => self.give_up()?,
            },
        };
        let is_part = matches!(read, Read::Part);
        if !is_part {
            self.asked.pop_front();
        }
        self.hangs_at = (!is_part && !self.asked.is_empty()).then(|| Instant::now() + PATIENCE);
        Some(read)
    }

    /// Leaves the thread to itself; another one reads what is behind the table that it hangs at.
    fn give_up(&mut self) -> Option<Read> {
        let inum = *self.asked.front()?;
        self.turns.end();
        note(format_args!(
            "note: the kernel has not answered for {} s to who reads the table of mount namespace {inum}; it is not read until it does",
            PATIENCE.as_secs()
        ));
        let next = (self.hanging.len() + 1 < MOST_HANGING).then(|| Thread::start(&self.turns, self.texts).ok());
        let Some(next) = next.flatten() else {
            note("note: no mount table is read any more; start the agent anew when the kernel answers");
            return None;
        };
        for inum in self.asked.iter().skip(1) {
            let _ = next.ask.send(*inum);
        }
        self.hanging.insert(inum, mem::replace(&mut self.thread, next).handle);
        Some(Read::Hangs(inum))
    }
}

impl Thread {
    fn start(turns: &Arc<Turns>, texts: usize) -> io::Result<Self> {
        let (ask, asked) = channel();
        let (go_on, taken) = channel();
        let (done, read) = unbounded_channel();
        let tables = Tables::new(Arc::clone(turns), texts, taken, done);
        let handle = thread::Builder::new().name("tables".to_owned()).spawn(move || tables.serve(&asked))?;
        Ok(Self { ask, go_on, read, handle })
    }
}

/// The mount namespaces that are there, by inode number: those that some process is in, and from Linux 6.12 on the others.
pub(super) fn present() -> Result<Vec<u32>, AgentError> {
    let scan = tasks::scan(Path::new(PROC)).map_err(AgentError::Tasks)?;
    // Who may not see them all sees those with a process.
    let every = nsfs::every(Path::new(PROC)).unwrap_or_default().into_iter().map(|namespace| namespace.inum);
    Ok(scan.namespaces.into_keys().chain(every).collect::<BTreeSet<u32>>().into_iter().collect())
}
