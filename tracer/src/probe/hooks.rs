//! The one table of hooks: what is attached where, what proves that it works, and what is lost without it. Attaching,
//! `check`, the self-test, statistics and the documentation are fed from here.
//!
//! Which functions can be attached was read from the binaries of fourteen kernels, 5.10 to 7.3.

mod doors;

use tracer_common::{
    fact::syscall,
    hook::{self, DOORS},
};

/// How function probes are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By trampolines (`fentry`, `fexit`): cheap, and their misses are counted from 5.12 on.
    Fentry,
    /// By breakpoints or ftrace (`kprobe`, `kretprobe`): for kernels without trampolines. Returns can be missed, uncounted.
    Kprobe,
}

impl Method {
    /// Its name, as `--attach` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

/// Where in a function a program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At its entry.
    Entry,
    /// At its exit. A return probe may want a probe at the entry that saves the arguments.
    Exit {
        /// The program that saves them.
        save: Option<&'static str>,
    },
    /// It is a raw tracepoint with typed arguments.
    Tracepoint,
}

/// A function that can show what a hook is to see, and the programs for it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The kernel function, or the tracepoint.
    pub target: &'static str,
    /// Where.
    pub at: At,
    /// The trampoline's or the tracepoint's program.
    pub trampoline: &'static str,
    /// The trampoline's second program, for the calls that a preemptible kernel skips the first one for. What runs inside
    /// sections has none: nothing is skipped there.
    pub second: Option<&'static str>,
    /// The probe's program.
    pub probe: &'static str,
}

impl Candidate {
    /// The kernel's own words for the way it is attached; `second` says whether the second program is there too.
    pub fn kind(&self, method: Method, second: bool) -> &'static str {
        match (self.at, method) {
            (At::Entry, Method::Fentry) if second => "fentry+fentry",
            (At::Entry, Method::Fentry) => "fentry",
            (At::Exit { .. }, Method::Fentry) if second => "fexit+fexit",
            (At::Exit { .. }, Method::Fentry) => "fexit",
            (At::Entry, Method::Kprobe) => "kprobe",
            (At::Exit { save: Some(_) }, Method::Kprobe) => "kprobe+kretprobe",
            (At::Exit { save: None }, Method::Kprobe) => "kretprobe",
            (At::Tracepoint, _) => "tp_btf",
        }
    }

    /// The same candidate with a second program.
    const fn with_second(self, second: &'static str) -> Self {
        Self { second: Some(second), ..self }
    }
}

/// Who needs a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Everybody.
    Always,
    /// Who runs on a kernel that has the function: one that lacks it lacks what it would see.
    IfThere,
    /// Who runs on a kernel that has this system call (`fact::syscall`), of which it tells more.
    For(u32),
    /// Who runs on a kernel that lacks this function, whose hook tells the same.
    Unless(&'static str),
    /// Only who keeps the mirror.
    Mirror,
    /// Who says whose something is, and the limiter.
    Owners,
    /// Only who asks what is mounted already.
    Existing,
}

impl Needed {
    /// Whether nobody does without it, where the kernel has it.
    pub fn by_all(self) -> bool {
        matches!(self, Self::Always | Self::IfThere | Self::For(_) | Self::Unless(_))
    }
}

/// What shows that a hook works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A record of this hook, written for the self-test when it does this.
    Record(&'static str),
    /// It writes no record; that of another hook is right only if it works.
    With(u32),
    /// The self-test cannot make it happen.
    Attached,
}

/// One hook.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Its number, as in `tracer_common::hook`.
    pub number: u32,
    /// The functions that can show it, the better ones first.
    pub candidates: &'static [Candidate],
    /// Who needs it.
    pub needed: Needed,
    /// What shows that it works.
    pub proof: Proof,
    /// What it sees.
    pub sees: &'static str,
}

impl Hook {
    /// A name for it where it is not known which candidate was taken: the first one's function.
    pub fn name(&self) -> &'static str {
        self.candidates[0].target
    }

    /// Whether what it misses is found out in another way.
    pub fn is_spared(&self) -> bool {
        matches!(self.needed, Needed::For(_))
    }

    /// Whether its programs run inside sections: what they miss is missing in a table.
    pub fn in_section(&self) -> bool {
        self.number <= hook::SECTION_END
    }
}

const fn entry(target: &'static str, trampoline: &'static str, probe: &'static str) -> Candidate {
    Candidate { target, at: At::Entry, trampoline, second: None, probe }
}

const fn exit(
    target: &'static str,
    trampoline: &'static str,
    probe: &'static str,
    save: Option<&'static str>,
) -> Candidate {
    Candidate { target, at: At::Exit { save }, trampoline, second: None, probe }
}

