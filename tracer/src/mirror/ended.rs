//! PURE: namespaces that have ended lately. A loss of one is said beside the stream, and may be heard after its end.

use std::collections::VecDeque;

use crate::operation::Namespace;

/// More than end while the agent takes what waits for it out of the largest ring; a loss is heard within a second.
const MOST: usize = 4096;

/// The last ones, in the order in which they ended. Their ids are never used again.
#[derive(Debug, Default)]
pub(super) struct Ended(VecDeque<Namespace>);

impl Ended {
    /// One more.
    pub(super) fn note(&mut self, namespace: Namespace) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(namespace);
    }

    /// Whether it is one of them.
    pub(super) fn has(&self, namespace: Namespace) -> bool {
        self.0.contains(&namespace)
    }
}
