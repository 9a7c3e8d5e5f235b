//! Looks up whose cgroups are, and who is in the mount namespaces that are there.

use std::path::{Path, PathBuf};

use crate::{
    host::{cgroup_handles::CgroupHandles, inhabitants},
    output::say::{chain, note},
    pods::owners::Inhabitant,
};

/// The places to look.
pub(super) struct OwnersHand {
    root: PathBuf,
    cgroups: Option<CgroupHandles>,
}

impl OwnersHand {
    /// In the hierarchy that is mounted at `root`. What cannot be looked up is said once.
    pub(super) fn new(root: &Path) -> Self {
        let cgroups = CgroupHandles::open(root);
        let cgroups = cgroups.map_err(|error| {
            note(format_args!(
                "note: pods and containers are told only where they are made from now on: {}",
                chain(&error)
            ));
        });
        Self { root: root.to_owned(), cgroups: cgroups.ok() }
    }

    /// The path of a cgroup.
    pub(super) fn path(&self, id: u64) -> Option<String> {
        self.cgroups.as_ref()?.path(id)
    }

    /// Who is in the mount namespaces that are there.
    pub(super) fn inhabitants(&self) -> Vec<Inhabitant> {
        inhabitants::find(Path::new("/proc"), &self.root).unwrap_or_else(|error| {
            note(format_args!(
                "note: whose mount namespaces are that are there already is not known: cannot read /proc: {error}"
            ));
            Vec::new()
        })
    }
}
