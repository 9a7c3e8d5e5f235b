//! PURE: the mirror against the kernel's own answer, at its place in the stream. Nothing is changed by it.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use super::{DETACHED, Entry, State, Table};
use crate::operation::{Mount, Namespace};

/// Differences that are kept; more are counted only.
const KEPT: usize = 100;

/// What was compared, and what differed.
#[derive(Debug, Default)]
pub struct Audit {
    /// Namespaces that are compared now, by inode number, and the mounts that the kernel told.
    on: HashMap<u32, HashSet<u64>>,
    /// Mounts whose attributes differ, and the kernel's: they are changed outside of sections, and the record of it may come after the
    /// reading.
    suspects: HashMap<(Namespace, u64), String>,
    /// What else differs, by namespace: a loss that was not heard of yet may be the reason.
    found: Vec<(Namespace, String)>,
    compared: u64,
    differing: u64,
    differences: Vec<String>,
}

impl Audit {
    /// Records that were compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }

    /// Differences found, those included of which only the number is known.
    pub fn differing(&self) -> u64 {
        self.differing + (self.found.len() + self.suspects.len()) as u64
    }

    /// The first differences that were found, in words.
    pub fn differences(&self) -> impl Iterator<Item = &str> {
        let found = self.found.iter().map(|(_, words)| words);
        self.differences.iter().chain(found).chain(self.suspects.values()).map(String::as_str)
    }

    /// Whether every table that was to be compared has been.
    pub fn is_done(&self) -> bool {
        self.on.is_empty()
    }

    /// What was not told by now differs.
    pub(super) fn settle(&mut self) {
        let found = mem::take(&mut self.found).into_iter().map(|(_, words)| words);
        for words in found.chain(mem::take(&mut self.suspects).into_values()) {
            self.differing += 1;
            if self.differences.len() < KEPT {
                self.differences.push(words);
            }
        }
    }

    pub(super) fn begin(&mut self, inum: u32) {
        self.on.entry(inum).or_default();
    }

    pub(super) fn is_on(&self, inum: u32) -> bool {
        self.on.contains_key(&inum)
    }

    /// The kernel has this mount now; `table` is ours, if it is to be relied upon.
    pub(super) fn compare(&mut self, place: Namespace, mount: &Mount, table: Option<&Table>, at_ns: u64) {
        let identity = mount.objects.mount;
        let Some(table) = table else { return };
        if let Some(told) = self.on.get_mut(&place.inum) {
            told.insert(identity);
        }
        self.compared += 1;
        let kernel = Entry::of(mount, at_ns);
        let words = match table.mounts.get(&identity) {
            None => vec!["the mirror has no such mount".to_owned()],
            Some(entry) => {
                let told = Entry { flags: kernel.flags, ..*entry };
                if let Some(word) = entry.differences(&told).first() {
                    self.suspects.insert((place, identity), describe(place, mount.id, word));
                }
                told.differences(&kernel)
            }
        };
        for word in words {
            self.differ(place, mount.id, &word);
        }
        if table.mounts.len() != mount.ns_mounts as usize {
            let words = format!("the kernel counts {} mounts, the mirror {}", mount.ns_mounts, table.mounts.len());
            self.differ(place, mount.id, &words);
        }
    }

    /// A mount's attributes were told: what differed was told late.
    pub(super) fn told(&mut self, place: Namespace, mount: &Mount) {
        self.suspects.remove(&(place, mount.objects.mount));
    }

    /// It was told that a namespace's table is not to be relied upon: what differed there was told late.
    pub(super) fn doubted(&mut self, namespace: Namespace) {
        self.suspects.retain(|(place, _), _| *place != namespace);
    }

    /// Facts of a namespace were lost: what differed there was lost.
    pub(super) fn lost(&mut self, namespace: Namespace) {
        self.doubted(namespace);
        self.found.retain(|(place, _)| *place != namespace);
    }

    /// A table was compared to its end: what was not told and is older is not there.
    pub(super) fn finish<'a>(
        &mut self,
        inum: u32,
        began_ns: u64,
        tables: impl Iterator<Item = (&'a Namespace, &'a Table)>,
    ) {
        let Some(told) = self.on.remove(&inum) else { return };
        for (namespace, table) in tables.filter(|(n, table)| **n != DETACHED && table.state == State::Exact) {
            for (identity, entry) in &table.mounts {
                if entry.at_ns < began_ns && !told.contains(identity) {
                    self.differ(*namespace, entry.id, "the kernel has no such mount");
                }
            }
        }
    }

    /// It cannot be compared.
    pub(super) fn abandon(&mut self, inum: u32) {
        self.on.remove(&inum);
    }

    fn differ(&mut self, place: Namespace, id: u32, words: &str) {
        self.found.push((place, describe(place, id, words)));
    }
}

fn describe(place: Namespace, id: u32, words: &str) -> String {
    format!("mntns {} mount {id}: {words}", place.inum)
}
