//! PURE: sections + system call + errno -> one Operation.
//!
//! Calls end in another order than tables change, so a call's sections wait for its end, which carries the errno. A
//! section of no call (an automount, an expiry) is an operation by itself.

mod effects;

use std::collections::HashMap;

use tracer_common::fact::MAKES_NAMESPACE;

use crate::operation::{
    Asked, CallEnd, CallId, Cause, Claimed, Effect, EffectKind, Found, Mount, MountKey, NamespaceChange, Op, Operation,
    Role, Section, SectionFact, Syscall,
};

/// How long a section waits for the end of its call: longer than any call that has already changed a table takes.
pub const CALL_PATIENCE_NS: u64 = 30_000_000_000;
/// Detached mounts whose making is remembered. Who makes more at once than this without attaching them has the later ones
/// called `mount`.
const MAX_DETACHED: usize = 4096;

/// Calls of which it is remembered until their end what was said of them: far more than threads mount at once. The end of some may
/// have been lost, so that beyond this all are forgotten.
const MAX_SAID: usize = 4096;

/// Flags of mount(2) in `sys/mount.h`.
mod ms {
    pub(super) const REMOUNT: u64 = 32;
    pub(super) const BIND: u64 = 4096;
    pub(super) const MOVE: u64 = 8192;
    /// `MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED`.
    pub(super) const PROPAGATION: u64 = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;
}

/// `MOVE_MOUNT_SET_GROUP` of `uapi/linux/mount.h`: nothing moves, a peer group is joined.
const MOVE_MOUNT_SET_GROUP: u64 = 0x100;

/// `OPEN_TREE_CLONE` of `uapi/linux/mount.h`.
const OPEN_TREE_CLONE: u64 = 1;

/// `MNT_SHRINKABLE` of `linux/mount.h`: the kernel sets it on what it mounts by itself (`finish_automount`).
const MNT_SHRINKABLE: u32 = 0x100;

/// What came of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// An operation.
    Operation(Box<Operation>),
    /// It belongs to a call that has not ended, or changed nothing.
    Nothing,
    /// A section that changed a table in a way that this version does not know how to name.
    Unresolved,
}

/// Joins sections to calls.
#[derive(Debug, Default)]
pub struct Assemble {
    /// The sections of open calls, by thread: a thread is in one call at a time.
    open: HashMap<u64, (CallId, Vec<Section>)>,
    /// What was said of open calls, by thread.
    said: HashMap<u64, (CallId, Said)>,
    /// How detached mounts came to be, until they enter a namespace.
    detached: HashMap<MountKey, Op>,
}

/// What was said of a call before its end, and not by a section.
#[derive(Debug, Default)]
struct Said {
    /// The mounts that it is about.
    targets: Vec<Mount>,
    /// The namespace that it made.
    made: Option<NamespaceChange>,
}

impl Assemble {
    /// A section has ended. A thread is in one call at a time: what it left open before lacks its end.
    pub fn section(&mut self, section: Section) -> Vec<Assembled> {
        let Some(call) = call_of(&section) else { return vec![self.without_end(&[section])] };
        let mut assembled = self.missed(call);
        self.open.entry(call.thread).or_insert_with(|| (call, Vec::new())).1.push(section);
        assembled.push(Assembled::Nothing);
        assembled
    }

    /// A mount that a call is about was found.
    pub fn target(&mut self, call: CallId, mount: Mount) {
        self.said_of(call).targets.push(mount);
    }

    /// A call made a namespace.
    pub fn made(&mut self, call: CallId, change: NamespaceChange) {
        self.said_of(call).made = Some(change);
    }

    fn said_of(&mut self, call: CallId) -> &mut Said {
        if self.said.len() >= MAX_SAID {
            self.said.clear();
        }
        let known = self.said.entry(call.thread).or_insert_with(|| (call, Said::default()));
        if known.0 != call {
            *known = (call, Said::default());
        }
        &mut known.1
    }

    /// A call has ended.
    pub fn call(&mut self, end: CallEnd) -> Vec<Assembled> {
        let mut assembled = self.missed(end.id);
        let sections = self.open.remove(&end.id.thread).map(|(_, sections)| sections).unwrap_or_default();
        let said = self.said.remove(&end.id.thread).filter(|(call, _)| *call == end.id);
        let Said { targets, made } = said.map(|(_, said)| said).unwrap_or_default();
        let asked = Asked { syscall: end.syscall, flags: end.claimed.flags, target_id: end.target_id };
        let mut operation = self.operation(&sections, asked, &end.claimed);
        if end.errno == 0 {
            self.succeeded(&mut operation, &targets);
        }
        operation.complete &= match end.found {
            Found::None | Found::Gone => true,
            Found::Some => !targets.is_empty(),
            Found::Lost => false,
        };
        // One whose end was lost may have changed anything.
        operation.complete &= sections.len() >= end.sections as usize;
        operation.namespace = made;
        operation.actor = Some(end.actor.clone());
        operation.end_ns = end.end_ns;
        // Where sections say what changed, what the kernel found before says nothing more.
        let changed = facts(&sections).any(|fact| matches!(fact, SectionFact::Mount(..)));
        let target = targets.into_iter().next().filter(|_| !changed);
        operation.call = Some(CallEnd { target, ..end });
        assembled.push(Assembled::Operation(Box::new(operation)));
        assembled
    }

