//! The steps that need no guest: format, lints of both targets, unit and golden tests (tidiness is among them).

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Report;
use super::count::Count;
use crate::{build, host};

/// They build for their own target only, and are linted there.
const EBPF_CRATES: [&str; 2] = ["tracer-ebpf", "wake-floor-ebpf"];
const DENY: [&str; 3] = ["--", "-D", "warnings"];
/// As aya-build sets it: aya-ebpf chooses its registers by it.
const EBPF_FLAGS: &str = "--cfg=bpf_target_arch=\"x86_64\"";

pub(super) fn run(report: &mut Report) {
    report.step("cargo fmt", || plain(&mut cargo(&["fmt", "--all", "--check"])?));
    report.step("cargo clippy", || {
        plain(cargo(&["clippy", "--workspace", "--all-targets"])?.args(without_ebpf()).args(DENY))
    });
    // Its `test = false` keeps it out of `cargo test`, and out of `--all-targets` as well.
    report.step("cargo clippy of the guest tests", || {
        plain(cargo(&["clippy", "-p", "tracer", "--test", "guest"])?.args(DENY))
    });
    report.step("cargo clippy of the eBPF programs", || {
        plain(&mut ebpf_clippy(&[])?)?;
        plain(&mut ebpf_clippy(&["--features", "tracer-ebpf/repeat"])?)
    });
    report.step("cargo test", || unit_tests(cargo(&["test", "--workspace", "--no-fail-fast"])?.args(without_ebpf())));
}

fn without_ebpf() -> impl Iterator<Item = &'static str> {
    EBPF_CRATES.iter().flat_map(|name| ["--exclude", name])
}

fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut command = host::command("cargo");
    command.args(arguments).current_dir(host::root()?);
    Ok(command)
}

/// A command without tests to count.
fn plain(command: &mut Command) -> Result<Count> {
    host::stream(command).map(|()| Count::default())
}

/// In each way in which the object is built.
fn ebpf_clippy(features: &[&str]) -> Result<Command> {
    let mut command = cargo(&["clippy", "--target", "bpfel-unknown-none", "-Z", "build-std=core"])?;
    command.args(features).args(EBPF_CRATES.iter().flat_map(|name| ["-p", name])).args(DENY);
    // `core` from source and the target are nightly features; the pinned toolchain takes them with this.
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", EBPF_FLAGS);
    command.env("CARGO_TARGET_DIR", build::target_dir()?.join("ebpf-clippy"));
    Ok(command)
}

/// Runs the tests with their output shown, and counts.
fn unit_tests(command: &mut Command) -> Result<Count> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let text = host::echoed(child.stdout.take()).context("reading what cargo test prints")?;
    let status = child.wait().context("waiting for cargo test")?;
    Count::of(&text).checked(status.success(), "cargo test")
}
