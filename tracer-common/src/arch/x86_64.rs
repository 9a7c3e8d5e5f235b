//! x86-64, and i386 for its 32-bit callers.

/// The function by which 64-bit callers enter a system call.
macro_rules! own_door {
    ($call:literal) => {
        concat!("__x64_sys_", $call)
    };
}

/// The function by which 32-bit callers enter it.
macro_rules! compat_door {
    ($call:literal) => {
        concat!("__ia32_sys_", $call)
    };
}

pub(crate) use {compat_door, own_door};

/// Where `struct pt_regs` has the arguments of a call, in bytes, in their order: di, si, dx, r10, r8, r9.
pub const REGISTERS: [u64; 6] = [112, 104, 96, 56, 72, 64];
/// The same for 32-bit callers: bx, cx, dx, si, di, bp.
pub const COMPAT_REGISTERS: [u64; 6] = [40, 88, 96, 104, 112, 32];
/// The member of `struct pt_regs` with the number of the call, in its lower half.
pub const CALL_NUMBER: &str = "orig_ax";
/// The size of `struct pt_regs` on kernels that have no helper to find it (before 5.15).
pub const REGISTERS_BYTES: u64 = 168;

/// Numbers of `asm/unistd_64.h`, and of `asm/unistd_32.h` where they differ. No two of them stand for another call of these in
/// the other table.
pub const CLONE: u32 = 56;
/// See [`CLONE`].
pub const CLONE_32: u32 = 120;
/// See [`CLONE`].
pub const UNSHARE: u32 = 272;
/// See [`CLONE`].
pub const UNSHARE_32: u32 = 310;
