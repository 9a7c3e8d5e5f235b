//! What the loop waits for, each beside the others: what is not there is never ready.

use std::{future, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::yield_now,
    time::sleep,
};

use crate::{
    agent::{
        AgentError, Feed,
        namer::{Answer, Namer},
        policy_watch::PolicyWatch,
        reader::{Read, Reader},
    },
    limit::policy::Policy,
    pods::view::Update,
};

pub(super) async fn sleep_or_never(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => future::pending().await,
    }
}

pub(super) async fn changed_or_never(watch: Option<&mut PolicyWatch>) -> Policy {
    match watch {
        Some(watch) => watch.changed().await,
        None => future::pending().await,
    }
}

pub(super) async fn next_or_never(reader: Option<&mut Reader>) -> Option<Read> {
    match reader {
        Some(reader) => reader.next().await,
        None => future::pending().await,
    }
}

pub(super) async fn named_or_never(namer: Option<&mut Namer>) -> Option<Answer> {
    match namer {
        Some(namer) => namer.next().await,
        None => future::pending().await,
    }
}

pub(super) async fn told_or_never(feed: Option<&mut Feed>) -> Update {
    match feed {
        Some(feed) => feed.next().await,
        None => future::pending().await,
    }
}

pub(super) async fn yield_or_never(now: bool) {
    if now { yield_now().await } else { future::pending().await }
}

/// SIGINT and SIGTERM.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, AgentError> {
        let listen = |kind| signal(kind).map_err(AgentError::Signals);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
