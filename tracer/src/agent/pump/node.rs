//! What the engine asks of the node, and is answered at once.

use super::{Act, Pump};
use crate::{
    agent::{AgentError, boot_ns},
    engine::{Ask, Effect, Input},
    host::statmount,
    output::show::Flow,
};

impl<A: Act> Pump<'_, A> {
    /// Who is where, as far as it was not told.
    pub(super) fn look_around(&mut self) -> Result<Flow, AgentError> {
        match &self.owners {
            Some(owners) => self.step(Input::Inhabited(owners.inhabitants())),
            None => Ok(Flow::On),
        }
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
