//! PURE: the one core of `trace`, `agent` and the tests: `step(Input) -> Vec<Effect>`.
//!
//! It owns what is known between two inputs; time, records and the node's answers come in, and whatever is to be read,
//! written or shown goes out as an effect.

mod asking;
mod counts;
mod joining;
mod known_pods;
mod naming;
mod unknown;

pub use self::{
    asking::Ask,
    counts::Counts,
    joining::Joined,
    known_pods::{KnownPod, KnownUse},
};
use self::{asking::Asking, joining::Joining, unknown::sets_attributes_of_unknown};
use crate::{
    assemble::{Assemble, Assembled},
    control::{Answer, DisksRow, Question, VolumeRow},
    decode::{DecodeError, Fact, decode},
    existing::Existing,
    host::{
        Facts,
        disk::births::{DiskNews, Disks},
    },
    limit::{
        limiter::Limiter,
        order::{Inspected, Order, Ticket, Written},
        policy::Policy,
    },
    mirror::{Mirror, ReadCounts, Sizes},
    operation::{Cause, Gap, Namespace, Op, Operation, Section, SectionFact, Throttled},
    pods::{named::Named, owners::Inhabitant, runtimes::ContainerId, view::Update},
    sections::Sections,
    tally::{Tally, happened},
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
    /// Failing calls that were only counted.
    Throttled(Vec<Throttled>),
    /// What was lost, and has been said, was about these namespaces too; `None` when it may be any.
    Dirty(Option<Vec<Namespace>>),
    /// The mount namespaces with these inode numbers are there.
    Present(Vec<u32>),
    /// The mount table of a namespace was read, and all that it told has been put in.
    TableRead {
        /// The namespace's inode number.
        inum: u32,
        /// When the reading began, `CLOCK_BOOTTIME` in nanoseconds.
        began_ns: u64,
    },
    /// Nobody is seen in the namespace with this inode number, by whom its table could be read.
    TableGone(u32),
    /// The table of the namespace with this inode number could not be read this time.
    TableFailed(u32),
    /// The answers to [`Effect::Ask`], in its order; `None` where there is none.
    Answered(Vec<Option<Vec<u8>>>),
    /// Who is in the mount namespaces that are there.
    Inhabited(Vec<Inhabitant>),
    /// What the runtime says of a container: the answer to [`Effect::Name`]; `None` where it does not know it, or cannot be asked.
    Named(ContainerId, Option<Box<Named>>),
    /// What the Kubernetes API server tells.
    Pods(Box<Update>),
    /// The mirror is to be compared with all tables.
    Audit,
    /// What the node says of its disks.
    Disks(DiskNews),
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
    /// Answer this before any other effect is carried out: an operation is shown with the answers.
    Ask(Vec<Ask>),
    /// Ask the runtime what this container is called. Operations wait for the answer for some time.
    Name(ContainerId),
    /// Do what the limiter wants.
    Limit(Order),
    /// Read the mount table of the namespace with this inode number.
    Read(u32),
}

/// The core.
#[derive(Debug, Default)]
pub struct Engine {
    own_pid: u32,
    sections: Sections,
    assemble: Assemble,
    existing: Existing,
    mirror: Option<Mirror>,
    limiter: Option<Limiter>,
    counts: Counts,
    tally: Tally,
    asking: Asking,
    disks: Disks,
    joining: Joining,
    /// Operations that were emitted, losses among them.
    emitted: u64,
}

impl Engine {
    /// `own_pid` is the agent's own process id: what it does itself has no actor. Without a limiter it only traces.
    pub fn new(own_pid: u32, limiter: Option<Limiter>) -> Self {
        Self { own_pid, limiter, ..Self::default() }
    }

    /// The same with a mirror of all mount tables.
    #[must_use]
    pub fn with_mirror(self, mirror: Mirror) -> Self {
        Self { mirror: Some(mirror), ..self }
    }

