//! The least that can be told of a mount: one timestamp at the end of each call, and a wake-up. What mount-tracer costs
//! is compared with this.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::BPF_RB_FORCE_WAKEUP,
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::{fexit, map},
    maps::RingBuf,
    programs::FExitContext,
};

/// Room for the records of one round: 16 bytes each with their head.
const RING_BYTES: u32 = 256 << 10;

/// The stamps, to the reader.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// `int path_mount(const char *dev_name, struct path *path, const char *type, unsigned long flags, void *data)`
#[fexit(function = "path_mount")]
fn mount_exit(_: FExitContext) -> i32 {
    stamp()
}

/// `int path_umount(struct path *path, int flags)`
#[fexit(function = "path_umount")]
fn umount_exit(_: FExitContext) -> i32 {
    stamp()
}

/// The clock of mount-tracer's own records, `CLOCK_BOOTTIME` in nanoseconds.
fn stamp() -> i32 {
    // SAFETY: the helper takes nothing.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // A full ring loses the stamp; the bench counts what arrived.
    let _ = RING.output::<u64>(now, u64::from(BPF_RB_FORCE_WAKEUP));
    0
}

/// The licence that the kernel reads: GPL-compatible, so that the tracing helpers may be used.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
