//! Random operations on mounts as data: which process does what, as one line of text each, so that a sequence can be sent,
//! printed, replayed and cut down. Nothing here acts.
//!
//! All paths are below one tree whose directories have the same few names on each level: what is mounted where is not
//! modelled, so some operations meet a mount and some do not.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result};

/// The names of the directories on each level of the tree.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];
/// A directory beside them that has none in it: it can be removed.
pub(crate) const LEAF: &str = "d";

/// `sys/mount.h`: what a bind's remount may set, beside the times of access.
const REMOUNT_BITS: [u64; 6] = [1, 1 << 1, 1 << 2, 1 << 3, 1 << 8, 1 << 11];
/// `MS_NOATIME`, `MS_RELATIME`, `MS_STRICTATIME`, and none of them.
const REMOUNT_TIMES: [u64; 4] = [1 << 10, 1 << 21, 1 << 24, 0];
/// What a remount of a superblock may set: nothing that keeps others from mounting in it.
const SUPERBLOCK_BITS: [u64; 3] = [1 << 1, 1 << 2, 1 << 3];
/// One workload of so many sets attributes by a path, too: what the kernel does not tell makes tables doubtful, and a doubtful one is not
/// audited.
const BY_PATH_ONE_IN: u64 = 3;
/// `MOUNT_ATTR_*` of `linux/mount.h`, beside the times of access.
const ATTRIBUTE_BITS: [u64; 6] = [1, 1 << 1, 1 << 2, 1 << 3, 0x80, 0x20_0000];
/// `MOUNT_ATTR_RELATIME`, `MOUNT_ATTR_NOATIME`, `MOUNT_ATTR_STRICTATIME`.
const ATTRIBUTE_TIMES: [u64; 3] = [0, 0x10, 0x20];
/// `MOUNT_ATTR__ATIME`: who sets one of the times has to clear them all.
const ATTRIBUTE_TIME_MASK: u64 = 0x70;
/// At most so many operations a process makes in the namespace of another one.
const LONGEST_VISIT: u64 = 8;

/// One operation of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) worker: usize,
    /// The operation's name and its arguments; `worker.rs` knows them.
    pub(crate) words: Vec<String>,
}

impl Step {
    fn new(worker: usize, text: &str) -> Self {
        Self { worker, words: text.split(' ').map(str::to_owned).collect() }
    }

    /// The operation alone, without who makes it.
    pub(crate) fn operation(&self) -> String {
        self.words.join(" ")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.worker, self.operation())
    }
}

impl FromStr for Step {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let (worker, operation) = line.split_once(' ').with_context(|| format!("no operation in {line:?}"))?;
        let worker = worker.parse().with_context(|| format!("{line:?} does not begin with a number"))?;
        Ok(Self::new(worker, operation))
    }
}

/// What a run does: how each process comes to its namespace, one after the other; then all operations, those of different
/// processes at once or, in this order, one by one; and how each process comes to a namespace of its own again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) workers: usize,
    pub(crate) setup: Vec<Step>,
    pub(crate) steps: Vec<Step>,
    pub(crate) closing: Vec<Step>,
}

impl Workload {
    /// The workload of this seed: always the same.
    pub(crate) fn random(seed: u64, workers: usize, operations: usize) -> Self {
        let mut random = Random::new(seed);
        let by_path = random.one_in(BY_PATH_ONE_IN);
        let mut generator = Generator { random, by_path, away: vec![0; workers] };
        let setup = (0..workers).flat_map(|worker| generator.setup(worker)).collect();
        let steps = (0..operations).map(|number| generator.step(number % workers)).collect();
        let closing = (0..workers).flat_map(|worker| generator.closing(worker)).collect();
        Self { workers, setup, steps, closing }
    }

