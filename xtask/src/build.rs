//! Builds what a guest runs: static binaries for musl, named by cargo itself so that any target directory works.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::guest::Arch;
use crate::host;

/// Builds `mount-tracer` and `xtask` for a guest and returns their paths.
pub(crate) fn guest_binaries(arch: Arch) -> Result<Vec<PathBuf>> {
    cargo_executables(&["build", "--release", "--target", arch.target(), "-p", "tracer", "-p", "xtask"])
}

/// Builds `mount-tracer` alone for a guest.
pub(crate) fn guest_tracer(arch: Arch) -> Result<Vec<PathBuf>> {
    cargo_executables(&["build", "--release", "--target", arch.target(), "-p", "tracer"])
}

/// Builds the empty probe that benches compare with, for the guest.
pub(crate) fn wake_floor() -> Result<Vec<PathBuf>> {
    cargo_executables(&["build", "--release", "--target", Arch::Amd64.target(), "-p", "wake-floor"])
}

/// Builds `mount-tracer` for this machine, beside this program.
pub(crate) fn native_binary() -> Result<()> {
    cargo_executables(&["build", "-p", "tracer"]).map(drop)
}

/// Builds the guest tests (a libtest-mimic harness) and returns the one executable.
pub(crate) fn guest_tests(arch: Arch) -> Result<PathBuf> {
    let arguments = ["test", "--release", "--target", arch.target(), "-p", "tracer", "--test", "guest", "--no-run"];
    let found = cargo_executables(&arguments)?;
    found
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("guest-")))
        .context("cargo built the test target `guest` of `tracer` but named no executable for it")
}

/// Runs cargo and returns the executables it names; its own messages go to stderr as they come.
fn cargo_executables(arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = host::command("cargo");
    command.args(arguments).arg("--message-format=json-render-diagnostics").current_dir(host::root()?);
    command.stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot start `{}`", host::shown(&command)))?;
    if !output.status.success() {
        bail!("`cargo {}` failed; the compiler's messages are above", arguments.join(" "));
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines.lines().filter_map(executable).collect())
}

fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}

/// The directory that cargo builds into.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let text = host::capture(
        host::command("cargo").args(["metadata", "--format-version=1", "--no-deps"]).current_dir(host::root()?),
    )?;
    let metadata: Value = serde_json::from_str(&text).context("reading what cargo metadata prints")?;
    let dir = metadata.get("target_directory").and_then(Value::as_str);
    dir.map(PathBuf::from).context("cargo metadata names no target directory")
}
