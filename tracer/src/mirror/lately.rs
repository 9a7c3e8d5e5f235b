//! PURE: the last sections, in the order in which they were put in: how a table became what it is, for who has to find out.

use std::collections::VecDeque;

use crate::operation::{BareMounts, Namespace, Role, Section, SectionFact, Syscall};

/// Sections that are kept. Thirty-two processes that change tables without a pause make as many in some seconds.
const MOST: usize = 4096;
/// Changes that are kept of one.
const MOST_CHANGES: usize = 8;

/// The last ones, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Lately(VecDeque<Seen>);

/// A section that was put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub number: u64,
    /// When it ended, `CLOCK_BOOTTIME` in nanoseconds.
    pub end_ns: u64,
    /// Which process it was; `None` when its end was lost.
    pub pid: Option<u32>,
    /// In which call.
    pub syscall: Option<Syscall>,
    /// Whether nothing of it was lost.
    pub complete: bool,
    /// What happened in it, in order: the first ones.
    pub changes: Vec<Change>,
    /// How many there were behind these.
    pub more: usize,
}

/// What became of one mount, or of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub what: What,
    /// Where; `None` in a detached tree.
    pub namespace: Option<Namespace>,
    /// `mnt_id`, or the peer group for [`What::GroupEnd`].
    pub id: Option<u32>,
}

/// The kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// As a probe saw it; `None` for a mount that nobody changed itself.
    Told(Option<Role>),
    /// It was made as a clone.
    Clone,
    /// The last mount left a peer group.
    GroupEnd,
    /// The namespace ended.
    NamespaceEnd,
}

impl What {
    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Told(None) => "stands",
            Self::Told(Some(Role::Attach)) => "attach",
            Self::Told(Some(Role::Move)) => "move",
            Self::Told(Some(Role::Change)) => "change",
            Self::Told(Some(Role::Detach)) => "detach",
            Self::Clone => "clone",
            Self::GroupEnd => "group_end",
            Self::NamespaceEnd => "namespace_end",
        }
    }
}

impl Lately {
    /// One more.
    pub(super) fn note(&mut self, section: &Section) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        let mut changes = section.facts.iter().flat_map(changes);
        self.0.push_back(Seen {
            number: section.number,
            end_ns: section.end_ns,
            pid: section.actor.as_ref().map(|actor| actor.pid),
            syscall: section.asked.map(|asked| asked.syscall),
            complete: section.complete,
            changes: changes.by_ref().take(MOST_CHANGES).collect(),
            more: changes.count(),
        });
    }

    /// They, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Seen> {
        self.0.iter()
    }
}

fn changes(fact: &SectionFact) -> Box<dyn Iterator<Item = Change> + '_> {
    let one = |what, namespace, id| Box::new([Change { what, namespace, id }].into_iter());
    match fact {
        SectionFact::Mount(role, mount) => one(What::Told(Some(*role)), mount.namespace, Some(mount.id)),
        SectionFact::GroupEnd { group, .. } => one(What::GroupEnd, None, Some(*group)),
        SectionFact::NamespaceEnd(change) => one(What::NamespaceEnd, Some(change.namespace), None),
        SectionFact::Copy(_) => Box::new([].into_iter()),
        SectionFact::Clones(batch) => {
            let clone = |id| Change { what: What::Clone, namespace: batch.namespace, id: Some(id) };
            Box::new(batch.clones.iter().map(move |one| clone(one.id)))
        }
        SectionFact::Bare(bare) => {
            let told = |id| Change { what: What::Told(bare.mounts.role()), namespace: bare.namespace, id: Some(id) };
            match &bare.mounts {
                BareMounts::There(_, mounts) => Box::new(mounts.iter().map(move |mount| told(mount.key.id))),
                BareMounts::Gone(mounts) => Box::new(mounts.iter().map(move |mount| told(mount.key.id))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::tests::{bare, mount};

    fn section(number: u64, facts: Vec<SectionFact>) -> Section {
        Section { number, call: None, actor: None, end_ns: 7, facts, complete: true, asked: None, cause: None }
    }

    #[test]
    fn what_happened_is_told_in_order_and_what_is_too_much_is_counted() {
        let mounts: Vec<_> = (2..20).map(mount).collect();
        let facts = vec![
            SectionFact::Mount(Role::Attach, Box::new(mount(1))),
            SectionFact::GroupEnd { group: 5, heir: None },
            bare(Some(Role::Detach), &mounts),
        ];
        let mut lately = Lately::default();
        lately.note(&section(3, facts));
        let seen: Vec<&Seen> = lately.all().collect();
        assert_eq!((seen.len(), seen[0].number, seen[0].more), (1, 3, 20 - MOST_CHANGES));
        let told: Vec<(&str, Option<u32>)> =
            seen[0].changes.iter().map(|change| (change.what.name(), change.id)).take(3).collect();
        assert_eq!(told, [("attach", Some(1)), ("group_end", Some(5)), ("detach", Some(2))]);
    }

    #[test]
    fn the_oldest_goes() {
        let mut lately = Lately::default();
        for number in 0..=MOST as u64 {
            lately.note(&section(number, Vec::new()));
        }
        assert_eq!((lately.all().count(), lately.all().next().map(|seen| seen.number)), (MOST, Some(1)));
    }
}
