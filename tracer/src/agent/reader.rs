//! Reads mount tables, one at a time, in a thread of its own that may be lost: the kernel tells what is in them by the ring, and the
//! text is thrown away.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _},
    path::Path,
    process,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use rustix::thread::gettid;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{AgentError, boot_ns};
use crate::{
    host::{
        namespaces::mount_namespace_of,
        nsfs,
        tasks::{self, TaskId, is_gone},
        visit::Visitor,
    },
    probe::reading::Reading,
};

/// Bytes of text at a time: the kernel gives at most a page, and lets others at the tables in between.
const TEXT_BYTES: usize = 4096;
/// The node's own processes.
const PROC: &str = "/proc";

/// Bytes of the ring for each text that is read before the reader waits until all was taken out: a text of many short lines tells of
/// so much.
const RING_BYTES_EACH: usize = 256 << 10;

/// How often somebody else is looked for whose table it is, when one has ended just then.
const TRIES: usize = 5;

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
    /// Nobody is seen in it.
    Gone(u32),
}

/// The thread, from the other side. It ends when this does.
pub(super) struct Reader {
    ask: Sender<u32>,
    go_on: Sender<()>,
    read: UnboundedReceiver<Read>,
}

impl Reader {
    /// Begins to wait for requests. What it has told lies in a ring of so many bytes.
    pub(super) fn start(reading: Reading, ring_bytes: usize) -> Result<Self, AgentError> {
        let (ask, asked) = channel();
        let (go_on, taken) = channel();
        let (done, read) = unbounded_channel();
        let texts = (ring_bytes / RING_BYTES_EACH).max(1);
        let work = move || Tables { reading, tasks: BTreeMap::new(), visitor: None, texts, taken, done }.serve(&asked);
        thread::Builder::new().name("tables".to_owned()).spawn(work).map_err(AgentError::Thread)?;
        Ok(Self { ask, go_on, read })
    }

    /// What was told before [`Read::Part`] was taken out of the ring.
    pub(super) fn go_on(&self) {
        // As above.
        let _ = self.go_on.send(());
    }

    /// Reads the table of the namespace with this inode number, behind those that were asked for before.
    pub(super) fn ask(&self, inum: u32) {
        // A thread that was lost reads nothing, and what waits for it stays as it is.
        let _ = self.ask.send(inum);
    }

    /// The next table that was read; never ends by itself.
    pub(super) async fn next(&mut self) -> Option<Read> {
        self.read.recv().await
    }
}

/// The mount namespaces that are there, by inode number: those that some process is in, and from Linux 6.12 on the others.
pub(super) fn present() -> Result<Vec<u32>, AgentError> {
    let scan = tasks::scan(Path::new(PROC)).map_err(AgentError::Tasks)?;
    // Who may not see them all sees those with a process.
    let every = nsfs::every(Path::new(PROC)).unwrap_or_default().into_iter().map(|namespace| namespace.inum);
    Ok(scan.namespaces.into_keys().chain(every).collect::<BTreeSet<u32>>().into_iter().collect())
}

/// The thread's own.
struct Tables {
    reading: Reading,
    /// Who was in a namespace when this was looked at last.
    tasks: BTreeMap<u32, TaskId>,
    /// For namespaces that nobody is in.
    visitor: Option<Visitor>,
    /// How many texts are read before it waits.
    texts: usize,
    /// Says that what was told was taken.
    taken: Receiver<()>,
    done: UnboundedSender<Read>,
}

impl Tables {
    fn serve(mut self, asked: &Receiver<u32>) {
        while let Ok(inum) = asked.recv() {
            let read = self.read(inum);
            let lost = self.visitor.as_ref().is_some_and(Visitor::is_lost);
            if self.done.send(read).is_err() || lost {
                break;
            }
        }
    }

    fn read(&mut self, inum: u32) -> Read {
        let mut table = match self.open(inum) {
            Ok(Some(table)) => table,
            Ok(None) => return Read::Gone(inum),
            Err(error) => return unreadable(inum, error),
        };
        let thread = u64::from(process::id()) << 32 | u64::from(gettid().as_raw_nonzero().get().cast_unsigned());
        let began_ns = boot_ns();
        // A new reading: what was told last may be the first of this one.
        let began = self.reading.set(Some(thread)).map_err(io::Error::other);
        let read = began.and_then(|()| self.read_one(&mut table));
        // Nothing is read now, and a map that cannot be written tells nothing.
        let _ = self.reading.set(None);
        match read {
            Ok(()) => Read::Whole { inum, began_ns },
            Err(error) => unreadable(inum, error),
        }
    }

    /// The table of a namespace, by somebody who is in it, or where nobody is from within.
    fn open(&mut self, inum: u32) -> io::Result<Option<File>> {
        for _ in 0..TRIES {
            let Some(task) = self.task_in(inum)? else { break };
            match File::open(task.dir(Path::new(PROC)).join("mounts")) {
                // It has ended just then: there may be others.
                Err(error) if is_gone(&error) => drop(self.tasks.remove(&inum)),
                table => return table.map(Some),
            }
        }
        let visitor = match &mut self.visitor {
            Some(visitor) => visitor,
            none => none.insert(Visitor::new(Path::new(PROC))?),
        };
        visitor.open_table(inum)
    }

    /// A thread in the namespace: the one that was known if it still is, else all are looked at again.
    fn task_in(&mut self, inum: u32) -> io::Result<Option<TaskId>> {
        let is_in = |task: &TaskId| mount_namespace_of(&task.dir(Path::new(PROC))).is_ok_and(|found| found == inum);
        if let Some(task) = self.tasks.get(&inum).filter(|task| is_in(task)) {
            return Ok(Some(*task));
        }
        let scan = tasks::scan(Path::new(PROC))?;
        let first = |members: tasks::Members| members.by_root.into_values().next();
        self.tasks = scan.namespaces.into_iter().filter_map(|(inum, members)| Some((inum, first(members)?))).collect();
        Ok(self.tasks.get(&inum).copied())
    }

    /// Reads a table's text to its end, and no faster than what the kernel tells of it is taken out of the ring.
    fn read_one(&self, table: &mut File) -> io::Result<()> {
        let mut text = [0; TEXT_BYTES];
        loop {
            for _ in 0..self.texts {
                if table.read(&mut text)? == 0 {
                    return Ok(());
                }
            }
            let asked = self.done.send(Read::Part).is_ok();
            if !asked || self.taken.recv().is_err() {
                return Err(io::Error::other("the agent is ending"));
            }
        }
    }
}

/// Who was in it has ended, and there may be others; or it cannot be read.
fn unreadable(inum: u32, error: io::Error) -> Read {
    if is_gone(&error) { Read::Gone(inum) } else { Read::Failed(inum, error) }
}
