//! PURE: which operations the user wants to see.
//!
//! Each key holds a list: the items of a list are alternatives, an item that excludes takes away from them, and all
//! keys must agree. Patterns are compared with texts as the outputs print them: escaped, and sources without their
//! secrets.

use super::escape::{escape, escape_source};
use crate::{
    glob::Glob,
    operation::{Actor, Claimed, Mount, Namespace, Op, Operation},
    pods::{cgroup_path::Owner, named::Named},
};

/// What one key asks for.
#[derive(Clone, Debug)]
pub struct List<T> {
    /// One of these; anything when there are none.
    pub include: Vec<T>,
    /// None of these.
    pub exclude: Vec<T>,
}

/// All keys.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Process ids of the actor.
    pub pid: List<u32>,
    /// The actor's name.
    pub comm: List<Glob>,
    /// Inode numbers of mount namespaces.
    pub mntns: List<u32>,
    /// File systems.
    pub fstype: List<Glob>,
    /// What is mounted.
    pub source: List<Glob>,
    /// Where.
    pub target: List<Glob>,
    /// The namespaces of pods.
    pub namespace: List<Glob>,
    /// Pods, by their names or uids.
    pub pod: List<Glob>,
    /// Containers, by their names, their ids, or by as much of one as is shown.
    pub container: List<Glob>,
    /// Labels of pods.
    pub label: List<Label>,
    /// Kinds of operation.
    pub event: List<Op>,
    /// Only calls that ended with an errno.
    pub failed: bool,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what the user asked for.
    Wanted,
    /// A loss: what the user asked for may have been among it.
    Loss,
    /// It is not shown.
    Hidden,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { include: Vec::new(), exclude: Vec::new() }
    }
}

impl<T> List<T> {
    fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether one of an operation's values is wanted. An operation without any is wanted by a list that names none.
    ///
    /// `hints` are values that say less. They help to find an operation, but what they say is no reason to show one
    /// whose own values are all excluded.
    fn wants<V>(&self, own: Vec<V>, hints: Vec<V>, covers: impl Fn(&T, &V) -> bool) -> bool {
        let among = |items: &[T], value: &V| items.iter().any(|item| covers(item, value));
        let hints = if own.is_empty() || !self.include.is_empty() { hints } else { Vec::new() };
        let mut values = own.into_iter().chain(hints).peekable();
        if values.peek().is_none() {
            return self.include.is_empty();
        }
        values.any(|value| (self.include.is_empty() || among(&self.include, &value)) && !among(&self.exclude, &value))
    }
}

impl Filter {
    /// What becomes of it.
    pub fn verdict(&self, operation: &Operation) -> Verdict {
        if matches!(operation.op, Op::Gap | Op::Throttled) {
            return self.of_loss(operation.op);
        }
        let wanted = self.event.wants(vec![operation.op], vec![], Op::eq)
            && (!self.failed || operation.failed())
            && self.wants_actor(operation.actor.as_ref())
            && self.wants_namespaces(operation)
            && self.wants_owners(&owners(operation))
            && self.wants_mounts(operation);
        if wanted { Verdict::Wanted } else { Verdict::Hidden }
    }

    /// Whether a mount is wanted, by what a mount alone tells.
    pub fn wants(&self, mount: &Mount) -> bool {
        let source = || mount.source.as_deref().map(escape_source).into_iter().collect();
        let path = || mount.path.as_deref().ok().map(escape).into_iter().collect();
        wants_texts(&self.fstype, || vec![escape(&mount.fstype)], Vec::new)
            && wants_texts(&self.source, source, Vec::new)
            && wants_texts(&self.target, path, Vec::new)
    }

    /// Whether every mount is wanted.
    pub fn wants_all_mounts(&self) -> bool {
        self.wants_everybody() && self.fstype.is_empty() && self.source.is_empty() && self.target.is_empty()
    }

    /// Whether it matters to nobody whose something is.
    pub fn wants_everybody(&self) -> bool {
        self.namespace.is_empty() && self.pod.is_empty() && self.container.is_empty() && self.label.is_empty()
    }

