//! The doors' part of the table: two hooks for each function by which a system call is entered.

use tracer_common::hook::{self, DOOR_COUNT, DOORS};

use super::{Candidate, Hook, Needed, Proof, entry, exit};

pub(super) const fn enters(door: usize) -> Hook {
    #[expect(clippy::cast_possible_truncation, reason = "there are nineteen doors")]
    let number = hook::CALL_ENTER + door as u32;
    Hook {
        number,
        candidates: ENTRIES[door].as_slice(),
        needed: Needed::IfThere,
        proof: match door_proof(door) {
            Proof::Record(_) => Proof::With(number + DOOR_COUNT),
            other => other,
        },
        sees: "a system call begins",
    }
}

pub(super) const fn exits(door: usize) -> Hook {
    #[expect(clippy::cast_possible_truncation, reason = "there are nineteen doors")]
    let number = hook::CALL_EXIT + door as u32;
    Hook {
        number,
        candidates: EXITS[door].as_slice(),
        needed: Needed::IfThere,
        proof: door_proof(door),
        sees: "a system call ends, with its errno",
    }
}

const fn door_proof(door: usize) -> Proof {
    use tracer_common::fact::syscall;
    if DOORS[door].compat {
        return Proof::Attached;
    }
    match DOORS[door].syscall {
        syscall::MOUNT => Proof::Record("calls mount"),
        syscall::UMOUNT => Proof::Record("calls umount2"),
        syscall::MOVE_MOUNT => Proof::Record("calls move_mount"),
        syscall::FSMOUNT => Proof::Record("calls fsmount"),
        syscall::OPEN_TREE => Proof::Record("calls open_tree"),
        syscall::FSCONFIG => Proof::Record("calls fsconfig"),
        syscall::PIVOT_ROOT => Proof::Record("calls pivot_root"),
        syscall::MOUNT_SETATTR => Proof::Record("calls mount_setattr"),
        syscall::OPEN_TREE_ATTR => Proof::Record("calls open_tree_attr"),
        _ => Proof::Attached,
    }
}

/// The programs of each door: entry, second entry, its probe, exit, second exit, its return probe.
const DOOR_PROGRAMS: [[&str; 6]; DOORS.len()] = [
    ["enter_0", "enter_0_2", "enter_0_k", "exit_0", "exit_0_2", "exit_0_k"],
    ["enter_1", "enter_1_2", "enter_1_k", "exit_1", "exit_1_2", "exit_1_k"],
    ["enter_2", "enter_2_2", "enter_2_k", "exit_2", "exit_2_2", "exit_2_k"],
    ["enter_3", "enter_3_2", "enter_3_k", "exit_3", "exit_3_2", "exit_3_k"],
    ["enter_4", "enter_4_2", "enter_4_k", "exit_4", "exit_4_2", "exit_4_k"],
    ["enter_5", "enter_5_2", "enter_5_k", "exit_5", "exit_5_2", "exit_5_k"],
    ["enter_6", "enter_6_2", "enter_6_k", "exit_6", "exit_6_2", "exit_6_k"],
    ["enter_7", "enter_7_2", "enter_7_k", "exit_7", "exit_7_2", "exit_7_k"],
    ["enter_8", "enter_8_2", "enter_8_k", "exit_8", "exit_8_2", "exit_8_k"],
    ["enter_9", "enter_9_2", "enter_9_k", "exit_9", "exit_9_2", "exit_9_k"],
    ["enter_10", "enter_10_2", "enter_10_k", "exit_10", "exit_10_2", "exit_10_k"],
    ["enter_11", "enter_11_2", "enter_11_k", "exit_11", "exit_11_2", "exit_11_k"],
    ["enter_12", "enter_12_2", "enter_12_k", "exit_12", "exit_12_2", "exit_12_k"],
    ["enter_13", "enter_13_2", "enter_13_k", "exit_13", "exit_13_2", "exit_13_k"],
    ["enter_14", "enter_14_2", "enter_14_k", "exit_14", "exit_14_2", "exit_14_k"],
    ["enter_15", "enter_15_2", "enter_15_k", "exit_15", "exit_15_2", "exit_15_k"],
    ["enter_16", "enter_16_2", "enter_16_k", "exit_16", "exit_16_2", "exit_16_k"],
    ["enter_17", "enter_17_2", "enter_17_k", "exit_17", "exit_17_2", "exit_17_k"],
    ["enter_18", "enter_18_2", "enter_18_k", "exit_18", "exit_18_2", "exit_18_k"],
];

/// The doors of 32-bit callers go without: each program costs every start of the tracer, and nobody mounts in bursts there.
const fn with_second(door: usize, candidate: Candidate, second: &'static str) -> Candidate {
    if DOORS[door].compat { candidate } else { candidate.with_second(second) }
}

static ENTRIES: [[Candidate; 1]; DOORS.len()] = {
    let mut all = [[entry("", "", "")]; DOORS.len()];
    let mut door = 0;
    while door < DOORS.len() {
        let [enter, second, enter_probe, ..] = DOOR_PROGRAMS[door];
        all[door] = [with_second(door, entry(DOORS[door].function, enter, enter_probe), second)];
        door += 1;
    }
    all
};

static EXITS: [[Candidate; 1]; DOORS.len()] = {
    let mut all = [[entry("", "", "")]; DOORS.len()];
    let mut door = 0;
    while door < DOORS.len() {
        let [.., leave, second, leave_probe] = DOOR_PROGRAMS[door];
        all[door] = [with_second(door, exit(DOORS[door].function, leave, leave_probe, None), second)];
        door += 1;
    }
    all
};
