//! Reads the mount tables of every namespace, once, in a thread of its own that may be lost: the kernel tells what is in them
//! by the ring, and the text is thrown away.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    process, thread,
};

use rustix::thread::gettid;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::AgentError;
use crate::{host::tasks, probe::load::Reading};

/// Bytes of text at a time: the kernel gives at most a page, and lets others at the tables in between.
const TEXT_BYTES: usize = 4096;

/// What became of a namespace's table.
pub(super) enum Read {
    /// It was read to its end.
    Whole(u32),
    /// It was not.
    Failed(u32, io::Error),
}

/// The thread, from the other side.
pub(super) struct Reader {
    read: UnboundedReceiver<Read>,
}

impl Reader {
    /// Begins to read.
    pub(super) fn start(reading: Reading) -> Result<Self, AgentError> {
        let scan = tasks::scan(Path::new("/proc")).map_err(AgentError::Tasks)?;
        let tables: Vec<(u32, tasks::TaskId)> = scan
            .namespaces
            .iter()
            .filter_map(|(inum, members)| Some((*inum, *members.by_root.values().next()?)))
            .collect();
        let (done, read) = unbounded_channel();
        let work = move || read_all(reading, &tables, &done);
        thread::Builder::new().name("tables".to_owned()).spawn(work).map_err(AgentError::Thread)?;
        Ok(Self { read })
    }

    /// The next table; `None` behind the last one.
    pub(super) async fn next(&mut self) -> Option<Read> {
        self.read.recv().await
    }
}

fn read_all(mut reading: Reading, tables: &[(u32, tasks::TaskId)], done: &UnboundedSender<Read>) {
    let thread = u64::from(process::id()) << 32 | u64::from(gettid().as_raw_nonzero().get().cast_unsigned());
    for (inum, task) in tables {
        // A new reading: what was told last may be the first of this one.
        let began = reading.set(Some(thread)).map_err(io::Error::other);
        let read = began.and_then(|()| read_one(&task.dir(Path::new("/proc")).join("mounts")));
        let read = read.map_or_else(|error| Read::Failed(*inum, error), |()| Read::Whole(*inum));
        if done.send(read).is_err() {
            break;
        }
    }
    // Nothing is read any more, and a map that cannot be written tells nothing.
    let _ = reading.set(None);
}

fn read_one(file: &Path) -> io::Result<()> {
    let (mut file, mut text) = (File::open(file)?, [0; TEXT_BYTES]);
    while file.read(&mut text)? > 0 {}
    Ok(())
}
