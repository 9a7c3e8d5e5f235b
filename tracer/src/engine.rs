//! PURE: the one core of `trace`, `agent` and the tests: `step(Input) -> Vec<Effect>`.
//!
//! It owns what is known between two inputs; time, records and the node's answers come in, and whatever is to be read,
//! written or shown goes out as an effect.

use crate::{
    assemble::{Assemble, Assembled},
    decode::{DecodeError, Fact, decode},
    existing::Existing,
    host::Facts,
    limit::{
        limiter::Limiter,
        order::{Inspected, Order, Ticket, Written},
        policy::Policy,
    },
    operation::{Cause, Gap, Op, Operation, SectionFact},
    sections::Sections,
};

/// What can happen to the engine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A record of the ring.
    Record(&'a [u8]),
    /// What the node says of a volume: the answer to [`Order::LookUp`].
    LookedUp(Ticket, Box<Facts>),
    /// What the node says of a cgroup and a disk: the answer to [`Order::Inspect`].
    Inspected(Ticket, Box<Inspected>),
    /// How a write ended: the answer to [`Order::Write`].
    Written(Ticket, Written),
    /// Something was lost on the way.
    Loss(Gap),
    /// The mount table of the namespace with this inode number was read, and all that it told has been put in.
    TableRead(u32),
    /// The policy's file has changed.
    Policy(Box<Policy>),
    /// Time has come, and all that was stamped up to this time (`CLOCK_BOOTTIME` in nanoseconds) has been put in: what is
    /// missing until then will not come, however late it is now.
    Deadline(u64),
    /// Nothing more will come.
    End,
}

/// What the engine wants done.
#[derive(Debug)]
pub enum Effect {
    /// Show an operation, the `seq`th.
    Emit {
        /// Counted from 1.
        seq: u64,
        /// The operation.
        operation: Box<Operation>,
    },
    /// Do what the limiter wants.
    Limit(Order),
}

/// What went on at each step of the route, and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read from the ring.
    pub records: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Sections whose end or facts were lost.
    pub incomplete: u64,
    /// Sections that changed a table in a way that has no name yet.
    pub unresolved: u64,
    /// Operations.
    pub operations: u64,
}

/// The core.
#[derive(Debug, Default)]
pub struct Engine {
    own_pid: u32,
    sections: Sections,
    assemble: Assemble,
    existing: Existing,
    limiter: Option<Limiter>,
    counts: Counts,
    /// Operations that were emitted, losses among them.
    emitted: u64,
}

impl Engine {
    /// `own_pid` is the agent's own process id: what it does itself has no actor. Without a limiter it only traces.
    pub fn new(own_pid: u32, limiter: Option<Limiter>) -> Self {
        Self { own_pid, limiter, ..Self::default() }
    }

