//! What the doors ask the loop: kept until all that happened before it went through the engine, and then answered by it. Only how the loop is
//! it says at once.

use std::{collections::VecDeque, future, mem, time::Duration};

use tokio::sync::{mpsc::Receiver, oneshot};

use super::{Act, Pump};
use crate::{
    agent::{
        AgentError,
        asks::{Ask, Health},
        boot_ns,
    },
    control::{Answer, Question},
    engine::Input,
    output::show::Flow,
};

/// How long tables that cannot be read keep the agent from being ready: one reading is given up after half of it.
const READY_AFTER: Duration = Duration::from_mins(1);

/// What was asked and has no answer yet.
#[derive(Debug)]
pub(super) struct Asked {
    /// `None` when nobody can ask.
    doors: Option<Receiver<Ask>>,
    /// What waits for the rings, and when it came: they may still hold records from before.
    waiting: VecDeque<(u64, Ask)>,
    /// Who wants to know how the loop is.
    health: Vec<oneshot::Sender<Health>>,
    ready: Ready,
    audits: Audits,
}

/// Whether the agent was ready once: it is never unready again.
#[derive(Debug)]
struct Ready {
    was: bool,
    at_last_ns: u64,
}

impl Ready {
    fn new(now_ns: u64) -> Self {
        let wait_ns = u64::try_from(READY_AFTER.as_nanos()).unwrap_or(u64::MAX);
        Self { was: false, at_last_ns: now_ns.saturating_add(wait_ns) }
    }

    /// Now, with so many tables that were not read yet.
    fn look(&mut self, unread: u64, now_ns: u64) -> bool {
        self.was |= unread == 0 || now_ns >= self.at_last_ns;
        self.was
    }
}

/// Who waits for an audit. One that is asked for while another runs is one of its own: it tells of later times.
#[derive(Debug, Default)]
struct Audits {
    running: Vec<oneshot::Sender<Answer>>,
    next: Vec<oneshot::Sender<Answer>>,
}

impl Asked {
    pub(super) fn new(doors: Option<Receiver<Ask>>) -> Self {
        Self {
            doors,
            waiting: VecDeque::new(),
            health: Vec::new(),
            ready: Ready::new(boot_ns()),
            audits: Audits::default(),
        }
    }

    /// Waits until something is asked.
    ///
    /// Cancel safe: what was taken out of the channel is kept at once.
    pub(super) async fn next(&mut self) {
        let Some(doors) = &mut self.doors else { return future::pending().await };
        match doors.recv().await {
            Some(Ask::Health(reply)) => self.health.push(reply),
            Some(ask) => self.waiting.push_back((boot_ns(), ask)),
            None => self.doors = None,
        }
    }

    /// The next one that came by then.
    fn due(&mut self, until_ns: u64) -> Option<Ask> {
        self.waiting.pop_front_if(|(at_ns, _)| *at_ns <= until_ns).map(|(_, ask)| ask)
    }
}

impl Audits {
    /// Whether an audit has to begin now.
    fn ask(&mut self, reply: oneshot::Sender<Answer>) -> bool {
        self.next.retain(|waits| !waits.is_closed());
        self.next.push(reply);
        self.running.is_empty() && self.begin()
    }

    /// Answers those that wait for the one that ran; whether another has to begin now.
    fn finish(&mut self, answer: &Answer) -> bool {
        for reply in self.running.drain(..) {
            // Who has gone away needs no answer.
            let _ = reply.send(answer.clone());
        }
        self.begin()
    }

    fn begin(&mut self) -> bool {
        self.running = mem::take(&mut self.next);
        !self.running.is_empty()
    }
}

