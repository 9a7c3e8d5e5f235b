//! The one loop: takes the rings through the engine until it is time to end, and says what was lost on the way.

mod asked;
mod disks;
mod figures;
mod node;
mod told;
mod waits;

use std::{
    collections::VecDeque,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime, sync::mpsc::Receiver, time::sleep};

use self::{
    asked::Asked,
    disks::{DiskWatch, heard_or_never},
    figures::Told,
    node::Looks,
    told::{loss, table_input},
    waits::{Signals, changed_or_never, named_or_never, next_or_never, sleep_or_never, told_or_never, yield_or_never},
};
use super::{
    AgentError, Feed, asks, boot_ns,
    namer::Namer,
    owners::OwnersHand,
    pod_figures::PodFigures,
    policy_watch::PolicyWatch,
    reader::{self, Read, Reader},
    record::Record,
    stats::Stats,
};
use crate::{
    engine::{Counts, Effect, Engine, Input},
    host::block::Block,
    limit::policy::Policy,
    output::{recording::Totals, say::note, show::Flow},
    probe::{losses::Losses, running::Probes},
    stream::{BATCH, Rings, Stream},
};

/// How long after a record the counters of losses are looked at: a loss is said within a second.
const LOSSES_AFTER: Duration = Duration::from_millis(250);
/// How long the reader dozes after it found much, before it looks once more and then waits to be woken. Waking it is what
/// costs; in a burst nobody has to.
const DOZE: Duration = Duration::from_millis(1);
/// More records than this in one turn are a burst: three or four are an operation, and who makes one now and then is shown
/// it at once.
const BURST: usize = 8;
/// How often it looks without being woken. The end of a call wakes, and its program may be skipped: what the call's
/// sections wrote would lie there until something else happens.
const LOOK: Duration = Duration::from_secs(1);

/// How long a second that is over is left alone: a program that has read the clock may still be about to count.
const YOUNG_NS: u64 = 1_000_000_000;

/// Carries out an effect; what it answers.
pub(super) trait Act: FnMut(Effect) -> Result<(Flow, Option<Input<'static>>), AgentError> {}
impl<A: FnMut(Effect) -> Result<(Flow, Option<Input<'static>>), AgentError>> Act for A {}

/// Takes the rings through the engine until it is time to end; prints what was seen and what was lost.
///
/// `ready` is said when a signal would already end it in order.
pub(super) fn run(
    mut probes: Probes,
    rings: Rings,
    engine: Engine,
    beside: Beside,
    ready: &str,
    act: impl Act,
) -> Result<Stats, AgentError> {
    // What was lost before is no one's loss: nothing was shown yet.
    let before = probes.losses()?;
    probes.take_dirty()?;
    probes.take_throttled(u64::MAX)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
    let (counts, record) = runtime.block_on(async {
        let stream = Stream::new(rings).map_err(AgentError::Ring)?;
        let signals = Signals::new()?;
        let watch = beside.watched.map(|(file, policy)| PolicyWatch::new(file, policy));
        let reader =
            if beside.tables { Some(Reader::start(probes.take_reading()?, probes.tables_bytes())?) } else { None };
        note(ready);
        let said = before.clone();
        Pump {
            stream,
            engine,
            act,
            probes: &mut probes,
            watch,
            record: beside.record,
            reader,
            asked: Asked::new(beside.asked),
            told: Told::new(before.clone()),
            tables: Vec::new(),
            owners: beside.owners,
            looks: Looks::default(),
            namer: beside.namer,
            pod_figures: beside.pod_figures,
            disks: beside.disks.and_then(DiskWatch::start),
            pods: beside.pods,
            losses_at: None,
            said,
            wait: Wait::Not,
            read_until_ns: 0,
        }
        .run(signals, beside.duration)
        .await
    })?;
    let losses = probes.losses()?;
    let totals = Totals {
        dropped: losses.operations - before.operations,
        records_lost: losses.records() - before.records(),
        missed: losses.missed.is_some().then(|| losses.runs() - before.runs()),
    };
    if let Some(mut record) = record {
        record.end(totals, boot_ns())?;
    }
    let stats = Stats { counts, totals };
    note(stats);
    Ok(stats)
}

/// What runs beside the rings.
#[derive(Default)]
pub(super) struct Beside {
    /// When to end.
    pub(super) duration: Option<Duration>,
    /// The policy's file and what it said.
    pub(super) watched: Option<(PathBuf, Policy)>,
    /// What all inputs go into besides.
    pub(super) record: Option<Record>,
    /// Whether what is mounted already is read, and what the mirror asks for.
    pub(super) tables: bool,
    /// What comes in by the doors.
    pub(super) asked: Option<Receiver<asks::Ask>>,
    /// Where whose something is can be looked up; `None` when nobody is told.
    pub(super) owners: Option<OwnersHand>,
    /// Who asks for names; `None` when nobody is told.
    pub(super) namer: Option<Namer>,
    /// Who reads what pods do; `None` when nobody scrapes.
    pub(super) pod_figures: Option<PodFigures>,
    /// Where disks are looked up that come and go; `None` when nobody wants to know.
    pub(super) disks: Option<Block>,
    /// Who asks Kubernetes; `None` when nobody does.
    pub(super) pods: Option<Feed>,
}

/// How to wait for the next records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// There are more.
    Not,
    /// There were many just now.
    Doze,
    /// Until the kernel wakes us.
    Wake,
}

struct Pump<'a, A> {
    stream: Stream,
    engine: Engine,
    act: A,
    probes: &'a mut Probes,
    watch: Option<PolicyWatch>,
    record: Option<Record>,
    reader: Option<Reader>,
    /// What became of tables, and when: the rings may still hold records from before.
    tables: Vec<(Read, u64)>,
    asked: Asked,
    told: Told,
    owners: Option<OwnersHand>,
    looks: Looks,
    namer: Option<Namer>,
    pod_figures: Option<PodFigures>,
    disks: Option<DiskWatch>,
    pods: Option<Feed>,
    /// When to look for losses.
    losses_at: Option<Instant>,
    /// Losses that were said.
    said: Losses,
    wait: Wait,
    /// All that was stamped up to here went through the engine.
    read_until_ns: u64,
}

