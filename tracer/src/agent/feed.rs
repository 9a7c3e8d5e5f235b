//! What is told of the node's pods, from the side of the loop.

use std::future;

use tokio::sync::mpsc::Receiver;

use crate::pods::{asked::Counted, view::Update};

/// What comes from whoever asks Kubernetes.
pub struct Feed {
    pub(super) updates: Receiver<Update>,
    pub(super) counted: Box<dyn Fn() -> Counted + Send>,
}

impl Feed {
    /// The next one; never, when none will come any more.
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Update {
        match self.updates.recv().await {
            Some(update) => update,
            None => future::pending().await,
        }
    }

    /// What was asked so far.
    pub(super) fn counted(&self) -> Counted {
        (self.counted)()
    }
}