    /// Whether what is one of theirs is wanted.
    pub fn wants_owners(&self, owners: &[(&Owner, Option<&Named>)]) -> bool {
        if self.wants_everybody() {
            return true;
        }
        let named = || owners.iter().filter_map(|(_, named)| *named);
        let pods = owners.iter().filter_map(|(owner, named)| Some((owner.pod.as_ref()?, *named))).collect();
        let containers = owners.iter().filter_map(|(owner, named)| Some((owner.container.as_ref()?, *named))).collect();
        let is = |glob: &Glob, name: &str| glob.matches(&escape(name.as_bytes()));
        self.namespace.wants(named().collect(), vec![], |glob, named| is(glob, &named.namespace))
            && self.pod.wants(pods, vec![], |glob, (pod, named)| {
                glob.matches(pod.uid.as_str()) || named.is_some_and(|named| is(glob, &named.pod))
            })
            && self.container.wants(containers, vec![], |glob, (container, named)| {
                let name = named.and_then(|named| named.container.as_deref());
                let id = &container.id;
                glob.matches(id.as_str()) || glob.matches(id.short()) || name.is_some_and(|name| is(glob, name))
            })
            && self.label.wants(named().collect(), vec![], |label, named| label.is_of(named))
    }

    /// What was lost, or only counted, may concern anybody, so only `event` can hide it.
    fn of_loss(&self, op: Op) -> Verdict {
        let List { include, exclude } = &self.event;
        match (include.contains(&op), exclude.contains(&op)) {
            (true, false) => Verdict::Wanted,
            (false, false) if include.is_empty() => Verdict::Loss,
            _ => Verdict::Hidden,
        }
    }

    fn wants_actor(&self, actor: Option<&Actor>) -> bool {
        let comm = || actor.map(|actor| escape(&actor.comm)).into_iter().collect();
        self.pid.wants(actor.map(|actor| actor.pid).into_iter().collect(), vec![], u32::eq)
            && wants_texts(&self.comm, comm, Vec::new)
    }

    /// The namespaces that it touches; where it was called, where it touches none.
    fn wants_namespaces(&self, operation: &Operation) -> bool {
        let mounts = operation.mounts().chain(operation.target()).filter_map(|mount| mount.namespace);
        let inums = |all: &mut dyn Iterator<Item = Namespace>| all.map(|namespace| namespace.inum).collect();
        let own = inums(&mut mounts.chain(operation.namespace.map(|change| change.namespace)));
        let called = inums(&mut operation.actor.iter().filter_map(|actor| actor.namespace));
        self.mntns.wants(own, called, u32::eq)
    }

    fn wants_mounts(&self, operation: &Operation) -> bool {
        let mounts = || operation.mounts().chain(operation.subject());
        let superblock = operation.superblock().map(|superblock| &superblock.fstype);
        let places = || operation.mounts().chain(operation.target());
        let claims = |text: fn(&Claimed) -> Option<String>| operation.claimed().and_then(text).into_iter().collect();
        let source = |mount: &Mount| mount.source.as_deref().map(escape_source);
        wants_texts(
            &self.fstype,
            || mounts().map(|mount| &mount.fstype).chain(superblock).map(|fstype| escape(fstype)).collect(),
            || claims(|claimed| claimed.fstype.as_deref().map(escape)),
        ) && wants_texts(
            &self.source,
            || mounts().filter_map(source).collect(),
            || claims(|claimed| claimed.source.as_deref().map(escape_source)),
        ) && wants_texts(
            &self.target,
            || places().filter_map(|mount| mount.path.as_deref().ok()).map(escape).collect(),
            || claims(|claimed| claimed.target.as_deref().map(escape)),
        )
    }
}

/// A label of a pod.
#[derive(Clone, Debug)]
pub struct Label {
    /// Its key.
    pub key: String,
    /// Its value; any where only the key was asked for.
    pub value: Option<Glob>,
}

impl Label {
    fn is_of(&self, named: &Named) -> bool {
        let value = named.labels.get(&self.key);
        value.is_some_and(|value| self.value.as_ref().is_none_or(|glob| glob.matches(&escape(value.as_bytes()))))
    }
}

/// Who has the namespaces that it touches, and who acts.
fn owners(operation: &Operation) -> Vec<(&Owner, Option<&Named>)> {
    operation.owners().map(|owner| (owner, operation.whose.named(owner))).collect()
}

/// An operation may have thousands of texts; they are only made for a list that asks.
fn wants_texts(list: &List<Glob>, own: impl Fn() -> Vec<String>, hints: impl Fn() -> Vec<String>) -> bool {
    list.is_empty() || list.wants(own(), hints(), |glob, text| glob.matches(text))
}

#[cfg(test)]
mod tests;
