//! The doors by which a running agent answers, in a thread of their own: whoever is slow there holds up nobody but itself.

use std::{path::Path, thread};

use thiserror::Error;
use tokio::{net::UnixSocket, runtime, sync::mpsc::Receiver};

use super::{
    AgentError,
    asks::{Ask, Asks, way},
    door::{self, Door},
    lock::{Lock, LockError},
};
use crate::output::say::{chain, note};

/// Where the agent's lock and socket are.
pub const DIRECTORY: &str = "/run/mount-tracer";

/// Why an agent does not start.
#[derive(Debug, Error)]
pub enum DoorsError {
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// The doors of an agent that is about to start; closed when this is dropped.
#[derive(Debug)]
pub struct Doors {
    // The name goes before the lock does: it must not be another agent's.
    control: Option<Door>,
    _lock: Option<Lock>,
}

impl Doors {
    /// Makes sure that no other agent runs on this node, and makes what clients will come by. What cannot be made is said,
    /// and done without: limits matter more.
    pub fn make(directory: &Path) -> Result<Self, DoorsError> {
        let lock = match Lock::take(directory) {
            Ok(lock) => Some(lock),
            Err(error @ LockError::Held { .. }) => return Err(error.into()),
            Err(error) => {
                note(format_args!("note: nobody can ask this agent, nor is another one noticed: {}", chain(&error)));
                None
            }
        };
        let control = lock.as_ref().and_then(|lock| {
            let made = Door::make(&lock.directory);
            made.map_err(|error| note(format_args!("note: nobody can ask this agent: {}", chain(&error)))).ok()
        });
        Ok(Self { control, _lock: lock })
    }

    /// Opens them; what comes in by them.
    pub(super) fn open(&mut self) -> Result<Receiver<Ask>, AgentError> {
        let (asks, asked) = way();
        let control = self.control.as_mut().and_then(Door::take);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
        let serve = move || runtime.block_on(serve(control, asks));
        thread::Builder::new().name("doors".to_owned()).spawn(serve).map_err(AgentError::DoorsThread)?;
        Ok(asked)
    }
}

async fn serve(control: Option<UnixSocket>, asks: Asks) {
    if let Some(socket) = control
        && let Err(error) = door::serve(socket, asks).await
    {
        note(format_args!("note: nobody can ask this agent: cannot listen at its socket: {error}"));
    }
}
