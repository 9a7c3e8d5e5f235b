//! What metrics tell, put together when a door asks for it.

use super::{Act, Pump};
use crate::{
    agent::Feed,
    output::metrics::{Figures, HookFigure, KubernetesFigures},
    probe::losses::Losses,
};

/// Losses as they were told: counted from the beginning, and never less than before.
#[derive(Debug)]
pub(super) struct Told {
    before: Losses,
    missed: Vec<u64>,
}

impl Told {
    /// What was lost before this is no one's loss.
    pub(super) fn new(before: Losses) -> Self {
        Self { before, missed: Vec::new() }
    }

    /// What to tell now. A second program's work is taken off what was missed, and the two counts are not read at one
    /// moment: a count that goes down a little would look like a restart.
    fn losses(&mut self, now: &Losses) -> Losses {
        let mut since = now.since(&self.before);
        if let Some(missed) = &mut since.missed {
            self.missed.resize(missed.len(), 0);
            for (now, told) in missed.iter_mut().zip(&mut self.missed) {
                *told = (*told).max(*now);
                *now = *told;
            }
        }
        since
    }
}

impl<A: Act> Pump<'_, A> {
    /// All figures of this moment; `None` when the kernel's could not be read, which the loop itself will run into.
    pub(super) fn figures(&mut self) -> Option<Figures> {
        let losses = self.told.losses(&self.probes.losses().ok()?);
        let hook = |one: &crate::probe::load::Attached| HookFigure {
            number: one.hook.number,
            name: one.hook.name(),
            function: one.candidate.target,
            kind: one.kind(),
        };
        let hooks = self.probes.attached().iter().map(hook).collect();
        let (counts, tally, (sizes, reads)) = (self.engine.counts(), self.engine.tally(), self.engine.kept());
        let pods = self.pod_figures.as_mut().map(|hand| hand.read(&self.engine.known_pods())).unwrap_or_default();
        let (known, joined) = self.engine.joined();
        let kubernetes =
            KubernetesFigures { known, joined, counted: self.pods.as_ref().map(Feed::counted).unwrap_or_default() };
        Some(Figures { counts, tally, losses, hooks, sizes, reads, pods, kubernetes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(runs: u64) -> Losses {
        Losses { missed: Some(vec![runs, 7]), ..Losses::default() }
    }

    #[test]
    fn what_was_told_never_goes_down() {
        let mut told = Told::new(missed(2));
        let mut tell = |runs| told.losses(&missed(runs)).missed;
        assert_eq!(tell(2), Some(vec![0, 0]));
        assert_eq!(tell(5), Some(vec![3, 0]));
        assert_eq!(tell(4), Some(vec![3, 0]));
        assert_eq!(tell(6), Some(vec![4, 0]));
    }

    #[test]
    fn what_is_not_counted_is_not_told() {
        assert_eq!(Told::new(Losses::default()).losses(&Losses::default()).missed, None);
    }
}
