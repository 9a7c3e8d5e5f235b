//! Which guests the test run boots: pairs of a kernel and a kind of attachment, and which trials run there.

use crate::guest::{System, kernels::NEWEST};

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
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

/// What depends on how the probes are attached: each operation, each failure, and the links themselves; and what depends on
/// the kernel alone, mount tables.
const SHORT: &str = "links,check,operations,moves,trees,detached,changes,namespaces,failures,floods,missing,callers32,propagation,\
     gone,groups,pivots,superblocks,parts,expiry,strange,list,who,owners,existing,mirror";

/// The limiter, which asks little of the kernel: once, where a tracer starts and ends in the shortest time.
const LIMITER: &str = "policies,limits,matches,refusals,reloads,doors";
/// Claims, forms, losses and bursts, the limiter's writes, every kind of disk, and that a comparison without a hook fails: once, on the newest kernel that gates.
const REST: &str = "claims,names,paths,terminal,secrets,flags,recordings,order,burst,loss,races,limits,unhooked,disks";
/// More at once than a reader takes, and who reads tables: once, on a kernel without a limit for what one call may change.
const STORMS: &str = "storms,counting";

/// Pods of a real container runtime, the agent's own among them: once, in a node.
const PODS: &str = "pods,deployed";

/// Which trials run in a guest; what takes longest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    All,
    OperationsAndRest,
    OperationsAndLimiter,
    OperationsAndStorms,
    Pods,
    Operations,
}

impl Part {
    /// What is behind the step's name.
    fn words(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Operations => ", operations only",
            Self::OperationsAndLimiter => ", operations and limiter",
            Self::OperationsAndStorms => ", operations and storms",
            Self::OperationsAndRest => ", operations and the rest",
            Self::Pods => ", pods in a node",
        }
    }

    /// The subjects, all if none are named.
    fn subjects(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Operations => Some(SHORT.to_owned()),
            Self::OperationsAndLimiter => Some([SHORT, LIMITER].join(",")),
            Self::OperationsAndStorms => Some([SHORT, STORMS].join(",")),
            Self::OperationsAndRest => Some([SHORT, REST].join(",")),
            Self::Pods => Some(PODS.to_owned()),
        }
    }
}

/// One guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) kernel: String,
    pub(super) attach: Attach,
    pub(super) part: Part,
    /// Whether the run fails when something fails here.
    pub(super) gates: bool,
}

impl Guest {
    fn all(kernel: &str, attach: Attach) -> Self {
        // A kernel of last week may break what no change of ours did.
        Self { kernel: kernel.to_owned(), attach, part: Part::All, gates: kernel != NEWEST }
    }

    fn node(kernel: &str) -> Self {
        Self { part: Part::Pods, ..Self::all(kernel, Attach::Fentry) }
    }

    /// What it boots.
    pub(super) fn system(&self) -> System {
        if self.part == Part::Pods { System::Node } else { System::Busybox }
    }

    /// Whether every kind of disk is tried there.
    pub(super) fn tries_disks(&self) -> bool {
        matches!(self.part, Part::All | Part::OperationsAndRest) && self.system() == System::Busybox
    }

    /// What stands before each line that it says.
    pub(super) fn label(&self) -> String {
        let node = if self.system() == System::Node { " node" } else { "" };
        format!("{} {}{node}", self.kernel, self.attach.name())
    }

    /// What the step is called.
    pub(super) fn name(&self) -> String {
        let gate = if self.gates { "" } else { " (does not gate)" };
        format!("guest tests on {}, {}{}{gate}", self.kernel, self.attach.name(), self.part.words())
    }

    /// The command in the guest.
    pub(super) fn command(&self) -> Vec<String> {
        let subjects = self.part.subjects().map(|subjects| format!("GUEST_TRIALS={subjects}"));
        let attach = format!("GUEST_ATTACH={}", self.attach.name());
        let words = ["env".to_owned(), attach].into_iter().chain(subjects);
        words.chain(["guest-tests", "--test-threads=1"].map(String::from)).collect()
    }
}

/// What runs when nothing was asked for: each trial once, and on each kernel and kind those that depend on it. As guests run at
/// once, what takes longest begins first.
pub(super) fn default() -> Vec<Guest> {
    let part = |guest: &Guest| match (guest.kernel.as_str(), guest.attach) {
        _ if guest.part == Part::Pods => Part::Pods,
        ("6.18", Attach::Fentry) => Part::OperationsAndRest,
        ("5.10", Attach::Fentry) => Part::OperationsAndLimiter,
        ("6.12", Attach::Fentry) => Part::OperationsAndStorms,
        _ => Part::Operations,
    };
    let mut guests: Vec<Guest> = full().into_iter().map(|guest| Guest { part: part(&guest), ..guest }).collect();
    guests.sort_by_key(|guest| guest.part);
    guests
}

/// What `--full` runs.
pub(super) fn full() -> Vec<Guest> {
    let traced = ["5.10", "6.1", "6.12", "6.18", NEWEST].map(|kernel| Guest::all(kernel, Attach::Fentry));
    let probed = ["5.10", "6.18"].map(|kernel| Guest::all(kernel, Attach::Kprobe));
    let nodes = [Guest::node("6.12")];
    traced.into_iter().chain(probed).chain(nodes).collect()
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
    let of_demo = |guest: &&Guest| guest.attach == Attach::Fentry && guest.part != Part::Pods;
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
        assert_eq!(kernels(&default()), ["6.18", "5.10", "6.12", "6.1"]);
        assert_eq!(demos(&default()), kernels(&default()));
    }

    #[test]
    fn a_guest_is_told_how_to_attach_and_what_to_run() {
        let [_, second, .., last] = &default()[..] else { panic!("too few guests") };
        assert_eq!(full()[0].command(), ["env", "GUEST_ATTACH=fentry", "guest-tests", "--test-threads=1"]);
        assert_eq!(second.command()[2], format!("GUEST_TRIALS={SHORT},{LIMITER}"));
        assert_eq!(second.name(), "guest tests on 5.10, fentry, operations and limiter");
        assert_eq!(last.command()[2], format!("GUEST_TRIALS={SHORT}"));
        assert_eq!(last.name(), "guest tests on 6.18, kprobe, operations only");
    }

    #[test]
    fn the_default_run_leaves_out_no_subject() {
        let parts: Vec<String> = default().iter().filter_map(|guest| guest.part.subjects()).collect();
        let named: BTreeSet<&str> = parts.iter().flat_map(|part| part.split(',')).collect();
        let harness = include_str!("../../../tracer/tests/guest.rs");
        let subjects: BTreeSet<&str> =
            harness.lines().filter_map(|line| line.trim().strip_suffix("::trials(),")).collect();
        assert_eq!(named, subjects);
    }
}