    /// The same processes with other operations.
    pub(crate) fn with_steps(&self, steps: Vec<Step>) -> Self {
        Self { steps, ..self.clone() }
    }
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    /// Steps as they are printed, one a line; how the processes come to their namespaces is among them.
    fn from_str(text: &str) -> Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let steps: Vec<Step> = lines.map(str::parse).collect::<Result<_>>()?;
        let workers = steps.iter().map(|step| step.worker + 1).max().context("no operation")?;
        let closing = (0..workers).map(|worker| Step::new(worker, &format!("enter {worker}"))).collect();
        Ok(Self { workers, setup: Vec::new(), steps, closing })
    }
}

/// Marsaglia's xorshift with a multiplier: enough to choose, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike, and the state must never be 0.
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = self.below(from.len() as u64);
        &from[usize::try_from(index).unwrap_or(0)]
    }

    fn bits(&mut self, from: &[u64]) -> u64 {
        from.iter().filter(|_| self.one_in(3)).fold(0, |bits, bit| bits | bit)
    }
}

/// What is done how often.
const WEIGHTS: [(u64, &str); 23] = [
    (15, "tmpfs"),
    (14, "bind"),
    (2, "rbind"),
    (3, "move"),
    (3, "move_mount"),
    (3, "beneath"),
    (3, "carry"),
    (9, "remount"),
    (9, "attributes"),
    (2, BY_PATH),
    (2, "open_tree_attr"),
    (2, "reconfigure"),
    (12, "change"),
    (1, "change_whole"),
    (6, "clone"),
    (5, "fsmount"),
    (2, "set_group"),
    (9, "umount"),
    (4, "umount_tree"),
    (3, "rmdir"),
    (1, "pivot"),
    (1, "unshare"),
    (1, "enter"),
];

/// Attributes by a path. From 7.0 on the kernel's word for the mount is missing, and the agent reads a table for each.
pub(crate) const BY_PATH: &str = "attributes_by_path";

struct Generator {
    random: Random,
    /// Whether attributes are set by a path, too.
    by_path: bool,
    /// For each process: how many operations it will still make in another one's namespace.
    away: Vec<u64>,
}

impl Generator {
    /// How a process comes to its namespace: a copy of one that is there already, with propagation of its own.
    fn setup(&mut self, worker: usize) -> Vec<Step> {
        let step = |text: &str| Step::new(worker, text);
        let mut steps = Vec::new();
        if worker > 0 && self.random.one_in(2) {
            steps.push(step(&format!("enter {}", self.random.below(worker as u64))));
        }
        steps.push(step("unshare"));
        match self.random.below(6) {
            0 | 1 => {}
            2 | 3 => steps.push(step("change . slave rec mount")),
            4 => steps.push(step("change . private rec mount")),
            _ => steps.extend(["tmpfs a", "change a unbindable one mount"].map(step)),
        }
        steps
    }

    fn step(&mut self, worker: usize) -> Step {
        let left = self.away[worker];
        self.away[worker] = left.saturating_sub(1);
        if left == 1 {
            return Step::new(worker, "unshare");
        }
        let mut point = self.random.below(WEIGHTS.iter().map(|(weight, _)| weight).sum());
        let chosen = WEIGHTS.iter().find(|(weight, _)| {
            let here = point < *weight;
            point = point.saturating_sub(*weight);
            here
        });
        let kind = chosen.map_or("tmpfs", |(_, kind)| kind);
        Step::new(worker, &self.operation(kind, worker))
    }

    /// Whose root went away under it, while it and another one in its namespace moved roots, takes its namespace's; who is in
    /// another one's namespace gets one of its own.
    fn closing(&self, worker: usize) -> impl Iterator<Item = Step> {
        let away = (self.away[worker] > 0).then_some(Step::new(worker, "unshare"));
        [Step::new(worker, &format!("enter {worker}"))].into_iter().chain(away)
    }

