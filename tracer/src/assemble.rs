//! PURE: sections + system call + errno -> one Operation.
//!
//! Calls end in another order than tables change, so a call's sections wait for its end, which carries the errno. A
//! section of no call (an automount, an expiry) is an operation by itself.

use std::collections::HashMap;

use crate::operation::{Asked, CallEnd, CallId, Effect, EffectKind, MountFact, Op, Operation, Role, Section, Syscall};

/// How long a section waits for the end of its call: longer than any call that has already changed a table takes.
pub const CALL_PATIENCE_NS: u64 = 30_000_000_000;

/// Flags of mount(2) in `sys/mount.h`.
mod ms {
    pub(super) const REMOUNT: u64 = 32;
    pub(super) const BIND: u64 = 4096;
    pub(super) const MOVE: u64 = 8192;
    pub(super) const REC: u64 = 16384;
    /// `MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED`.
    pub(super) const PROPAGATION: u64 = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;
}

/// `MNT_SHRINKABLE` of `linux/mount.h`: the kernel sets it on what it mounts by itself (`finish_automount`).
const MNT_SHRINKABLE: u32 = 0x100;

/// What came of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// An operation.
    Operation(Box<Operation>),
    /// It belongs to a call that has not ended.
    Waiting,
    /// A section that changed a table in a way that this version does not know how to name.
    Unresolved,
}

/// Joins sections to calls.
#[derive(Debug, Default)]
pub struct Assemble {
    open: HashMap<CallId, Vec<Section>>,
}

impl Assemble {
    /// A section has ended. A thread is in one call at a time: what it left open before lacks its end.
    pub fn section(&mut self, section: Section) -> Vec<Assembled> {
        let Some(call) = call_of(&section) else { return vec![without_end(&[section])] };
        let mut assembled = self.missed(call);
        self.open.entry(call).or_default().push(section);
        assembled.push(Assembled::Waiting);
        assembled
    }

    /// A call has ended.
    pub fn call(&mut self, end: CallEnd) -> Vec<Assembled> {
        let mut assembled = self.missed(end.id);
        let sections = self.open.remove(&end.id).unwrap_or_default();
        let asked = Asked { syscall: end.syscall, flags: end.claimed.flags, target_id: end.target_id };
        let operation = Operation {
            actor: Some(end.actor.clone()),
            end_ns: end.end_ns,
            call: Some(end),
            ..operation(&sections, asked)
        };
        assembled.push(Assembled::Operation(Box::new(operation)));
        assembled
    }

    /// Earlier calls of this call's thread, whose ends were missed.
    fn missed(&mut self, call: CallId) -> Vec<Assembled> {
        let earlier = |id: &CallId, _: &mut Vec<Section>| id.thread == call.thread && *id != call;
        self.open.extract_if(earlier).map(|(_, sections)| without_end(&sections)).collect()
    }

    /// Gives up on calls whose sections ended more than [`CALL_PATIENCE_NS`] ago: their end was missed.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Assembled> {
        let late = |sections: &Vec<Section>| sections.last().is_none_or(|last| last.end_ns + CALL_PATIENCE_NS < now_ns);
        self.open.extract_if(|_, sections| late(sections)).map(|(_, sections)| without_end(&sections)).collect()
    }

    /// When [`Self::expire`] has something to give up next, `CLOCK_BOOTTIME` in nanoseconds.
    pub fn next_expiry_ns(&self) -> Option<u64> {
        self.open.values().filter_map(|sections| sections.last()).map(|last| last.end_ns + CALL_PATIENCE_NS + 1).min()
    }
}

/// The call that a section waits for. Without one, an attach that the kernel did not make by itself belongs to a
/// mount(2) whose beginning was missed: it is named by its thread alone, as that call's end is.
fn call_of(section: &Section) -> Option<CallId> {
    let unseen = || {
        let actor = section.actor.as_ref()?;
        let thread = u64::from(actor.pid) << 32 | u64::from(actor.tid);
        section.facts.iter().any(|fact| attaches(fact) && !is_automount(fact)).then_some(CallId { thread, start_ns: 0 })
    };
    section.call.or_else(unseen)
}