impl<A: Act> Pump<'_, A> {
    /// What was counted, and the recording, which has no end yet.
    async fn run(
        mut self,
        signals: Signals,
        duration: Option<Duration>,
    ) -> Result<(Counts, Option<Record>), AgentError> {
        let counts = self.turns(signals, duration).await?;
        Ok((counts, self.record))
    }

    async fn turns(&mut self, mut signals: Signals, duration: Option<Duration>) -> Result<Counts, AgentError> {
        if self.reader.is_some() && self.step(Input::Present(reader::present()?))? == Flow::End {
            return Ok(self.engine.counts());
        }
        if self.look_around()? == Flow::End {
            return Ok(self.engine.counts());
        }
        let mut end = std::pin::pin!(sleep_or_never(duration));
        loop {
            if self.wait == Wait::Doze {
                // The thread sleeps, and not the task: who waits for the rings in the kernel would be woken.
                thread::sleep(DOZE);
            }
            let deadline = self.engine.next_deadline_ns();
            let wait = deadline.map(|at| Duration::from_nanos(at.saturating_sub(boot_ns())));
            let (mut policy, mut table, mut named, mut told) = (None, None, None, None);
            let (mut idle, mut heard) = (false, false);
            let over = tokio::select! {
                ready = self.stream.ready(), if self.wait == Wait::Wake => { ready.map_err(AgentError::Ring)?; false }
                () = sleep_or_never(wait) => false,
                () = sleep_or_never(self.losses_at.map(|at| at.saturating_duration_since(Instant::now()))) => false,
                () = sleep(LOOK) => { idle = true; false }
                () = yield_or_never(self.wait != Wait::Wake) => false,
                read = next_or_never(self.reader.as_mut()) => { table = Some(read); false }
                answer = named_or_never(self.namer.as_mut()) => { named = answer; false }
                update = told_or_never(self.pods.as_mut()) => { told = Some(update); false }
                () = self.asked.next() => false,
                () = heard_or_never(self.disks.as_ref()) => { heard = true; false }
                new = changed_or_never(self.watch.as_mut()) => { policy = Some(Box::new(new)); false }
                () = signals.next() => true,
                () = &mut end => true,
            };
            // The last record of all may have been lost: no other one makes it be noticed.
            if idle && self.probes.has_noted()? {
                self.losses_at = Some(Instant::now());
            }
            if self.losses_at.is_some_and(|at| at <= Instant::now()) && self.say_noted()? == Flow::End {
                return Ok(self.engine.counts());
            }
            if idle && self.look_around_if_due()? == Flow::End {
                return Ok(self.engine.counts());
            }
            if heard && self.hear_of_disks()? == Flow::End {
                return Ok(self.engine.counts());
            }
            if let Some(policy) = policy
                && self.step(Input::Policy(policy))? == Flow::End
            {
                return Ok(self.engine.counts());
            }
            if let Some((id, answer)) = named
                && self.step(Input::Named(id, answer))? == Flow::End
            {
                return Ok(self.engine.counts());
            }
            if let Some(update) = told
                && self.step(Input::Pods(Box::new(update)))? == Flow::End
            {
                return Ok(self.engine.counts());
            }
            match table {
                Some(Some(read)) => self.tables.push((read, boot_ns())),
                Some(None) => self.reader = None,
                None => {}
            }
            let due = deadline.is_some_and(|at| at <= boot_ns());
            let flow = if due { self.step(Input::Deadline(self.read_until_ns))? } else { Flow::On };
            if flow == Flow::End || self.drain()? == Flow::End || self.answer_asked()? == Flow::End {
                return Ok(self.engine.counts());
            }
            if over {
                return self.finish();
            }
        }
    }

    /// At the end all that the rings can hold is still taken, but not what others keep adding.
    fn finish(&mut self) -> Result<Counts, AgentError> {
        for _ in 0..self.probes.ring_records() / BATCH + 2 {
            if self.wait != Wait::Not || self.drain()? == Flow::End {
                break;
            }
        }
        if self.step(Input::End)? == Flow::On && self.say_losses()? == Flow::On {
            self.say_throttled(u64::MAX)?;
        }
        Ok(self.engine.counts())
    }

    /// Takes what the rings hold now through the engine, at most a batch.
    fn drain(&mut self) -> Result<Flow, AgentError> {
        let turn = self.stream.turn(boot_ns());
        self.wait = match (turn.more, turn.records.len()) {
            (true, _) => Wait::Not,
            (false, found) if found > BURST => Wait::Doze,
            (false, _) => Wait::Wake,
        };
        if !turn.records.is_empty() {
            self.losses_at.get_or_insert_with(|| Instant::now() + LOSSES_AFTER);
        }
        for record in turn.records {
            if self.step(Input::Record(&record))? == Flow::End {
                return Ok(Flow::End);
            }
        }
        self.read_until_ns = turn.until_ns;
        let read_until_ns = self.read_until_ns;
        let read: Vec<(Read, u64)> = self.tables.extract_if(.., |(_, at_ns)| *at_ns <= read_until_ns).collect();
        for (read, _) in read {
            let Some(input) = table_input(read) else {
                self.reader.iter_mut().for_each(Reader::go_on);
                continue;
            };
            if self.step(input)? == Flow::End {
                return Ok(Flow::End);
            }
        }
        if let (Wait::Wake, Some(record)) = (self.wait, &mut self.record) {
            record.flush()?;
        }
        Ok(Flow::On)
    }

    /// Says what the programs only noted.
    fn say_noted(&mut self) -> Result<Flow, AgentError> {
        if self.say_losses()? == Flow::End {
            return Ok(Flow::End);
        }
        self.say_throttled(boot_ns().saturating_sub(YOUNG_NS))
    }

    /// Says what was lost. A program counts a loss and then notes whose it was: what is noted late is told too.
    fn say_losses(&mut self) -> Result<Flow, AgentError> {
        self.losses_at = None;
        let losses = self.probes.losses()?;
        let dirty = self.probes.take_dirty()?;
        let gap = losses.gap_since(&self.said, dirty.clone());
        self.said = losses;
        match gap {
            Some(gap) => {
                note(loss(&gap));
                self.looks.after_loss();
                if self.step(Input::Loss(gap))? == Flow::End { Ok(Flow::End) } else { self.look_around_if_due() }
            }
            None if dirty.as_ref().is_none_or(|some| !some.is_empty()) => self.step(Input::Dirty(dirty)),
            None => Ok(Flow::On),
        }
    }

    /// Says which failing calls were only counted, those of the seconds that were over by then.
    fn say_throttled(&mut self, until_ns: u64) -> Result<Flow, AgentError> {
        let throttled = self.probes.take_throttled(until_ns)?;
        if throttled.is_empty() { Ok(Flow::On) } else { self.step(Input::Throttled(throttled)) }
    }

    /// One input, and what its effects answer.
    fn step(&mut self, input: Input<'_>) -> Result<Flow, AgentError> {
        let now_ns = boot_ns();
        if let Some(record) = &mut self.record {
            record.input(&input, now_ns)?;
        }
        let mut effects = VecDeque::from(self.engine.step(input, now_ns));
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Read(inum) => {
                    self.reader.iter_mut().for_each(|reader| reader.ask(inum));
                    continue;
                }
                Effect::Name(id) => {
                    self.namer.iter().for_each(|namer| namer.ask(id.clone()));
                    continue;
                }
                Effect::Ask(asks) => {
                    let shown = self.answered(&asks)?;
                    shown.into_iter().rev().for_each(|effect| effects.push_front(effect));
                    continue;
                }
                _ => {}
            }
            let (flow, answer) = (self.act)(effect)?;
            if flow == Flow::End {
                return Ok(Flow::End);
            }
            if let Some(answer) = answer {
                effects.extend(self.engine.step(answer, boot_ns()));
            }
        }
        Ok(Flow::On)
    }
}
