//! Reads mount tables, one at a time, in a thread of its own that may be lost: the kernel tells what is in them by the ring, and the
//! text is thrown away.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
    process,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use rustix::{io::Errno, thread::gettid};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{AgentError, boot_ns};
use crate::{
    host::{
        namespaces::mount_namespace_of,
        tasks::{self, TaskId},
    },
    probe::load::Reading,
};

/// Bytes of text at a time: the kernel gives at most a page, and lets others at the tables in between.
const TEXT_BYTES: usize = 4096;
/// The node's own processes.
const PROC: &str = "/proc";

/// What became of a namespace's table, by its inode number.
pub(super) enum Read {
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
    read: UnboundedReceiver<Read>,
}

impl Reader {
    /// Begins to wait for requests.
    pub(super) fn start(reading: Reading) -> Result<Self, AgentError> {
        let (ask, asked) = channel();
        let (done, read) = unbounded_channel();
        let work = move || Tables { reading, tasks: BTreeMap::new() }.serve(&asked, &done);
        thread::Builder::new().name("tables".to_owned()).spawn(work).map_err(AgentError::Thread)?;
        Ok(Self { ask, read })
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

/// The mount namespaces that some process is in, by inode number.
pub(super) fn present() -> Result<Vec<u32>, AgentError> {
    let scan = tasks::scan(Path::new(PROC)).map_err(AgentError::Tasks)?;
    Ok(scan.namespaces.into_keys().collect())
}

/// The thread's own.
struct Tables {
    reading: Reading,
    /// Who was in a namespace when this was looked at last.
    tasks: BTreeMap<u32, TaskId>,
}

impl Tables {
    fn serve(mut self, asked: &Receiver<u32>, done: &UnboundedSender<Read>) {
        while let Ok(inum) = asked.recv() {
            if done.send(self.read(inum)).is_err() {
                break;
            }
        }
    }

    fn read(&mut self, inum: u32) -> Read {
        let task = match self.task_in(inum) {
            Ok(Some(task)) => task,
            Ok(None) => return Read::Gone(inum),
            Err(error) => return Read::Failed(inum, error),
        };
        let thread = u64::from(process::id()) << 32 | u64::from(gettid().as_raw_nonzero().get().cast_unsigned());
        let began_ns = boot_ns();
        // A new reading: what was told last may be the first of this one.
        let began = self.reading.set(Some(thread)).map_err(io::Error::other);
        let read = began.and_then(|()| read_one(&task.dir(Path::new(PROC)).join("mounts")));
        // Nothing is read now, and a map that cannot be written tells nothing.
        let _ = self.reading.set(None);
        match read {
            Ok(()) => Read::Whole { inum, began_ns },
            // Who was in it has ended: there may be others.
            Err(error)
                if [Errno::NOENT, Errno::SRCH, Errno::INVAL].map(Some).contains(&Errno::from_io_error(&error)) =>
            {
                Read::Gone(inum)
            }
            Err(error) => Read::Failed(inum, error),
        }
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
}

fn read_one(file: &Path) -> io::Result<()> {
    let (mut file, mut text) = (File::open(file)?, [0; TEXT_BYTES]);
    while file.read(&mut text)? > 0 {}
    Ok(())
}
