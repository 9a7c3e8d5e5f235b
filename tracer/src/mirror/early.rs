//! PURE: attributes that were told of mounts that are in no table yet. A section is put in when it has ended, and what came in it may be
//! seen, and changed, before.

use std::collections::HashMap;

use super::{Entry, SECTION_KEPT_NS};
use crate::operation::Mount;

/// Mounts that are kept at most.
const MOST: usize = 4096;

/// They, by identity, as they were told.
#[derive(Debug, Default)]
pub(super) struct Early(HashMap<u64, Entry>);

impl Early {
    /// A mount was told.
    pub(super) fn note(&mut self, mount: &Mount) {
        if self.0.len() >= MOST {
            self.0.retain(|_, entry| mount.told_ns.saturating_sub(entry.at_ns) < SECTION_KEPT_NS);
        }
        if self.0.len() < MOST {
            self.0.insert(mount.objects.mount, Entry::of(mount, mount.told_ns));
        }
    }

    /// A mount comes into a table: its attributes, if they were told later than what says so.
    pub(super) fn correct(&mut self, identity: u64, entry: &mut Entry) {
        if let Some(told) = self.0.remove(&identity) {
            entry.keep_newer_flags(&told);
        }
    }
}
