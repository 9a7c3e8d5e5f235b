//! THE KERNEL: watches where mounts really change and writes facts to the rings. It decides nothing and knows no
//! Kubernetes.
//!
//! This file is the list of programs. Each hook has two: a trampoline's (`fentry`, `fexit`) and its twin for probes
//! (`_k`), with one body. A return probe does not know the arguments, so that a probe at the entry (`_s`) saves them.
//! What runs outside of sections has a second trampoline's program (`_2`), for preemptible kernels: see [`turn`].
//! Which function a program is attached to is chosen by the agent: `probe/hooks.rs` has the one table.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::inline_always,
    clippy::needless_pass_by_value,
    reason = "registers are 64 bit and helpers take 32; the verifier wants programs without calls; aya's macros hand \
              the context over by value"
)]

mod bare;
mod calls;
mod cgroups;
mod clones;
mod context;
mod emit;
mod failures;
mod globals;
mod maps;
mod mount;
mod namespaces;
mod propagation;
mod read;
mod released;
mod section;
mod seed;
mod setting;
mod steps;
mod tables;
mod targets;
mod tree;
mod turn;
mod walk;

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, kprobe, kretprobe},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use tracer_common::{fact::kind, hook};

use crate::{
    context::{Entry as _, Return, call_result, save},
    turn::Turn,
};

/// The programs of a hook at a function's entry.
macro_rules! entry {
    ($name:ident, $twin:ident, $body:path) => {
        #[fentry]
        fn $name(context: FEntryContext) -> i32 {
            $body(&context);
            0
        }

        #[kprobe]
        fn $twin(context: ProbeContext) -> u32 {
            $body(&context);
            0
        }
    };
}

/// The programs of a hook at a function's exit.
macro_rules! exit {
    ($name:ident, $twin:ident, $save:ident, $hook:path, $body:path) => {
        #[fexit]
        fn $name(context: FExitContext) -> i32 {
            $body(&context);
            0
        }

        #[kprobe]
        fn $save(context: ProbeContext) -> u32 {
            save(&context, $hook);
            0
        }

        #[kretprobe]
        fn $twin(context: RetProbeContext) -> u32 {
            if let Some(context) = Return::new(&context, $hook) {
                $body(&context);
            }
            0
        }
    };
}

/// The programs of a hook at a function's entry, outside of sections.
macro_rules! entry_outside {
    ($name:ident, $second:ident, $twin:ident, $body:path) => {
        #[fentry]
        fn $name(context: FEntryContext) -> i32 {
            $body(&context, Turn::First);
            0
        }

        #[fentry]
        fn $second(context: FEntryContext) -> i32 {
            $body(&context, Turn::Second);
            0
        }

        #[kprobe]
        fn $twin(context: ProbeContext) -> u32 {
            $body(&context, Turn::First);
            0
        }
    };
}

/// The programs of a hook at a function's exit, outside of sections.
macro_rules! exit_outside {
    ($name:ident, $second:ident, $twin:ident, $save:ident, $hook:path, $body:path) => {
        #[fexit]
        fn $name(context: FExitContext) -> i32 {
            $body(&context, Turn::First);
            0
        }

        #[fexit]
        fn $second(context: FExitContext) -> i32 {
            $body(&context, Turn::Second);
            0
        }

        #[kprobe]
        fn $save(context: ProbeContext) -> u32 {
            save(&context, $hook);
            0
        }

        #[kretprobe]
        fn $twin(context: RetProbeContext) -> u32 {
            if let Some(context) = Return::new(&context, $hook) {
                $body(&context, Turn::First);
            }
            0
        }
    };
}

/// The programs of a door: entry and exit of a system call's function.
macro_rules! door {
    ($number:literal, $enter:ident, $enter_2:ident, $enter_twin:ident, $exit:ident, $exit_2:ident, $exit_twin:ident) => {
        #[fentry]
        fn $enter(context: FEntryContext) -> i32 {
            calls::begins($number, context.argument(0), Turn::First);
            0
        }

        #[fentry]
        fn $enter_2(context: FEntryContext) -> i32 {
            calls::begins($number, context.argument(0), Turn::Second);
            0
        }

        #[kprobe]
        fn $enter_twin(context: ProbeContext) -> u32 {
            calls::begins($number, context.argument(0), Turn::First);
            0
        }

        #[fexit]
        fn $exit(context: FExitContext) -> i32 {
            calls::ends($number, context.argument(0), call_result(&context), Turn::First);
            0
        }

        #[fexit]
        fn $exit_2(context: FExitContext) -> i32 {
            calls::ends($number, context.argument(0), call_result(&context), Turn::Second);
            0
        }

        #[kretprobe]
        fn $exit_twin(context: RetProbeContext) -> u32 {
            if let Some(registers) = calls::registers() {
                calls::ends($number, registers, context.ret(), Turn::First);
            }
            0
        }
    };
}

