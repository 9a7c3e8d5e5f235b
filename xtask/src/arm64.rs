//! `cargo xtask arm64`: the eBPF object on 64-bit ARM. In a guest for each kind of attachment `mount-tracer check` has to find
//! nothing missing, and the guest tests have to see what they mount, bind, move and unmount. Its processor is emulated
//! instruction by instruction, so this takes minutes and is no part of the short run.

use std::process::ExitCode;
use std::slice;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::guest::{self, Arch, GuestFile, Spec, System};
use crate::test::Attach;
use crate::{build, setup};

/// Several times what it takes.
const TIMEOUT: Duration = Duration::from_mins(30);
/// What is attached, that `check` says what is missing, and each way to mount, bind, move and unmount, also of trees, to where they
/// propagate, and in vain.
const SUBJECTS: &str = "links,check,operations,moves,trees,propagation,failures";
/// What needs a disk: the tools that format one are the machine's own and do not run here.
const WITH_DISK: [&str; 2] = ["operations::new_mount_of_a_disk", "operations::umount"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kernel series: 6.12, 6.18, ...
    #[arg(long, value_name = "SERIES", default_value = "6.12")]
    kernel: String,
    /// How to attach; repeat for both. Trampolines are there from 6.4 on [default: both]
    #[arg(long, value_enum, default_values = ["fentry", "kprobe"], hide_default_value = true)]
    attach: Vec<Attach>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    setup::ensure_for(Arch::Arm64, System::Busybox, slice::from_ref(&options.kernel))?;
    let binaries = build::guest_tracer(Arch::Arm64)?;
    let mut files: Vec<GuestFile> = binaries.into_iter().map(GuestFile::in_bin).collect();
    files.push(GuestFile { host: build::guest_tests(Arch::Arm64)?, guest: "/bin/guest-tests".to_owned() });
    for attach in &options.attach {
        checked_and_tested(&options.kernel, *attach, &files).with_context(|| format!("arm64, {}", attach.name()))?;
    }
    let kinds: Vec<&str> = options.attach.iter().map(|attach| attach.name()).collect();
    println!("arm64: kernel={} attach={} passed", options.kernel, kinds.join(","));
    Ok(ExitCode::SUCCESS)
}

fn checked_and_tested(kernel: &str, attach: Attach, files: &[GuestFile]) -> Result<()> {
    let mut spec = Spec::new(kernel, &["sh", "-c", &script(attach)]);
    spec.arch = Arch::Arm64;
    spec.timeout = TIMEOUT;
    spec.files = files.to_vec();
    spec.live = true;
    guest::run(&spec)?.success(&spec).map(drop)
}

/// Both have to pass, and the second one runs only if the first one did.
fn script(attach: Attach) -> String {
    let (attach, skipped) = (attach.name(), WITH_DISK.map(|trial| format!("--skip {trial}")).join(" "));
    format!(
        "mount-tracer check --attach {attach} && \
         exec env GUEST_ATTACH={attach} GUEST_TRIALS={SUBJECTS} guest-tests --test-threads=1 {skipped}"
    )
}
