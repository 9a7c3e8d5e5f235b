//! Hears of disks that come and go, and lists those that are there at the start and after events were lost.

use std::future;

use super::{Act, Pump};
use crate::{
    agent::AgentError,
    engine::Input,
    host::{
        block::Block,
        disk::births::DiskNews,
        uevents::{Heard, Uevents},
    },
    output::{
        say::{chain, note},
        show::Flow,
    },
};

/// Events that are taken in one turn: all that the socket has room for, so that who asks is answered with what had happened, and no
/// more, so that a storm of them holds up nothing else.
const AT_ONCE: usize = 4096;

/// Where disks are heard of.
#[derive(Debug)]
pub(super) struct DiskWatch {
    uevents: Uevents,
    block: Block,
    /// What is there has to be listed.
    unknown: bool,
    /// There may be more events than one turn took.
    more: bool,
}

impl DiskWatch {
    /// Within a runtime; `None` when the kernel does not tell, which is said.
    pub(super) fn start(block: Block) -> Option<Self> {
        let uevents = Uevents::open().map_err(|error| {
            note(format_args!(
                "note: disks that come and go are not noticed: the kernel gives no socket for its events: {error}"
            ));
        });
        Some(Self { uevents: uevents.ok()?, block, unknown: true, more: false })
    }

    /// Takes what is there, at most so many events; the list comes last, so that it is the younger one.
    fn news(&mut self) -> Vec<DiskNews> {
        let mut news = Vec::new();
        self.more = true;
        while self.more && news.len() < AT_ONCE {
            match self.uevents.take() {
                Ok(Some(Heard::Event(event))) => news.push(DiskNews::Event(event)),
                Ok(Some(Heard::Lost)) => self.unknown = true,
                Ok(None) => self.more = false,
                Err(error) => {
                    note(format_args!("note: cannot read the kernel's events about disks this time: {error}"));
                    (self.unknown, self.more) = (true, false);
                }
            }
        }
        if self.unknown && !self.more {
            self.unknown = false;
            match self.block.all() {
                Ok((seqnum, disks)) => news.push(DiskNews::List { seqnum, disks }),
                Err(error) => note(format_args!("note: the disks of the node cannot be listed: {}", chain(&error))),
            }
        }
        news
    }
}

/// Waits until something may be heard.
///
/// Cancel safe: nothing is taken.
pub(super) async fn heard_or_never(watch: Option<&DiskWatch>) {
    match watch {
        Some(watch) if watch.more || watch.unknown => {}
        Some(watch) => {
            if watch.uevents.ready().await.is_err() {
                future::pending::<()>().await;
            }
        }
        None => future::pending().await,
    }
}

impl<A: Act> Pump<'_, A> {
    /// What became of disks goes into the engine.
    pub(super) fn hear_of_disks(&mut self) -> Result<Flow, AgentError> {
        let news = self.disks.as_mut().map(DiskWatch::news).unwrap_or_default();
        for one in news {
            if self.step(Input::Disks(one))? == Flow::End {
                return Ok(Flow::End);
            }
        }
        Ok(Flow::On)
    }
}