const fn tracepoint(target: &'static str) -> Candidate {
    Candidate { target, at: At::Tracepoint, trampoline: target, second: None, probe: target }
}

/// Every hook but the doors, in the order of their numbers.
const TABLES_AND_TARGETS: [Hook; hook::CALL_ENTER as usize] = [
    Hook {
        number: hook::ATTACH,
        candidates: &[
            entry("commit_tree", "tree_enters", "tree_enters_k"),
            entry("mnt_add_to_ns", "mount_enters", "mount_enters_k"),
        ],
        needed: Needed::Always,
        proof: Proof::Record("mounts a tmpfs"),
        sees: "a mount enters a namespace",
    },
    Hook {
        number: hook::COPY,
        candidates: &[entry("mnt_set_mountpoint", "copy", "copy_k")],
        needed: Needed::Always,
        proof: Proof::Record("mounts below a shared mount with a peer"),
        sees: "a copy goes where a mount propagates to",
    },
    Hook {
        number: hook::MOVE,
        candidates: &[
            entry("make_visible", "has_place", "has_place_k"),
            exit("attach_recursive_mnt", "moved", "moved_k", Some("moved_s")),
        ],
        needed: Needed::Always,
        proof: Proof::Record("moves a mount"),
        sees: "a mount goes to another place",
    },
    Hook {
        number: hook::DETACH,
        candidates: &[exit("propagate_umount", "detach", "detach_k", Some("detach_s"))],
        needed: Needed::Always,
        proof: Proof::Record("unmounts"),
        sees: "all mounts that an unmount takes along",
    },
    Hook {
        number: hook::CHANGE,
        candidates: &[exit("change_mnt_propagation", "change", "change_k", Some("change_s"))],
        needed: Needed::Always,
        proof: Proof::Record("makes a mount shared"),
        sees: "a mount's propagation is set",
    },
    Hook {
        number: hook::TREE_GOES,
        candidates: &[entry("umount_tree", "tree_goes", "tree_goes_k")],
        needed: Needed::Always,
        proof: Proof::Record("ends, and its namespace with it"),
        sees: "a tree goes: with its namespace, its mount point or its last descriptor",
    },
    Hook {
        number: hook::REPARENT,
        candidates: &[exit("mnt_change_mountpoint", "reparent", "reparent_k", Some("reparent_s"))],
        needed: Needed::Unless("make_visible"),
        proof: Proof::Record("mounts where a slave has something mounted"),
        sees: "a mount stands on another one, in place",
    },
    Hook {
        number: hook::GROUP_END,
        candidates: &[entry("change_mnt_propagation", "group_end", "group_end_k")],
        needed: Needed::Mirror,
        proof: Proof::Record("makes the last mount of a peer group private"),
        sees: "the last mount leaves a peer group",
    },
    Hook {
        number: hook::CLONE,
        candidates: &[exit("clone_mnt", "cloned", "cloned_k", Some("cloned_s"))],
        needed: Needed::Mirror,
        proof: Proof::Record("copies the mounts of its namespace"),
        sees: "what a new namespace or a detached tree begins with",
    },
    Hook {
        number: hook::SECTION_END,
        candidates: &[entry("namespace_unlock", "section_end", "section_end_k")],
        needed: Needed::Always,
        proof: Proof::Record("changes any table"),
        sees: "a hold of the namespace semaphore ends",
    },
    Hook {
        number: hook::NAMESPACE_COPY,
        candidates: &[entry("copy_mnt_ns", "namespace_copy", "namespace_copy_k").with_second("namespace_copy_2")],
        needed: Needed::Always,
        proof: Proof::With(hook::NAMESPACE_MADE),
        sees: "a namespace begins to be made",
    },
    Hook {
        number: hook::NAMESPACE_MADE,
        candidates: &[exit("copy_mnt_ns", "namespace_made", "namespace_made_k", Some("namespace_made_s"))
            .with_second("namespace_made_2")],
        needed: Needed::Always,
        proof: Proof::Record("makes its own namespace"),
        sees: "a namespace was made",
    },
    Hook {
        number: hook::MOUNT_TARGET,
        candidates: &[
            exit("path_mount", "mount_target", "mount_target_k", Some("mount_target_s")).with_second("mount_target_2")
        ],
        needed: Needed::Always,
        proof: Proof::Record("remounts read-only"),
        sees: "what the kernel found at the path of mount(2)",
    },
    Hook {
        number: hook::UMOUNT_TARGET,
        candidates: &[entry("path_umount", "umount_target", "umount_target_k").with_second("umount_target_2")],
        needed: Needed::Always,
        proof: Proof::With(hook::UMOUNT_KEPT),
        sees: "which mount umount2(2) is to take away",
    },
    Hook {
        number: hook::UMOUNT_KEPT,
        candidates: &[
            exit("path_umount", "umount_kept", "umount_kept_k", Some("umount_kept_s")).with_second("umount_kept_2")
        ],
        needed: Needed::Always,
        proof: Proof::Record("fails to unmount what is busy"),
        sees: "what umount2(2) could not take away",
    },
    Hook {
        number: hook::CGROUP_MKDIR,
        candidates: &[tracepoint("cgroup_mkdir")],
        needed: Needed::Owners,
        proof: Proof::Attached,
        sees: "a cgroup is made",
    },
    Hook {
        number: hook::CGROUP_RMDIR,
        candidates: &[tracepoint("cgroup_rmdir")],
        needed: Needed::Owners,
        proof: Proof::Attached,
        sees: "a cgroup is removed",
    },
    Hook {
        number: hook::MOVE_TARGET,
        candidates: &[entry("security_move_mount", "move_target", "move_target_k").with_second("move_target_2")],
        needed: Needed::Always,
        proof: Proof::Record("attaches a detached mount"),
        sees: "where move_mount(2) is to put a mount",
    },
    Hook {
        number: hook::PIVOT_TARGET,
        candidates: &[entry("security_sb_pivotroot", "pivot_target", "pivot_target_k").with_second("pivot_target_2")],
        needed: Needed::Always,
        proof: Proof::Record("changes its root"),
        sees: "which mount pivot_root(2) is to make the root",
    },
    Hook {
        number: hook::SEED,
        candidates: &[entry("show_vfsmnt", "listed", "listed_k").with_second("listed_2")],
        needed: Needed::Existing,
        proof: Proof::Attached,
        sees: "what is mounted already, when mount-tracer reads a table",
    },
    Hook {
        number: hook::RELEASED,
        candidates: &[entry("cleanup_mnt", "released", "released_k").with_second("released_2")],
        needed: Needed::Mirror,
        proof: Proof::Record("lets go of what it unmounted"),
        sees: "nothing refers to a mount any more",
    },
    Hook {
        number: hook::SETATTR_TARGET,
        candidates: &[
            exit("user_path_at", "setattr_target", "setattr_target_k", Some("setattr_target_s"))
                .with_second("setattr_target_2"),
            // Before 6.12; `user_path_at` was part of its callers.
            exit("user_path_at_empty", "setattr_target", "setattr_target_k", Some("setattr_target_s"))
                .with_second("setattr_target_2"),
        ],
        needed: Needed::For(syscall::MOUNT_SETATTR),
        proof: Proof::Record("sets attributes of a mount by its path"),
        sees: "whose attributes mount_setattr(2) is to set",
    },
    Hook {
        number: hook::CGROUP_ENTERED,
        candidates: &[tracepoint("cgroup_attach_task")],
        needed: Needed::Owners,
        proof: Proof::Attached,
        sees: "a process with a mount namespace of its own is put into a cgroup",
    },
];