    /// What a call did to the mounts that it is about, where no section says it.
    fn succeeded(&mut self, operation: &mut Operation, targets: &[Mount]) {
        let Some(first) = targets.first() else { return };
        let changed = |mount: &Mount| Effect {
            kind: EffectKind::Change,
            propagated: Some(false),
            section: None,
            mount: mount.clone(),
        };
        match operation.op {
            Op::Remount | Op::Setattr if operation.effects.is_none() => {
                operation.effects = Some(targets.iter().map(changed).collect());
            }
            Op::Fsmount => self.made_detached(first, Op::Mount),
            Op::DetachedCopy => self.made_detached(first, Op::Bind),
            _ => {}
        }
    }

    fn made_detached(&mut self, mount: &Mount, becomes: Op) {
        if self.detached.len() < MAX_DETACHED || self.detached.contains_key(&mount.key()) {
            self.detached.insert(mount.key(), becomes);
        } else {
            self.detached.clear();
        }
    }

    /// An earlier call of this call's thread, whose end was missed.
    fn missed(&mut self, call: CallId) -> Vec<Assembled> {
        match self.open.remove(&call.thread) {
            Some((earlier, sections)) if earlier != call => vec![self.without_end(&sections)],
            Some(same) => {
                self.open.insert(call.thread, same);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Nothing more will come: what is open has no end.
    pub fn end(&mut self) -> Vec<Assembled> {
        let open: Vec<_> = self.open.drain().collect();
        open.into_iter().map(|(_, (_, sections))| self.without_end(&sections)).collect()
    }

    /// Gives up on calls whose sections ended more than [`CALL_PATIENCE_NS`] before the time up to which all was read: their
    /// end was missed.
    pub fn expire(&mut self, until_ns: u64) -> Vec<Assembled> {
        let late =
            |sections: &Vec<Section>| sections.last().is_none_or(|last| last.end_ns + CALL_PATIENCE_NS < until_ns);
        let expired: Vec<_> = self.open.extract_if(|_, (_, sections)| late(sections)).collect();
        self.said.retain(|_, (call, _)| call.start_ns + CALL_PATIENCE_NS >= until_ns);
        expired.into_iter().map(|(_, (_, sections))| self.without_end(&sections)).collect()
    }

    /// When [`Self::expire`] has something to give up next, `CLOCK_BOOTTIME` in nanoseconds.
    pub fn next_expiry_ns(&self) -> Option<u64> {
        let last = self.open.values().filter_map(|(_, sections)| sections.last());
        last.map(|last| last.end_ns + CALL_PATIENCE_NS + 1).min()
    }

    /// Sections whose call's end was missed, or that have no call.
    fn without_end(&mut self, sections: &[Section]) -> Assembled {
        if let Some(asked) = sections.iter().find_map(|section| section.asked) {
            return Assembled::Operation(Box::new(self.operation(sections, asked, &Claimed::default())));
        }
        let ended = facts(sections).find_map(|fact| match fact {
            SectionFact::NamespaceEnd(change) => Some(*change),
            _ => None,
        });
        if let Some(change) = ended {
            let operation = Operation {
                namespace: Some(change),
                effects: None,
                unlisted: 0,
                ..shown(sections, Op::NamespaceDestroyed, None)
            };
            return Assembled::Operation(Box::new(operation));
        }
        self.forget_detached(sections);
        let op = if facts(sections).any(is_automount) {
            Op::Automount
        } else if sections.iter().any(|section| section.cause == Some(Cause::Expiry)) {
            Op::Expired
        } else if has(sections, Role::Detach) {
            Op::Umount
        } else if has(sections, Role::Move) {
            Op::Move
        } else if has(sections, Role::Change) {
            Op::Propagation
        } else if has(sections, Role::Attach) {
            return Assembled::Unresolved;
        } else {
            return Assembled::Nothing;
        };
        Assembled::Operation(Box::new(shown(sections, op, None)))
    }

    /// What was never attached and is gone will not be attached.
    fn forget_detached(&mut self, sections: &[Section]) {
        for fact in facts(sections) {
            if let SectionFact::Mount(Role::Detach, mount) = fact {
                self.detached.remove(&mount.key());
            }
        }
    }

    /// The operation that a call was asked for, with what its sections show and without its end.
    fn operation(&mut self, sections: &[Section], asked: Asked, claimed: &Claimed) -> Operation {
        let op = self.op_of(sections, asked, claimed);
        let shown = shown(sections, op, (op == Op::Umount).then_some(asked.target_id));
        // The effects of the first two are their targets, where the kernel says these; where propagation changes too, the
        // sections say them.
        let traced = match op {
            Op::Remount | Op::Setattr => has(sections, Role::Change),
            Op::NamespaceCreated => false,
            _ => true,
        };
        let unlisted = if traced { shown.unlisted } else { 0 };
        Operation { effects: shown.effects.filter(|_| traced), unlisted, cause: Some(Cause::Syscall), ..shown }
    }

    /// mount(2) does the first that applies: `path_mount` of `fs/namespace.c`.
    fn op_of(&mut self, sections: &[Section], asked: Asked, claimed: &Claimed) -> Op {
        let has = |flag| asked.flags & flag != 0;
        match asked.syscall {
            Syscall::Umount => Op::Umount,
            Syscall::Mount if has(ms::REMOUNT) => Op::Remount,
            Syscall::Mount if has(ms::BIND) => Op::Bind,
            Syscall::Mount if has(ms::PROPAGATION) => Op::Propagation,
            Syscall::Mount if has(ms::MOVE) => Op::Move,
            Syscall::Mount => Op::Mount,
            Syscall::MoveMount if has(MOVE_MOUNT_SET_GROUP) => Op::SetGroup,
            Syscall::MoveMount => self.attached(sections).unwrap_or(Op::Move),
            Syscall::Clone | Syscall::Clone3 | Syscall::Unshare => Op::NamespaceCreated,
            Syscall::Fsmount | Syscall::OpenTree | Syscall::OpenTreeAttr if has(MAKES_NAMESPACE) => {
                Op::NamespaceCreated
            }
            Syscall::Fsmount => Op::Fsmount,
            Syscall::OpenTreeAttr if !has(OPEN_TREE_CLONE) => Op::Setattr,
            Syscall::OpenTree | Syscall::OpenTreeAttr => Op::DetachedCopy,
            Syscall::PivotRoot => Op::PivotRoot,
            Syscall::Fsconfig => Op::Reconfigure,
            Syscall::MountSetattr if claimed.propagation != 0 && claimed.attributes | claimed.cleared == 0 => {
                Op::Propagation
            }
            Syscall::MountSetattr => Op::Setattr,
        }
    }

    /// What attaching a detached mount is: the mounting of a new one or the binding of a clone. One whose making nobody
    /// saw is called the former. What it is put beneath moves along with it.
    fn attached(&mut self, sections: &[Section]) -> Option<Op> {
        let entered: Vec<MountKey> = facts(sections)
            .filter_map(|fact| match fact {
                SectionFact::Mount(Role::Attach, mount) => Some(mount.key()),
                _ => None,
            })
            .collect();
        let becomes: Vec<Op> = entered.iter().filter_map(|key| self.detached.remove(key)).collect();
        let unseen = (!entered.is_empty() && !has(sections, Role::Move)).then_some(Op::Mount);
        becomes.first().copied().or(unseen)
    }
}

/// The call that a section waits for. Without one, an attach that the kernel did not make by itself belongs to a
/// mount(2) whose beginning was missed: it is named by its thread alone, as that call's end is.
fn call_of(section: &Section) -> Option<CallId> {
    let unseen = || {
        let actor = section.actor.as_ref()?;
        let thread = u64::from(actor.pid) << 32 | u64::from(actor.tid);
        let attaches = |fact: &SectionFact| matches!(fact, SectionFact::Mount(Role::Attach, _)) && !is_automount(fact);
        let moves = section.facts.iter().any(|fact| matches!(fact, SectionFact::Mount(Role::Move, _)));
        (!moves && section.facts.iter().any(attaches)).then_some(CallId { thread, start_ns: 0 })
    };
    section.call.or_else(unseen)
}

fn facts(sections: &[Section]) -> impl Iterator<Item = &SectionFact> {
    sections.iter().flat_map(|section| &section.facts)
}

fn has(sections: &[Section], wanted: Role) -> bool {
    facts(sections).any(|fact| match fact {
        SectionFact::Mount(role, _) => *role == wanted,
        SectionFact::Bare(bare) => bare.mounts.role() == Some(wanted),
        _ => false,
    })
}

fn is_automount(fact: &SectionFact) -> bool {
    matches!(fact, SectionFact::Mount(Role::Attach, mount) if mount.flags & MNT_SHRINKABLE != 0)
}

/// What sections show by themselves. `unmounted` is the mount that an unmount was asked for.
fn shown(sections: &[Section], op: Op, unmounted: Option<u32>) -> Operation {
    // The thread of the kernel that looks for what nobody uses does it for nobody.
    let actor = if op == Op::Expired { None } else { sections.iter().find_map(|section| section.actor.clone()) };
    Operation {
        actor,
        cause: sections.iter().find_map(|section| section.cause),
        effects: Some(effects::of(sections, unmounted)),
        unlisted: effects::unlisted(sections),
        complete: sections.iter().all(|section| section.complete),
        ..Operation::bare(op, sections.last().map_or(0, |last| last.end_ns))
    }
}

#[cfg(test)]
mod tests;