entry!(tree_enters, tree_enters_k, tables::tree_enters);
entry!(mount_enters, mount_enters_k, tables::mount_enters);
entry!(copy, copy_k, tables::copy_is_put);
entry!(has_place, has_place_k, tables::tree_has_its_place);
exit!(moved, moved_k, moved_s, hook::MOVE, tables::tree_moved);
exit!(detach, detach_k, detach_s, hook::DETACH, tables::list_detached);
exit!(change, change_k, change_s, hook::CHANGE, propagation::propagation_changed);
entry!(tree_goes, tree_goes_k, tables::tree_goes);
exit!(reparent, reparent_k, reparent_s, hook::REPARENT, tables::reparented);
entry!(group_end, group_end_k, propagation::group_ends);
exit!(cloned, cloned_k, cloned_s, hook::CLONE, clones::cloned);
entry_outside!(namespace_copy, namespace_copy_2, namespace_copy_k, namespaces::copy_begins);
exit_outside!(
    namespace_made,
    namespace_made_2,
    namespace_made_k,
    namespace_made_s,
    hook::NAMESPACE_MADE,
    namespaces::made
);
exit_outside!(mount_target, mount_target_2, mount_target_k, mount_target_s, hook::MOUNT_TARGET, targets::mount_target);
entry_outside!(umount_target, umount_target_2, umount_target_k, targets::umount_target);
entry_outside!(listed, listed_2, listed_k, seed::listed);
entry_outside!(released, released_2, released_k, released::released);
entry_outside!(move_target, move_target_2, move_target_k, targets::move_target);
entry_outside!(pivot_target, pivot_target_2, pivot_target_k, targets::pivot_target);
exit_outside!(umount_kept, umount_kept_2, umount_kept_k, umount_kept_s, hook::UMOUNT_KEPT, targets::umount_kept);

// Many look up paths that have nothing to do with mounts: they are let go at once, and nothing is saved for them.
#[fexit]
fn setattr_target(context: FExitContext) -> i32 {
    if setting::is_anybody() {
        targets::setattr_target(&context, Turn::First);
    }
    0
}

#[fexit]
fn setattr_target_2(context: FExitContext) -> i32 {
    if setting::is_anybody() {
        targets::setattr_target(&context, Turn::Second);
    }
    0
}

#[kprobe]
fn setattr_target_s(context: ProbeContext) -> u32 {
    if setting::is_anybody() && setting::is_this_thread() {
        save(&context, hook::SETATTR_TARGET);
    }
    0
}

#[kretprobe]
fn setattr_target_k(context: RetProbeContext) -> u32 {
    if setting::is_anybody()
        && let Some(context) = Return::new(&context, hook::SETATTR_TARGET)
    {
        targets::setattr_target(&context, Turn::First);
    }
    0
}

door!(0, enter_0, enter_0_2, enter_0_k, exit_0, exit_0_2, exit_0_k);
door!(1, enter_1, enter_1_2, enter_1_k, exit_1, exit_1_2, exit_1_k);
door!(2, enter_2, enter_2_2, enter_2_k, exit_2, exit_2_2, exit_2_k);
door!(3, enter_3, enter_3_2, enter_3_k, exit_3, exit_3_2, exit_3_k);
door!(4, enter_4, enter_4_2, enter_4_k, exit_4, exit_4_2, exit_4_k);
door!(5, enter_5, enter_5_2, enter_5_k, exit_5, exit_5_2, exit_5_k);
door!(6, enter_6, enter_6_2, enter_6_k, exit_6, exit_6_2, exit_6_k);
door!(7, enter_7, enter_7_2, enter_7_k, exit_7, exit_7_2, exit_7_k);
door!(8, enter_8, enter_8_2, enter_8_k, exit_8, exit_8_2, exit_8_k);
door!(9, enter_9, enter_9_2, enter_9_k, exit_9, exit_9_2, exit_9_k);
door!(10, enter_10, enter_10_2, enter_10_k, exit_10, exit_10_2, exit_10_k);
door!(11, enter_11, enter_11_2, enter_11_k, exit_11, exit_11_2, exit_11_k);
door!(12, enter_12, enter_12_2, enter_12_k, exit_12, exit_12_2, exit_12_k);
door!(13, enter_13, enter_13_2, enter_13_k, exit_13, exit_13_2, exit_13_k);
door!(14, enter_14, enter_14_2, enter_14_k, exit_14, exit_14_2, exit_14_k);
door!(15, enter_15, enter_15_2, enter_15_k, exit_15, exit_15_2, exit_15_k);
door!(16, enter_16, enter_16_2, enter_16_k, exit_16, exit_16_2, exit_16_k);
door!(17, enter_17, enter_17_2, enter_17_k, exit_17, exit_17_2, exit_17_k);
door!(18, enter_18, enter_18_2, enter_18_k, exit_18, exit_18_2, exit_18_k);

#[fentry]
fn section_end(_: FEntryContext) -> i32 {
    section::ends();
    0
}

#[kprobe]
fn section_end_k(_: ProbeContext) -> u32 {
    section::ends();
    0
}

#[btf_tracepoint]
fn cgroup_mkdir(context: BtfTracePointContext) -> i32 {
    cgroups::changed(&context, hook::CGROUP_MKDIR, maps::short::CGROUP_MKDIR, kind::CGROUP_MKDIR);
    0
}

#[btf_tracepoint]
fn cgroup_rmdir(context: BtfTracePointContext) -> i32 {
    cgroups::changed(&context, hook::CGROUP_RMDIR, maps::short::CGROUP_RMDIR, kind::CGROUP_RMDIR);
    0
}

#[btf_tracepoint]
fn cgroup_attach_task(context: BtfTracePointContext) -> i32 {
    cgroups::entered(&context);
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
