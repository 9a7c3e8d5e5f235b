//! Which of several threads reads tables now: one that was given up must not end another one's reading when it comes back.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::probe::reading::Reading;

/// Lets one thread at a time read.
pub(super) struct Turns(Mutex<Turn>);

struct Turn {
    reading: Reading,
    number: u32,
}

impl Turns {
    pub(super) fn new(reading: Reading) -> Self {
        Self(Mutex::new(Turn { reading, number: 0 }))
    }

    /// The number of the turn.
    pub(super) fn now(&self) -> u32 {
        self.lock().number
    }

    /// What this thread lists is told from here on, nothing is with `None`; an error when its turn is over.
    pub(super) fn read_as(&self, turn: u32, thread: Option<u64>) -> io::Result<()> {
        let mut now = self.lock();
        if now.number != turn {
            return Err(io::Error::other("it was given up"));
        }
        now.reading.set(thread).map_err(io::Error::other)
    }

    /// Whoever reads has lost its turn.
    pub(super) fn end(&self) {
        let mut now = self.lock();
        now.number += 1;
        // The next one sets it again, and a map that cannot be written tells nothing.
        let _ = now.reading.set(None);
    }

    fn lock(&self) -> MutexGuard<'_, Turn> {
        // Nothing is half done in it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