    /// What went on so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When it wants [`Input::Deadline`] next, `CLOCK_BOOTTIME` in nanoseconds.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let limiter = self.limiter.as_ref().and_then(Limiter::next_deadline_ns);
        limiter.into_iter().chain(self.assemble.next_expiry_ns()).min()
    }

    /// Takes an input that came at `now_ns`, `CLOCK_BOOTTIME` in nanoseconds; what is to be done for it.
    pub fn step(&mut self, input: Input<'_>, now_ns: u64) -> Vec<Effect> {
        match input {
            Input::Record(record) => {
                self.counts.records += 1;
                match decode(record) {
                    Ok(Fact::Cgroup { made: true, path, id, uid }) => {
                        self.limit(|limiter| limiter.cgroup_made(&path, id, uid, now_ns))
                    }
                    Ok(Fact::Cgroup { made: false, id, .. }) => self.limit(|limiter| limiter.cgroup_removed(id)),
                    Ok(fact) => {
                        let assembled = self.fact(fact);
                        self.emit(assembled, now_ns)
                    }
                    Err(error) => self.undecodable(error),
                }
            }
            Input::LookedUp(ticket, facts) => self.limit(|limiter| limiter.looked_up(ticket, *facts, now_ns)),
            Input::Inspected(ticket, inspected) => self.limit(|limiter| limiter.inspected(ticket, &inspected, now_ns)),
            Input::Written(ticket, written) => self.limit(|limiter| limiter.written(ticket, written, now_ns)),
            Input::Loss(gap) => {
                self.existing.lost();
                let operation = Operation { gap: Some(gap), complete: false, ..Operation::bare(Op::Gap, now_ns) };
                self.emit(vec![Assembled::Operation(Box::new(operation))], now_ns)
            }
            Input::TableRead(inum) => {
                let found = self.existing.read(inum).into_iter();
                self.emit(found.map(|one| Assembled::Operation(Box::new(one))).collect(), now_ns)
            }
            Input::Policy(policy) => self.limit(|limiter| limiter.policy_changed(*policy, now_ns)),
            Input::End => {
                let open = self.assemble.end();
                self.emit(open, now_ns)
            }
            Input::Deadline(read_until_ns) => {
                let expired = self.assemble.expire(read_until_ns);
                let mut effects = self.emit(expired, now_ns);
                effects.extend(self.limit(|limiter| limiter.deadline(now_ns, read_until_ns)));
                effects
            }
        }
    }

    fn limit(&mut self, work: impl FnOnce(&mut Limiter) -> Vec<Order>) -> Vec<Effect> {
        self.limiter.as_mut().map(work).unwrap_or_default().into_iter().map(Effect::Limit).collect()
    }

    fn undecodable(&mut self, _: DecodeError) -> Vec<Effect> {
        self.counts.undecodable += 1;
        Vec::new()
    }

    fn fact(&mut self, fact: Fact) -> Vec<Assembled> {
        let sections = match fact {
            Fact::Section(tag, fact) => {
                self.change_existing(tag.boot_ns, &fact);
                self.sections.fact(tag, fact).into_iter().collect()
            }
            Fact::SectionEnd { tag, actor, written, lost, asked, cause } => {
                let (broken, section) = self.sections.end(tag, actor, (asked, cause), written, lost);
                broken.into_iter().chain([section]).collect()
            }
            Fact::CallEnd(end) => return self.assemble.call(*end),
            Fact::Seed { boot_ns, mount, count } => {
                self.existing.seed(boot_ns, *mount, count);
                Vec::new()
            }
            Fact::Target(call, mount) => {
                self.assemble.target(call, *mount);
                Vec::new()
            }
            Fact::NamespaceMade { actor, boot_ns, change } => {
                let bare = Operation::bare(Op::NamespaceCreated, boot_ns);
                let cause = change.made_by.map(|_| Cause::Syscall);
                let operation = Operation { actor: Some(actor), cause, namespace: Some(change), ..bare };
                return vec![Assembled::Operation(Box::new(operation))];
            }
            Fact::Cgroup { .. } => Vec::new(),
        };
        sections
            .into_iter()
            .flat_map(|section| {
                self.counts.incomplete += u64::from(!section.complete);
                self.assemble.section(section)
            })
            .collect()
    }

    /// A table that is being read changes under the reader.
    fn change_existing(&mut self, at_ns: u64, fact: &SectionFact) {
        match fact {
            SectionFact::Mount(role, mount) => self.existing.changed(at_ns, *role, mount),
            SectionFact::NamespaceEnd(change) => self.existing.ended(change.namespace),
            SectionFact::Copy(_) => {}
        }
    }

    fn emit(&mut self, assembled: Vec<Assembled>, now_ns: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for assembled in assembled {
            match assembled {
                Assembled::Operation(mut operation) => {
                    if operation.actor.as_ref().is_some_and(|actor| actor.pid == self.own_pid) {
                        operation.actor = None;
                    }
                    // What was there before has not happened, and a loss is none of the node's operations.
                    self.counts.operations += u64::from(!matches!(operation.op, Op::Gap | Op::Existing));
                    self.emitted += 1;
                    effects.extend(self.limit(|limiter| limiter.operation(&operation, now_ns)));
                    effects.push(Effect::Emit { seq: self.emitted, operation });
                }
                Assembled::Nothing => {}
                Assembled::Unresolved => self.counts.unresolved += 1,
            }
        }
        effects
    }
}
