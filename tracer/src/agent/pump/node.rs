//! What the engine asks of the node, and is answered at once.

use std::time::{Duration, Instant};

use super::{Act, Pump};
use crate::{
    agent::{AgentError, boot_ns, owners::OwnersHand},
    engine::{Ask, Effect, Input},
    host::statmount,
    output::show::Flow,
};

/// Namespaces that are told at once: as a frame of a recording they are a quarter of the longest one.
const AT_ONCE: usize = 1000;

/// How long after a look through /proc the next one may be at the earliest: it costs as much as the node has threads, and losses come when
/// there is much to do.
const BETWEEN: Duration = Duration::from_secs(10);

/// When to look through /proc again.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// After the last one.
    not_before: Option<Instant>,
    wanted: bool,
}

impl Looks {
    /// The birth of a namespace may have been lost, or a number be another's now.
    pub(super) fn after_loss(&mut self) {
        self.wanted = true;
    }

    fn take_due(&mut self, now: Instant) -> bool {
        let due = self.wanted && self.not_before.is_none_or(|at| at <= now);
        self.wanted &= !due;
        due
    }
}

impl<A: Act> Pump<'_, A> {
    /// The same after a loss.
    pub(super) fn look_around_if_due(&mut self) -> Result<Flow, AgentError> {
        if self.looks.take_due(Instant::now()) { self.look_around() } else { Ok(Flow::On) }
    }

    /// Who is where, as far as it was not told.
    pub(super) fn look_around(&mut self) -> Result<Flow, AgentError> {
        let found = self.owners.as_ref().map(OwnersHand::inhabitants).unwrap_or_default();
        self.looks.not_before = Some(Instant::now() + BETWEEN);
        for some in found.chunks(AT_ONCE) {
            if self.step(Input::Inhabited(some.to_vec()))? == Flow::End {
                return Ok(Flow::End);
            }
        }
        Ok(Flow::On)
    }

    /// What the node says.
    pub(super) fn answered(&mut self, asks: &[Ask]) -> Result<Vec<Effect>, AgentError> {
        let answer = |ask: &Ask| match ask {
            Ask::Mount(mount) => statmount::path(*mount),
            Ask::Cgroup(id) => self.owners.as_ref()?.path(*id).map(String::into_bytes),
        };
        let input = Input::Answered(asks.iter().map(answer).collect());
        let now_ns = boot_ns();
        if let Some(record) = &mut self.record {
            record.input(&input, now_ns)?;
        }
        Ok(self.engine.step(input, now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_losses_is_one_look() {
        let now = Instant::now();
        let mut looks = Looks::default();
        assert!(!looks.take_due(now), "nothing was lost");
        looks.after_loss();
        assert!(looks.take_due(now), "the first one at once");
        looks.not_before = Some(now + BETWEEN);
        for second in 0..10 {
            looks.after_loss();
            assert!(!looks.take_due(now + Duration::from_secs(second)));
        }
        assert!(looks.take_due(now + BETWEEN), "the last loss is not forgotten");
        assert!(!looks.take_due(now + BETWEEN));
    }
}