impl<A: Act> Pump<'_, A> {
    /// Answers what was asked before the youngest record that went through the engine.
    pub(super) fn answer_asked(&mut self) -> Result<Flow, AgentError> {
        self.answer_health();
        while let Some(ask) = self.asked.due(self.read_until_ns) {
            match ask {
                Ask::Question(Question::Audit, reply) => {
                    if self.asked.audits.ask(reply) && self.step(Input::Audit)? == Flow::End {
                        return Ok(Flow::End);
                    }
                }
                Ask::Figures(reply) => {
                    if let Some(figures) = self.figures() {
                        let _ = reply.send(figures);
                    }
                }
                Ask::Question(question, reply) => {
                    // What the kernel has said is there at once, though nobody was woken for it yet.
                    if question == Question::Disks && self.hear_of_disks()? == Flow::End {
                        return Ok(Flow::End);
                    }
                    let _ = reply.send(self.engine.answer(question));
                }
                Ask::Health(reply) => self.asked.health.push(reply),
            }
        }
        self.answer_audits()
    }

    /// Says how it is to whoever wants to know.
    fn answer_health(&mut self) {
        if self.asked.health.is_empty() {
            return;
        }
        let (sizes, _) = self.engine.kept();
        let is_ready = self.asked.ready.look(sizes.states.unread, boot_ns());
        for reply in self.asked.health.drain(..) {
            let _ = reply.send(Health { is_ready });
        }
    }

    /// Answers whoever waits for the audit that runs, if it is done; another one may begin then.
    fn answer_audits(&mut self) -> Result<Flow, AgentError> {
        let is_done = self.engine.mirror().is_none_or(|mirror| mirror.audit().is_done());
        if self.asked.audits.running.is_empty() || !is_done {
            return Ok(Flow::On);
        }
        // What was lost while it ran looks like a difference until it is heard of.
        if self.say_losses()? == Flow::End {
            return Ok(Flow::End);
        }
        let answer = self.engine.answer(Question::Audit);
        if self.asked.audits.finish(&answer) { self.step(Input::Audit) } else { Ok(Flow::On) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::asks::way, control::End};

    fn answer(audited: u64) -> Answer {
        Answer { end: End { audited, ..End::default() }, ..Answer::default() }
    }

    #[test]
    fn an_audit_that_is_asked_for_meanwhile_is_another_one() {
        let mut audits = Audits::default();
        let ((first, mut one), (second, mut two)) = (oneshot::channel(), oneshot::channel());
        assert!(audits.ask(first), "nothing runs");
        assert!(!audits.ask(second), "one runs");
        assert!(audits.finish(&answer(1)), "one was asked for meanwhile");
        assert_eq!((one.try_recv().unwrap(), two.try_recv().is_err()), (answer(1), true));
        assert!(!audits.finish(&answer(2)), "nobody asks any more");
        assert_eq!(two.try_recv().unwrap(), answer(2));
        let (third, _) = oneshot::channel();
        assert!(audits.ask(third), "nothing runs any more");
    }

    #[test]
    fn who_has_gone_away_is_not_kept() {
        let mut audits = Audits::default();
        let (first, _one) = oneshot::channel();
        audits.ask(first);
        for _ in 0..100 {
            audits.ask(oneshot::channel().0);
        }
        assert_eq!(audits.next.len(), 1);
    }

    #[test]
    fn what_was_ready_once_stays_so() {
        let last_ns = u64::try_from(READY_AFTER.as_nanos()).unwrap() + 7;
        let mut ready = Ready::new(7);
        assert!(!ready.look(1, 7) && !ready.look(2, last_ns - 1));
        assert!(ready.look(0, 8) && ready.look(3, 9), "containers that start bring tables that are not read yet");
        let mut waited = Ready::new(7);
        assert!(waited.look(1, last_ns) && waited.look(1, 8), "a table that cannot be read is not waited for");
    }

    #[tokio::test]
    async fn who_asks_how_it_is_waits_for_no_record() {
        let (asks, doors) = way();
        let mut asked = Asked::new(Some(doors));
        tokio::spawn(async move { asks.health().await });
        asked.next().await;
        assert!(asked.health.len() == 1 && asked.waiting.is_empty());
    }

    #[tokio::test]
    async fn what_came_after_the_youngest_record_waits() {
        let (asks, doors) = way();
        let mut asked = Asked::new(Some(doors));
        let asks = tokio::spawn(async move { asks.question(Question::Tables).await });
        let before_ns = boot_ns();
        asked.next().await;
        assert!(asked.due(before_ns).is_none());
        let Some(Ask::Question(Question::Tables, reply)) = asked.due(boot_ns()) else { panic!("it has come") };
        reply.send(answer(3)).unwrap();
        assert_eq!(asks.await.unwrap(), Some(answer(3)));
        // The doors are closed: nothing spins.
        asked.next().await;
        assert!(asked.doors.is_none());
    }
}