/// mount(2) does the first that applies: `path_mount` of `fs/namespace.c`.
fn op_of(asked: Asked) -> Op {
    let has = |flag| asked.flags & flag != 0;
    match asked.syscall {
        Syscall::Umount => Op::Umount,
        Syscall::Mount if has(ms::REMOUNT) => Op::Remount,
        Syscall::Mount if has(ms::BIND) => Op::Bind,
        Syscall::Mount if has(ms::PROPAGATION) => Op::Propagation,
        Syscall::Mount if has(ms::MOVE) => Op::Move,
        Syscall::Mount => Op::Mount,
        Syscall::MoveMount => Op::Move,
        Syscall::Fsmount => Op::Fsmount,
        Syscall::OpenTree => Op::DetachedCopy,
        Syscall::MountSetattr => Op::Setattr,
    }
}

fn attaches(fact: &MountFact) -> bool {
    matches!(fact.role, Role::Attach(_))
}

fn is_automount(fact: &MountFact) -> bool {
    attaches(fact) && fact.mount.flags & MNT_SHRINKABLE != 0
}

/// The operation that a call was asked for, with what its sections show and without its end.
fn operation(sections: &[Section], asked: Asked) -> Operation {
    let op = op_of(asked);
    // The mounts below the one that a recursive bind names are not traced yet.
    let whole = op != Op::Bind || asked.flags & ms::REC == 0;
    let traced = matches!(op, Op::Mount | Op::Bind | Op::Umount);
    let shown = shown(sections, op, (op == Op::Umount).then_some(asked.target_id));
    Operation { complete: whole && shown.complete, effects: shown.effects.filter(|_| traced), ..shown }
}

/// What sections show by themselves. `unmounted` is the mount that an unmount was asked for.
fn shown(sections: &[Section], op: Op, unmounted: Option<u32>) -> Operation {
    Operation {
        actor: sections.iter().find_map(|section| section.actor.clone()),
        effects: Some(effects(sections, unmounted)),
        complete: sections.iter().all(|section| section.complete),
        ..Operation::bare(op, sections.last().map_or(0, |last| last.end_ns))
    }
}

/// Sections whose call's end was missed, or that have no call. Of the functions that attach, only an automount does so
/// by itself; a copy alone may come from several calls that are not traced yet.
fn without_end(sections: &[Section]) -> Assembled {
    if let Some(asked) = sections.iter().find_map(|section| section.asked) {
        return Assembled::Operation(Box::new(operation(sections, asked)));
    }
    let facts = || sections.iter().flat_map(|section| &section.facts);
    let op = if facts().any(is_automount) {
        Op::Automount
    } else if facts().any(|fact| fact.role == Role::Detach) {
        Op::Umount
    } else {
        return Assembled::Unresolved;
    };
    Assembled::Operation(Box::new(shown(sections, op, None)))
}

/// The effects of sections: direct ones first, and of these the mount that was asked for.
fn effects(sections: &[Section], unmounted: Option<u32>) -> Vec<Effect> {
    let mut effects: Vec<Effect> = sections.iter().flat_map(section_effects).collect();
    if let Some(root) = unmounted {
        mark_propagated(&mut effects, root);
    }
    // An unmount's list begins with the leaves on some kernels and with the root on others.
    effects.sort_by_key(|effect| (effect.propagated == Some(true), unmounted != Some(effect.mount.id)));
    effects
}

/// A rolled-back copy never had a namespace: when the attach of its section failed, none of its copies is there.
fn section_effects(section: &Section) -> impl Iterator<Item = Effect> {
    let failed = section.facts.iter().any(|fact| matches!(fact.role, Role::Attach(Err(_))));
    section.facts.iter().filter_map(move |MountFact { role, mount }| {
        let (kind, propagated) = match role {
            Role::Attach(Ok(())) => (EffectKind::Attach, Some(false)),
            Role::Copy if !failed => (EffectKind::Attach, Some(true)),
            Role::Detach => (EffectKind::Detach, None),
            Role::Attach(Err(_)) | Role::Copy => return None,
        };
        Some(Effect { kind, propagated, section: Some(section.number), mount: mount.clone() })
    })
}

/// Of the mounts that an unmount took along, those of the tree that was asked for are direct, the others propagated.
fn mark_propagated(effects: &mut [Effect], root: u32) {
    let parents: HashMap<u32, u32> = effects.iter().map(|effect| (effect.mount.id, effect.mount.parent_id)).collect();
    for effect in effects.iter_mut().filter(|effect| effect.kind == EffectKind::Detach) {
        let mut id = effect.mount.id;
        // No tree is deeper than the number of its mounts.
        let direct = (0..=parents.len()).any(|_| {
            let found = id == root;
            id = parents.get(&id).copied().unwrap_or(id);
            found
        });
        effect.propagated = Some(!direct);
    }
}

#[cfg(test)]
mod tests;