    /// The mount tables of all namespaces, if they are kept.
    pub fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_ref()
    }

    /// What went on so far.
    pub fn counts(&self) -> Counts {
        Counts { unnamed: self.asking.naming.unnamed, ..self.counts }
    }

    /// Operations so far, by kind and result.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What it knows of mount tables, and how many it had read for that.
    pub fn kept(&self) -> (Sizes, ReadCounts) {
        self.mirror.as_ref().map(|mirror| (mirror.sizes(), mirror.reads().counts())).unwrap_or_default()
    }

    /// What it answers from what it knows; nothing is read for it.
    pub fn answer(&self, question: Question) -> Answer {
        let whose = |namespace| self.asking.whose(namespace);
        let answer = self.mirror.as_ref().map(|mirror| question.answered_by(mirror, whose)).unwrap_or_default();
        let disks = (question == Question::Disks).then(|| DisksRow::of(&self.disks));
        let pods = if question == Question::Volumes { self.known_pods() } else { Vec::new() };
        Answer { disks, volumes: pods.iter().flat_map(VolumeRow::of_pod).collect(), ..answer }
    }

    /// When it wants [`Input::Deadline`] next, `CLOCK_BOOTTIME` in nanoseconds.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let limiter = self.limiter.as_ref().and_then(Limiter::next_deadline_ns);
        let mirror = self.mirror.as_ref().and_then(Mirror::next_due_ns);
        let waiting = self.asking.naming.next_deadline_ns().into_iter().chain(self.joining.next_deadline_ns());
        limiter.into_iter().chain(self.assemble.next_expiry_ns()).chain(mirror).chain(waiting).min()
    }

    /// Takes an input that came at `now_ns`, `CLOCK_BOOTTIME` in nanoseconds; what is to be done for it.
    pub fn step(&mut self, input: Input<'_>, now_ns: u64) -> Vec<Effect> {
        let mut effects = self.take(input, now_ns);
        let doubts = self.mirror.as_mut().map(Mirror::take_doubts).unwrap_or_default();
        for (namespace, doubt) in doubts {
            let gap = Gap { namespaces: Some(vec![namespace]), doubt: Some(doubt), ..Gap::default() };
            effects.extend(self.gap(gap, now_ns));
        }
        let read = self.mirror.as_mut().and_then(|mirror| mirror.due(now_ns));
        effects.extend(read.map(Effect::Read));
        effects
    }

    fn take(&mut self, input: Input<'_>, now_ns: u64) -> Vec<Effect> {
        match input {
            Input::Record(record) => {
                self.counts.records += 1;
                match decode(record) {
                    Ok(Fact::Cgroup { made, path, id, uid }) => self.cgroup(made, &path, id, uid, now_ns),
                    Ok(Fact::CgroupEntered { cgroup_id, namespace }) => {
                        self.asking.entered(namespace, cgroup_id, now_ns)
                    }
                    Ok(fact) => {
                        let mut effects = self.made(&fact, now_ns);
                        effects.extend(self.seeded(&fact, now_ns));
                        let assembled = self.fact(fact);
                        effects.extend(self.emit(assembled, now_ns));
                        effects
                    }
                    Err(error) => self.undecodable(error, now_ns),
                }
            }
            Input::LookedUp(ticket, facts) => self.limit(|limiter| limiter.looked_up(ticket, *facts, now_ns)),
            Input::Inspected(ticket, inspected) => self.limit(|limiter| limiter.inspected(ticket, &inspected, now_ns)),
            Input::Written(ticket, written) => self.limit(|limiter| limiter.written(ticket, written, now_ns)),
            Input::Loss(gap) => {
                self.existing.lost();
                self.asking.owners.lost();
                self.reflect(|mirror| mirror.lost(gap.namespaces.as_deref(), now_ns));
                self.gap(gap, now_ns)
            }
            Input::Throttled(all) => self.throttled(&all, now_ns),
            Input::Present(all) => match &mut self.mirror {
                Some(mirror) => {
                    for inum in all {
                        mirror.present(inum, now_ns);
                    }
                    Vec::new()
                }
                None => all.into_iter().map(Effect::Read).collect(),
            },
            Input::Dirty(namespaces) => self.reflect(|mirror| mirror.lost(namespaces.as_deref(), now_ns)),
            Input::TableFailed(inum) => self.reflect(|mirror| mirror.failed(inum, now_ns)),
            Input::TableGone(inum) => self.reflect(|mirror| mirror.unreadable(inum, now_ns)),
            Input::Audit => self.reflect(|mirror| mirror.begin_audit(now_ns)),
            Input::TableRead { inum, began_ns } => {
                self.reflect(|mirror| mirror.read(inum, began_ns, now_ns));
                let found = self.existing.read(inum).into_iter();
                self.emit(found.map(|one| Assembled::Operation(Box::new(one))).collect(), now_ns)
            }
            Input::Answered(paths) => self.asking.answered(paths, now_ns),
            Input::Named(id, named) => self.asking.naming.named(id, named.map(|named| *named), now_ns),
            Input::Inhabited(found) => self.asking.inhabited(found, now_ns),
            Input::Disks(news) => {
                self.disks.hear(&news);
                Vec::new()
            }
            Input::Pods(update) => self.pods_told(*update),
            Input::Policy(policy) => self.limit(|limiter| limiter.policy_changed(*policy, now_ns)),
            Input::End => {
                let open = self.assemble.end();
                let mut effects = self.emit(open, now_ns);
                effects.extend(self.asking.naming.end(now_ns));
                effects
            }
            Input::Deadline(read_until_ns) => {
                let expired = self.assemble.expire(read_until_ns);
                let mut effects = self.emit(expired, now_ns);
                effects.extend(self.asking.naming.go_on(now_ns));
                self.joining.expire(now_ns);
                effects.extend(self.limit(|limiter| limiter.deadline(now_ns, read_until_ns)));
                effects
            }
        }
    }

    fn limit(&mut self, work: impl FnOnce(&mut Limiter) -> Vec<Order>) -> Vec<Effect> {
        self.limiter.as_mut().map(work).unwrap_or_default().into_iter().map(Effect::Limit).collect()
    }

    /// Nothing is to be done for it but what the mirror says by itself.
    fn reflect(&mut self, work: impl FnOnce(&mut Mirror)) -> Vec<Effect> {
        if let Some(mirror) = &mut self.mirror {
            work(mirror);
        }
        Vec::new()
    }

    fn gap(&mut self, gap: Gap, now_ns: u64) -> Vec<Effect> {
        let operation = Operation { gap: Some(gap), complete: false, ..Operation::bare(Op::Gap, now_ns) };
        self.emit(vec![Assembled::Operation(Box::new(operation))], now_ns)
    }

    fn throttled(&mut self, all: &[Throttled], now_ns: u64) -> Vec<Effect> {
        self.counts.throttled += all.iter().map(|one| one.calls).sum::<u64>();
        let operation = |one: &Throttled| {
            let bare = Operation::bare(Op::Throttled, one.end_ns);
            Operation { throttled: Some(*one), cause: Some(Cause::Syscall), ..bare }
        };
        self.emit(all.iter().map(|one| Assembled::Operation(Box::new(operation(one)))).collect(), now_ns)
    }

    /// Nobody knows what it was about.
    fn undecodable(&mut self, _: DecodeError, now_ns: u64) -> Vec<Effect> {
        self.counts.undecodable += 1;
        self.reflect(|mirror| mirror.lost(None, now_ns))
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
            Fact::CallEnd(end) => {
                if let (Some(namespace), true) = (end.actor.namespace, sets_attributes_of_unknown(&end)) {
                    self.reflect(|mirror| mirror.attributes_unknown(namespace, end.end_ns));
                }
                return self.assemble.call(*end);
            }
            Fact::Seed { boot_ns, mount } => {
                match &mut self.mirror {
                    Some(mirror) => mirror.seed(boot_ns, &mount),
                    None => self.existing.seed(boot_ns, *mount),
                }
                Vec::new()
            }
            Fact::Target(call, mount) => {
                self.reflect(|mirror| mirror.attributes(call, &mount));
                self.assemble.target(call, *mount);
                Vec::new()
            }
            Fact::Released(identity) => {
                self.reflect(|mirror| mirror.released(identity));
                Vec::new()
            }
            Fact::NamespaceMade { call, actor, boot_ns, change } => {
                self.reflect(|mirror| mirror.made(change.namespace, boot_ns));
                if let Some(call) = call {
                    self.assemble.made(call, change);
                    return Vec::new();
                }
                let bare = Operation::bare(Op::NamespaceCreated, boot_ns);
                let cause = change.made_by.map(|_| Cause::Syscall);
                let operation = Operation { actor: Some(actor), cause, namespace: Some(change), ..bare };
                return vec![Assembled::Operation(Box::new(operation))];
            }
            Fact::Cgroup { .. } | Fact::CgroupEntered { .. } => Vec::new(),
        };
        sections
            .into_iter()
            .flat_map(|section: Section| {
                self.reflect(|mirror| mirror.section(&section));
                self.counts.incomplete += u64::from(!section.complete);
                self.assemble.section(section)
            })
            .collect()
    }

    /// A table that is being read changes under the reader.
    fn change_existing(&mut self, at_ns: u64, fact: &SectionFact) {
        match fact {
            SectionFact::Mount(role, mount) => self.existing.changed(at_ns, *role, mount),
            SectionFact::Bare(bare) => self.existing.changed_bare(bare),
            SectionFact::NamespaceEnd(change) => self.existing.ended(change.namespace),
            SectionFact::Copy(_) | SectionFact::Clones(_) | SectionFact::GroupEnd { .. } => {}
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
                    self.counts.operations += u64::from(happened(operation.op));
                    self.tally.count(&operation);
                    self.emitted += 1;
                    self.volumes_of(&operation, now_ns);
                    effects.extend(self.limit(|limiter| limiter.operation(&operation, now_ns)));
                    let seq = self.emitted;
                    // The limiter's operations are shown to nobody.
                    effects.extend(match self.limiter {
                        Some(_) => self.asking.pass(seq, operation, now_ns),
                        None => self.asking.show(seq, operation, now_ns),
                    });
                }
                Assembled::Nothing => {}
                Assembled::Unresolved => self.counts.unresolved += 1,
            }
        }
        effects
    }
}

#[cfg(test)]
mod tests;
