//! arm64, and arm for its 32-bit callers.

/// The function by which a system call is entered: by 32-bit callers too, for every call of which both have the same arguments.
macro_rules! own_door {
    ($call:literal) => {
        concat!("__arm64_sys_", $call)
    };
}

/// The function of 32-bit callers where theirs differ. No call that is traced has one today, and check says so.
macro_rules! compat_door {
    ($call:literal) => {
        concat!("__arm64_compat_sys_", $call)
    };
}

pub(crate) use {compat_door, own_door};

/// Where `struct pt_regs` has the arguments of a call, in bytes, in their order: x0 to x5.
pub const REGISTERS: [u64; 6] = [0, 8, 16, 24, 32, 40];
/// The same for 32-bit callers: r0 to r5.
pub const COMPAT_REGISTERS: [u64; 6] = REGISTERS;
/// The member of `struct pt_regs` with the number of the call.
pub const CALL_NUMBER: &str = "syscallno";
/// The size of `struct pt_regs` on kernels that have no helper to find it (before 5.15).
pub const REGISTERS_BYTES: u64 = 336;

/// Numbers of `asm-generic/unistd.h`, and of arm's `asm/unistd.h` where they differ. No two of them stand for another call of
/// these in the other table.
pub const CLONE: u32 = 220;
/// See [`CLONE`].
pub const CLONE_32: u32 = 120;
/// See [`CLONE`].
pub const UNSHARE: u32 = 97;
/// See [`CLONE`].
pub const UNSHARE_32: u32 = 337;