    fn path(&mut self) -> String {
        let depth = *self.random.of(&[1, 1, 1, 2, 2]);
        let mut names: Vec<&str> = (0..depth).map(|_| *self.random.of(&NAMES)).collect();
        if self.random.one_in(6) {
            names.pop();
            names.push(LEAF);
        }
        names.join("/")
    }

    fn recursive(&mut self, many: u64) -> &'static str {
        if self.random.one_in(many) { "rec" } else { "one" }
    }

    fn operation(&mut self, kind: &str, worker: usize) -> String {
        match kind {
            "remount" => {
                let flags = self.random.bits(&REMOUNT_BITS) | self.random.of(&REMOUNT_TIMES);
                format!("remount {} {flags}", self.path())
            }
            BY_PATH if self.by_path => self.attributes(BY_PATH),
            "attributes" | BY_PATH => self.attributes("attributes"),
            "reconfigure" => format!("reconfigure {} {}", self.path(), self.random.bits(&SUPERBLOCK_BITS)),
            "open_tree_attr" => {
                let set = self.random.bits(&ATTRIBUTE_BITS);
                let opened = format!("open_tree_attr {} {set} {}", self.path(), self.recursive(3));
                if self.random.one_in(2) { opened } else { format!("{opened} {}", self.path()) }
            }
            "change" => {
                let kind = *self.random.of(&["shared", "shared", "shared", "slave", "slave", "private", "unbindable"]);
                let door = *self.random.of(&["mount", "path", "descriptor"]);
                format!("change {} {kind} {} {door}", self.path(), self.recursive(4))
            }
            // Of the mount that all others are on.
            "change_whole" => {
                let kind = *self.random.of(&["shared", "shared", "slave"]);
                format!("change . {kind} {} mount", self.recursive(2))
            }
            "clone" => {
                let clone = format!("clone {} {}", self.path(), self.recursive(4));
                self.attached(clone)
            }
            "fsmount" => {
                let attributes = self.random.bits(&ATTRIBUTE_BITS[1..]) | self.random.of(&ATTRIBUTE_TIMES);
                self.attached(format!("fsmount {attributes}"))
            }
            "umount" => {
                let flags = *self.random.of(&["plain", "plain", "detach", "force"]);
                format!("umount {} {flags}", self.path())
            }
            // Of a directory with others below, whose copies in peers are parents, too.
            "umount_tree" => format!("umount {} detach", self.random.of(&NAMES)),
            "pivot" => {
                let source = *self.random.of(&["fresh", "bind", "rbind"]);
                let propagation = *self.random.of(&["slave", "private"]);
                format!("pivot {} {source} {propagation}", self.path())
            }
            "unshare" => "unshare".to_owned(),
            "enter" => {
                self.away[worker] = 2 + self.random.below(LONGEST_VISIT - 1);
                format!("enter {}", self.random.below(self.away.len() as u64))
            }
            "carry" => {
                let propagation = *self.random.of(&["shared", "private", "unbindable"]);
                format!("carry {} {} {propagation}", self.random.of(&NAMES), self.path())
            }
            "rmdir" => {
                let above = *self.random.of(&["", "a/", "b/", "c/"]);
                format!("rmdir {above}{LEAF}")
            }
            "tmpfs" => format!("tmpfs {}", self.path()),
            _ => format!("{kind} {} {}", self.path(), self.path()),
        }
    }

    fn attributes(&mut self, kind: &str) -> String {
        let mut set = self.random.bits(&ATTRIBUTE_BITS);
        let mut clear = self.random.bits(&ATTRIBUTE_BITS) & !set;
        if self.random.one_in(2) {
            set |= self.random.of(&ATTRIBUTE_TIMES);
            clear |= ATTRIBUTE_TIME_MASK;
        }
        format!("{kind} {} {set} {clear} {}", self.path(), self.recursive(3))
    }

    /// A detached mount that is put somewhere, or closed.
    fn attached(&mut self, detached: String) -> String {
        if self.random.one_in(4) { detached } else { format!("{detached} {}", self.path()) }
    }
}
