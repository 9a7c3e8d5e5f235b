//! PURE: what containers and their pods are called, for which their runtime is asked, and the operations that wait until it has answered: each
//! for so long, and no more than so many. They are shown in their order.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::Effect;
use crate::{
    operation::Operation,
    pods::{cgroup_path::Owner, named::Named, runtimes::ContainerId},
};

/// How long an operation waits for a name. A runtime tells of a sandbox when it has been started, which is soon, but for a busy node.
const PATIENCE_NS: u64 = 8_000_000_000;
/// Operations that wait at most.
const MOST_WAITING: usize = 4096;
/// After this time a runtime that did not know a container is asked again, when something of it happens.
const AGAIN_NS: u64 = 10_000_000_000;
/// Names that are kept before it is looked at which of them nobody has any more.
const KEPT: usize = 1024;

/// What the runtime says of a container.
#[derive(Debug)]
enum Said {
    /// Nothing yet.
    Asked,
    /// It knows it.
    Named(Arc<Named>),
    /// It does not know it, or does not answer; when that was.
    Nothing { at_ns: u64 },
}

/// What is known, and what waits.
#[derive(Debug, Default)]
pub(super) struct Naming {
    said: HashMap<ContainerId, Said>,
    /// Until when, and as the how-many-th, the first of all in front.
    waiting: VecDeque<(u64, u64, Box<Operation>)>,
    /// How many names there may be before the next look.
    look_at: usize,
    /// Nothing more comes: nobody waits.
    ended: bool,
    /// Operations that went out without a name that was asked for.
    pub(super) unnamed: u64,
}

impl Naming {
    /// A container that something is about; asks for its name where nobody has.
    pub(super) fn meet(&mut self, owner: &Owner, now_ns: u64) -> Vec<Effect> {
        let Some(container) = owner.container_in_pod() else { return Vec::new() };
        match self.said.get_mut(&container.id) {
            None => {
                self.said.insert(container.id.clone(), Said::Asked);
            }
            // Nobody waits for it a second time.
            Some(Said::Nothing { at_ns }) if now_ns >= at_ns.saturating_add(AGAIN_NS) => *at_ns = now_ns,
            Some(_) => return Vec::new(),
        }
        vec![Effect::Name(container.id.clone())]
    }

    /// Shows an operation as soon as all in front of it are shown and its names are known.
    pub(super) fn show(&mut self, seq: u64, operation: Box<Operation>, now_ns: u64) -> Vec<Effect> {
        let mut effects: Vec<Effect> = operation.owners().flat_map(|owner| self.meet(owner, now_ns)).collect();
        self.waiting.push_back((now_ns.saturating_add(PATIENCE_NS), seq, operation));
        effects.extend(self.go_on(now_ns));
        effects
    }

    /// The runtime answers; `None` when it does not know the container, or cannot be asked.
    pub(super) fn named(&mut self, id: ContainerId, named: Option<Named>, now_ns: u64) -> Vec<Effect> {
        let said = named.map_or(Said::Nothing { at_ns: now_ns }, |named| Said::Named(Arc::new(named)));
        self.said.insert(id, said);
        self.go_on(now_ns)
    }

    /// Shows what need not wait any more.
    pub(super) fn go_on(&mut self, now_ns: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some((until_ns, _, first)) = self.waiting.front() {
            let asked = self.is_asked(first);
            if asked && !self.ended && now_ns < *until_ns && self.waiting.len() <= MOST_WAITING {
                break;
            }
            effects.extend(self.waiting.pop_front().map(|(_, seq, operation)| self.shown(seq, operation)));
        }
        effects
    }

    /// Shows all, and from now on each at once: no answer comes any more.
    pub(super) fn end(&mut self, now_ns: u64) -> Vec<Effect> {
        self.ended = true;
        self.go_on(now_ns)
    }

    /// When the first one that waits has waited for long enough, `CLOCK_BOOTTIME` in nanoseconds.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        self.waiting.front().map(|(until_ns, ..)| *until_ns)
    }

    /// Forgets the names of all but these containers, if there are many.
    pub(super) fn keep(&mut self, live: impl FnOnce() -> HashSet<ContainerId>) {
        if self.said.len() <= self.look_at.max(KEPT) {
            return;
        }
        let live = live();
        self.said.retain(|id, _| live.contains(id));
        self.look_at = 2 * self.said.len();
    }

    fn shown(&mut self, seq: u64, mut operation: Box<Operation>) -> Effect {
        self.unnamed += u64::from(operation.owners().any(|owner| self.is_unnamed(owner)));
        operation.whose.names = operation.owners().filter_map(|owner| self.name_of(owner)).collect();
        Effect::Emit { seq, operation }
    }

    fn is_asked(&self, operation: &Operation) -> bool {
        operation.owners().filter_map(|owner| self.said_of(owner)).any(|said| matches!(said, Said::Asked))
    }

    fn is_unnamed(&self, owner: &Owner) -> bool {
        owner.container_in_pod().is_some() && self.name_of(owner).is_none()
    }

    fn said_of(&self, owner: &Owner) -> Option<&Said> {
        self.said.get(&owner.container.as_ref()?.id)
    }

    /// Of something in a pod that is no container: what any container of the pod says.
    pub(super) fn name_of(&self, owner: &Owner) -> Option<Arc<Named>> {
        let name = |said: &'_ Said| match said {
            Said::Named(named) if named.is_of(owner) => Some(Arc::clone(named)),
            _ => None,
        };
        match &owner.container {
            Some(_) => name(self.said_of(owner)?),
            None => self.said.values().find_map(name),
        }
    }
}

#[cfg(test)]
mod tests;
