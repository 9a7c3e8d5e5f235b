//! The thread that reads mount tables: finds who is in a namespace, and reads the text to its end.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
    process,
    sync::{Arc, mpsc::Receiver},
};

use rustix::thread::gettid;
use tokio::sync::mpsc::UnboundedSender;

use super::{PROC, Read, turns::Turns};
use crate::{
    agent::boot_ns,
    host::{
        namespaces::mount_namespace_of,
        tasks::{self, TaskId, is_gone},
        visit::Visitor,
    },
};

/// Bytes of text at a time: the kernel gives at most a page, and lets others at the tables in between.
const TEXT_BYTES: usize = 4096;

/// How often somebody else is looked for whose table it is, when one has ended just then.
const TRIES: usize = 5;

/// The thread's own.
pub(super) struct Tables {
    turns: Arc<Turns>,
    /// Whose turn this thread reads in.
    turn: u32,
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
    /// The thread whose turn it is now.
    pub(super) fn new(turns: Arc<Turns>, texts: usize, taken: Receiver<()>, done: UnboundedSender<Read>) -> Self {
        Self { turn: turns.now(), turns, tasks: BTreeMap::new(), visitor: None, texts, taken, done }
    }

    /// Reads what is asked for, until nobody asks any more.
    pub(super) fn serve(mut self, asked: &Receiver<u32>) {
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
        let began = self.turns.read_as(self.turn, Some(thread));
        let read = began.and_then(|()| self.read_one(&mut table));
        // Nothing is read now, and a map that cannot be written tells nothing.
        let _ = self.turns.read_as(self.turn, None);
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