const COUNT: usize = hook::COUNT as usize;
const FIRST_DOOR: usize = hook::CALL_ENTER as usize;

/// Every hook, in the order of their numbers.
pub static HOOKS: [Hook; COUNT] = {
    let mut hooks = [TABLES_AND_TARGETS[0]; COUNT];
    let mut n = 0;
    while n < FIRST_DOOR {
        hooks[n] = TABLES_AND_TARGETS[n];
        n += 1;
    }
    let mut door = 0;
    while door < DOORS.len() {
        hooks[FIRST_DOOR + door] = doors::enters(door);
        hooks[FIRST_DOOR + DOORS.len() + door] = doors::exits(door);
        door += 1;
    }
    hooks
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_one_row() {
        let numbers: Vec<u32> = HOOKS.iter().map(|hook| hook.number).collect();
        assert_eq!(numbers, (0..hook::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn what_runs_outside_of_sections_has_a_second_program() {
        for hook in &HOOKS {
            for candidate in hook.candidates {
                let is_compat = DOORS.iter().any(|door| door.compat && door.function == candidate.target);
                let outside = !hook.in_section() && candidate.at != At::Tracepoint && !is_compat;
                assert_eq!(candidate.second.is_some(), outside, "{}", candidate.target);
            }
        }
    }

    #[test]
    fn what_is_proven_with_another_hook_names_one_that_writes_records() {
        for hook in &HOOKS {
            if let Proof::With(other) = hook.proof {
                assert!(matches!(HOOKS[other as usize].proof, Proof::Record(_)), "{}", hook.name());
            }
        }
    }
}
