//! The one table of hooks: what is attached where, and what is lost without it. Attaching, `check`, statistics and
//! the documentation are fed from here.
//!
//! Which functions can be attached was read from the binaries of fourteen kernels, 5.10 to 7.3; all of these are called
//! out of line on each of them.

use tracer_common::hook;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A trampoline at a function's entry.
    Fentry,
    /// A trampoline at a function's exit.
    Fexit,
    /// A raw tracepoint with typed arguments.
    Tracepoint,
}

impl Attach {
    /// The kernel's own word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::Tracepoint => "tp_btf",
        }
    }
}

/// Who needs a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Everybody.
    Always,
    /// Only the limiter.
    Limiter,
}

/// One hook.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Its number, as in `tracer_common::hook`.
    pub number: u32,
    /// The program's symbol in the eBPF object.
    pub program: &'static str,
    /// How.
    pub attach: Attach,
    /// The kernel function, or the tracepoint.
    pub target: &'static str,
    /// Who needs it.
    pub needed: Needed,
    /// What it sees.
    pub sees: &'static str,
}

/// Every hook, in the order of their numbers.
pub const HOOKS: &[Hook] = &[
    Hook {
        number: hook::MOUNT_ENTER,
        program: "mount_enter",
        attach: Attach::Fentry,
        target: "path_mount",
        needed: Needed::Always,
        sees: "mount(2) begins",
    },
    Hook {
        number: hook::MOUNT_EXIT,
        program: "mount_exit",
        attach: Attach::Fexit,
        target: "path_mount",
        needed: Needed::Always,
        sees: "mount(2) ends, with its errno",
    },
    Hook {
        number: hook::UMOUNT_ENTER,
        program: "umount_enter",
        attach: Attach::Fentry,
        target: "path_umount",
        needed: Needed::Always,
        sees: "umount2(2) begins",
    },
    Hook {
        number: hook::UMOUNT_EXIT,
        program: "umount_exit",
        attach: Attach::Fexit,
        target: "path_umount",
        needed: Needed::Always,
        sees: "umount2(2) ends, with its errno",
    },
    Hook {
        number: hook::GRAFT,
        program: "graft",
        attach: Attach::Fexit,
        target: "graft_tree",
        needed: Needed::Always,
        sees: "a new mount or a bind stands where it was asked for",
    },
    Hook {
        number: hook::COPY,
        program: "copy",
        attach: Attach::Fentry,
        target: "mnt_set_mountpoint",
        needed: Needed::Always,
        sees: "a copy goes where a mount propagates to (called by propagate_mnt)",
    },
    Hook {
        number: hook::DETACH,
        program: "detach",
        attach: Attach::Fexit,
        target: "propagate_umount",
        needed: Needed::Always,
        sees: "all mounts that an unmount takes along",
    },
    Hook {
        number: hook::SECTION_END,
        program: "section_end",
        attach: Attach::Fentry,
        target: "namespace_unlock",
        needed: Needed::Always,
        sees: "a hold of the namespace semaphore ends",
    },
    Hook {
        number: hook::CGROUP_MKDIR,
        program: "cgroup_mkdir",
        attach: Attach::Tracepoint,
        target: "cgroup_mkdir",
        needed: Needed::Limiter,
        sees: "a cgroup is made",
    },
    Hook {
        number: hook::CGROUP_RMDIR,
        program: "cgroup_rmdir",
        attach: Attach::Tracepoint,
        target: "cgroup_rmdir",
        needed: Needed::Limiter,
        sees: "a cgroup is removed",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_one_row() {
        let numbers: Vec<u32> = HOOKS.iter().map(|hook| hook.number).collect();
        assert_eq!(numbers, (0..hook::COUNT).collect::<Vec<_>>());
    }
}
