//! Which guests the test run boots: pairs of a kernel and a kind of attachment, and which trials run there.

use crate::guest::kernels::NEWEST;

/// How the probes are attached in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Attach {
    /// Trampolines at entry and exit.
    Fentry,
    /// Kprobes and kretprobes.
    Kprobe,
}

impl Attach {
    /// The word of `mount-tracer --attach`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

/// What depends on how the probes are attached: each operation, each failure, and the links themselves; and what depends on
/// the kernel alone, mount tables.
const SHORT: &str = "links,check,operations,moves,trees,detached,changes,namespaces,failures,missing,callers32,propagation,\
     gone,groups,pivots,superblocks,list,existing";

/// One guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) kernel: String,
    pub(super) attach: Attach,
    /// The subjects to run, all if none are named.
    pub(super) subjects: Option<&'static str>,
    /// Whether the run fails when something fails here.
    pub(super) gates: bool,
}

impl Guest {
    fn all(kernel: &str, attach: Attach) -> Self {
        // A kernel of last week may break what no change of ours did.
        Self { kernel: kernel.to_owned(), attach, subjects: None, gates: kernel != NEWEST }
    }

    /// What the step is called.
    pub(super) fn name(&self) -> String {
        let part = if self.subjects.is_some() { ", operations only" } else { "" };
        let gate = if self.gates { "" } else { " (does not gate)" };
        format!("guest tests on {}, {}{part}{gate}", self.kernel, self.attach.name())
    }

    /// The command in the guest.
    pub(super) fn command(&self) -> Vec<String> {
        let subjects = self.subjects.map(|subjects| format!("GUEST_TRIALS={subjects}"));
        let attach = format!("GUEST_ATTACH={}", self.attach.name());
        let words = ["env".to_owned(), attach].into_iter().chain(subjects);
        words.chain(["guest-tests", "--test-threads=1"].map(String::from)).collect()
    }
}

/// What runs when nothing was asked for: all trials on one kernel, and on each kernel and kind those that depend on it.
pub(super) fn default() -> Vec<Guest> {
    let is_whole = |guest: &Guest| guest.kernel == "6.18" && guest.attach == Attach::Fentry;
    let (whole, others): (Vec<Guest>, Vec<Guest>) = full().into_iter().partition(is_whole);
    let short = others.into_iter().map(|guest| Guest { subjects: Some(SHORT), ..guest });
    whole.into_iter().chain(short).collect()
}

/// What `--full` runs.
pub(super) fn full() -> Vec<Guest> {
    let traced = ["5.10", "6.1", "6.12", "6.18", NEWEST].map(|kernel| Guest::all(kernel, Attach::Fentry));
    let probed = ["5.10", "6.18"].map(|kernel| Guest::all(kernel, Attach::Kprobe));
    traced.into_iter().chain(probed).collect()
}

/// All trials on each of these kernels, with each of these kinds.
pub(super) fn chosen(kernels: &[String], kinds: &[Attach]) -> Vec<Guest> {
    kernels.iter().flat_map(|kernel| kinds.iter().map(|attach| Guest::all(kernel, *attach))).collect()
}

/// The kernels that a run cannot do without, each once, in order.
pub(super) fn kernels(guests: &[Guest]) -> Vec<String> {
    let mut kernels: Vec<String> = Vec::new();
    for guest in guests.iter().filter(|guest| guest.gates) {
        if !kernels.contains(&guest.kernel) {
            kernels.push(guest.kernel.clone());
        }
    }
    kernels
}

/// The kernels that the demo runs on: where trials run with trampolines.
pub(super) fn demos(guests: &[Guest]) -> Vec<String> {
    let of_demo = |guest: &&Guest| guest.attach == Attach::Fentry;
    kernels(&guests.iter().filter(of_demo).cloned().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_step_has_a_name_of_its_own() {
        for guests in [default(), full()] {
            let names: BTreeSet<String> = guests.iter().map(Guest::name).collect();
            assert_eq!(names.len(), guests.len(), "{names:?}");
        }
    }

    #[test]
    fn the_full_run_leaves_out_no_pair_of_the_default_one() {
        let full = full();
        for guest in default() {
            assert!(
                full.iter().any(|other| (&other.kernel, other.attach) == (&guest.kernel, guest.attach)),
                "{guest:?}"
            );
        }
    }

    #[test]
    fn kernels_are_named_once() {
        assert_eq!(kernels(&default()), ["6.18", "5.10", "6.1", "6.12"]);
        assert_eq!(demos(&default()), ["6.18", "5.10", "6.1", "6.12"]);
    }

    #[test]
    fn a_guest_is_told_how_to_attach_and_what_to_run() {
        let [all, .., short] = &default()[..] else { panic!("too few guests") };
        assert_eq!(all.command(), ["env", "GUEST_ATTACH=fentry", "guest-tests", "--test-threads=1"]);
        assert_eq!(short.command()[2], format!("GUEST_TRIALS={SHORT}"));
        assert_eq!(short.name(), "guest tests on 6.18, kprobe, operations only");
    }
}
