//! PURE: facts between two unlocks of the namespace semaphore become one section.
//!
//! One section is open at a time on the whole machine, and the ring keeps the order, so a fact of another number means
//! that the end of the one before was lost.

use std::mem;

use crate::{
    decode::Tag,
    operation::{Actor, Asked, Cause, Section, SectionFact},
};

/// Puts sections together.
#[derive(Debug, Default)]
pub struct Sections {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    tag: Tag,
    facts: Vec<SectionFact>,
}

impl Sections {
    /// Takes a fact; the section before it, when that one's end was lost.
    pub fn fact(&mut self, tag: Tag, fact: SectionFact) -> Option<Section> {
        let broken = self.close_unless(tag.section);
        self.open.get_or_insert_with(|| Open { tag, facts: Vec::new() }).facts.push(fact);
        broken
    }

    /// Takes the end of a section, which counted `written` and `lost` facts; it, and the one before when that one's
    /// end was lost.
    pub fn end(
        &mut self,
        tag: Tag,
        actor: Actor,
        (asked, cause): (Option<Asked>, Option<Cause>),
        written: u32,
        lost: u32,
    ) -> (Option<Section>, Section) {
        let broken = self.close_unless(tag.section);
        let facts = self.open.take().map(|open| open.facts).unwrap_or_default();
        let complete = lost == 0 && facts.len() == written as usize;
        let section = Section {
            number: tag.section,
            call: tag.call,
            actor: Some(actor),
            end_ns: tag.boot_ns,
            facts,
            complete,
            asked,
            cause,
        };
        (broken, section)
    }

    fn close_unless(&mut self, number: u64) -> Option<Section> {
        if self.open.as_ref().is_none_or(|open| open.tag.section == number) {
            return None;
        }
        mem::take(&mut self.open).map(|Open { tag, facts }| Section {
            number: tag.section,
            call: tag.call,
            actor: None,
            end_ns: tag.boot_ns,
            facts,
            complete: false,
            asked: None,
            cause: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Role, tests::mount};

    fn tag(section: u64) -> Tag {
        Tag { call: None, section, boot_ns: section * 10 }
    }

    fn fact() -> SectionFact {
        SectionFact::Mount(Role::Attach, Box::new(mount(1)))
    }

    fn actor() -> Actor {
        Actor { pid: 1, tid: 1, comm: b"sh".to_vec(), uid: 0, cgroup_id: 1, namespace: None }
    }

    #[test]
    fn facts_up_to_the_end_are_one_section() {
        let mut sections = Sections::default();
        assert_eq!(sections.fact(tag(1), fact()), None);
        assert_eq!(sections.fact(tag(1), fact()), None);
        let (broken, section) = sections.end(tag(1), actor(), (None, None), 2, 0);
        assert_eq!(broken, None);
        assert_eq!((section.number, section.facts.len(), section.complete), (1, 2, true));
    }

    #[test]
    fn a_lost_fact_makes_it_incomplete() {
        let mut sections = Sections::default();
        sections.fact(tag(1), fact());
        assert!(!sections.end(tag(1), actor(), (None, None), 2, 0).1.complete, "one of two did not come");
        sections.fact(tag(2), fact());
        assert!(!sections.end(tag(2), actor(), (None, None), 1, 1).1.complete, "the kernel lost one");
        sections.fact(tag(3), fact());
        assert!(sections.end(tag(3), actor(), (None, None), 1, 0).1.complete);
    }

    #[test]
    fn a_lost_end_is_noticed_by_the_next_section() {
        let mut sections = Sections::default();
        sections.fact(tag(1), fact());
        let broken = sections.fact(tag(2), fact()).expect("section 1 is over");
        assert_eq!((broken.number, broken.complete, broken.actor), (1, false, None));
        let (broken, section) = sections.end(tag(4), actor(), (None, None), 0, 2);
        assert_eq!(broken.map(|section| section.number), Some(2));
        assert_eq!((section.number, section.complete), (4, false));
    }
}
