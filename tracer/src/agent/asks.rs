//! The way from the doors to the one loop: what is asked, each with where the answer goes. Nothing is shared.

use std::time::Duration;

use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel},
        oneshot,
    },
    time::timeout,
};

use crate::{
    control::{Answer, Question},
    output::metrics::Figures,
};

/// What waits for the loop at most; who asks then waits too.
const WAITING: usize = 32;
/// How long an answer may take: an audit reads every table of the node.
const ANSWER: Duration = Duration::from_mins(10);
/// How long figures may take, and a word about its health, which nothing is read for.
const FIGURES: Duration = Duration::from_secs(5);

/// Something that a door asks the loop.
#[derive(Debug)]
pub(super) enum Ask {
    /// A client of the socket asks.
    Question(Question, oneshot::Sender<Answer>),
    /// Somebody scrapes.
    Figures(oneshot::Sender<Figures>),
    /// Somebody wants to know how it is. Answered before all that happened before has gone through the engine.
    Health(oneshot::Sender<Health>),
}

/// How the loop is, which turns if it says anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Health {
    /// Whether every mount table of the node was read once, or it was given up to wait for that. Once true, it stays so.
    pub(super) is_ready: bool,
}

/// The doors' end of the way.
#[derive(Clone, Debug)]
pub(super) struct Asks(Sender<Ask>);

/// Both ends of the way.
pub(super) fn way() -> (Asks, Receiver<Ask>) {
    let (asks, asked) = channel(WAITING);
    (Asks(asks), asked)
}

impl Asks {
    /// What the loop answers; `None` when it has ended, or has not answered in time.
    pub(super) async fn question(&self, question: Question) -> Option<Answer> {
        self.ask(ANSWER, |reply| Ask::Question(question, reply)).await
    }

    /// All figures of this moment; `None` as above.
    pub(super) async fn figures(&self) -> Option<Figures> {
        self.ask(FIGURES, Ask::Figures).await
    }

    /// How it is; `None` as above.
    pub(super) async fn health(&self) -> Option<Health> {
        self.ask(FIGURES, Ask::Health).await
    }

    async fn ask<T>(&self, within: Duration, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(ask(reply)).await.ok()?;
            answer.await.ok()
        };
        timeout(within, asked).await.ok().flatten()
    }
}
