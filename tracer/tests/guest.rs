//! Tests of the binary `mount-tracer` against a real kernel: run as root in a disposable guest.
//!
//! Each trial acts on the kernel, and compares what the binary printed with what the kernel's own files say and with what
//! the trial itself did. Nothing here shares code with the tracer. The guest's disk is formatted, once, by the first
//! trial that needs it, and only if it is blank.
//!
//! ```text
//! guest-tests --test-threads=1
//! ```
//!
//! `GUEST_ATTACH=kprobe` runs them with that kind of attachment, `GUEST_TRIALS=moves,trees` only those subjects. `pods` and `deployed`
//! need a node with containerd, and run only where they are asked for.
//!
//! The trials act on one machine, so they run one after the other.

use std::process::ExitCode;

use libtest_mimic::Arguments;

mod guest {
    //! One file per subject, and below them what they share.

    // What is tested.
    pub(crate) mod burst;
    #[cfg(target_arch = "x86_64")]
    pub(crate) mod callers32;
    pub(crate) mod changes;
    pub(crate) mod check;
    pub(crate) mod claims;
    pub(crate) mod counting;
    pub(crate) mod deployed;
    pub(crate) mod detached;
    pub(crate) mod disks;
    pub(crate) mod doors;
    pub(crate) mod existing;
    pub(crate) mod expiry;
    pub(crate) mod failures;
    pub(crate) mod flags;
    pub(crate) mod floods;
    pub(crate) mod gone;
    pub(crate) mod groups;
    pub(crate) mod limits;
    pub(crate) mod links;
    pub(crate) mod list;
    pub(crate) mod loss;
    pub(crate) mod matches;
    pub(crate) mod mirror;
    pub(crate) mod missing;
    pub(crate) mod moves;
    pub(crate) mod names;
    pub(crate) mod namespaces;
    pub(crate) mod operations;
    pub(crate) mod order;
    pub(crate) mod owners;
    pub(crate) mod parts;
    pub(crate) mod paths;
    pub(crate) mod pivots;
    pub(crate) mod pods;
    pub(crate) mod policies;
    pub(crate) mod propagation;
    pub(crate) mod races;
    pub(crate) mod recordings;
    pub(crate) mod refusals;
    pub(crate) mod reloads;
    pub(crate) mod secrets;
    pub(crate) mod strange;
    pub(crate) mod superblocks;
    pub(crate) mod terminal;
    pub(crate) mod trees;
    pub(crate) mod who;

    // What the tests share.
    pub(crate) mod actor;
    pub(crate) mod asking;
    pub(crate) mod btf;
    pub(crate) mod cri;
    pub(crate) mod disk;
    pub(crate) mod expect;
    pub(crate) mod ground;
    pub(crate) mod kernel;
    pub(crate) mod node;
    pub(crate) mod operation;
    pub(crate) mod oracle;
    pub(crate) mod program;
    pub(crate) mod raw;
    #[cfg(target_arch = "x86_64")]
    pub(crate) mod raw32;
    pub(crate) mod screen;
    pub(crate) mod trial;

    // What stands in for a cluster: the tests of the client have more of it.
    #[expect(dead_code, clippy::unwrap_used, reason = "the trials need less of it, and it is for tests alone")]
    #[path = "../kubernetes/server.rs"]
    pub(crate) mod server;
    #[expect(dead_code, reason = "the trials need less of it")]
    #[path = "../kubernetes/world.rs"]
    pub(crate) mod world;
}

#[cfg(target_arch = "x86_64")]
use guest::callers32;
use guest::{
    actor, burst, changes, check, claims, counting, deployed, detached, disks, doors, existing, expiry, failures,
    flags, floods, gone, ground, groups, limits, links, list, loss, matches, mirror, mirror::storms, mirror::unhooked,
    missing, moves, names, namespaces, operations, order, owners, parts, paths, pivots, pods, policies, program,
    propagation, races, recordings, refusals, reloads, secrets, strange, superblocks, terminal, trees, trial, who,
};

fn main() -> ExitCode {
    if actor::is_actor() {
        return actor::serve();
    }
    if mirror::worker::is_worker() {
        return mirror::worker::serve();
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = [
        policies::trials(),
        check::trials(),
        links::trials(),
        operations::trials(),
        moves::trials(),
        trees::trials(),
        detached::trials(),
        changes::trials(),
        namespaces::trials(),
        failures::trials(),
        floods::trials(),
        missing::trials(),
        #[cfg(target_arch = "x86_64")]
        callers32::trials(),
        propagation::trials(),
        gone::trials(),
        groups::trials(),
        pivots::trials(),
        superblocks::trials(),
        parts::trials(),
        expiry::trials(),
        names::trials(),
        paths::trials(),
        strange::trials(),
        terminal::trials(),
        secrets::trials(),
        list::trials(),
        who::trials(),
        claims::trials(),
        disks::trials(),
        owners::trials(),
        flags::trials(),
        existing::trials(),
        mirror::trials(),
        unhooked::trials(),
        storms::trials(),
        recordings::trials(),
        order::trials(),
        burst::trials(),
        loss::trials(),
        races::trials(),
        limits::trials(),
        matches::trials(),
        refusals::trials(),
        reloads::trials(),
        doors::trials(),
        counting::trials(),
        pods::trials(),
        deployed::trials(),
    ];
    let trials = trial::chosen(trials.into_iter().flatten().collect());
    let conclusion = libtest_mimic::run(&arguments, trials);
    program::Lasting::end();
    ground::clear();
    conclusion.exit_code()
}
