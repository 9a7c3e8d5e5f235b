//! What the engine asks of the node, and is answered at once.

use super::{Act, Pump};
use crate::{
    agent::{AgentError, boot_ns, owners::OwnersHand},
    engine::{Ask, Effect, Input},
    host::statmount,
    output::show::Flow,
};

/// Namespaces that are told at once: as a frame of a recording they are a quarter of the longest one.
const AT_ONCE: usize = 1000;

impl<A: Act> Pump<'_, A> {
    /// Who is where, as far as it was not told.
    pub(super) fn look_around(&mut self) -> Result<Flow, AgentError> {
        let found = self.owners.as_ref().map(OwnersHand::inhabitants).unwrap_or_default();
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
