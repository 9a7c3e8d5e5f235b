//! Builds the eBPF object in both of its ways, so that plain `cargo build` builds everything.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain, build_ebpf};

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=../tracer-common/src");
    // aya-ebpf needs inline assembly of the BPF target, and `core` is built from source: both are nightly features.
    // Set here and not for the workspace: other crates look for it and change what they build.
    // SAFETY: the build script has one thread.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    build(&["repeat"]).and_then(|()| keep_as("tracer-ebpf-repeat"))?;
    build(&[])
}

/// The object with these features.
fn build(features: &[&str]) -> Result<()> {
    let package = Package { name: "tracer-ebpf", root_dir: "../tracer-ebpf", features, ..Package::default() };
    build_ebpf([package], Toolchain::Custom("1.95.0"))
        .context("building the eBPF object; `cargo xtask setup` installs bpf-linker and the sources of core")
}

/// Keeps the object that was built last under another name: the next one takes its own.
fn keep_as(name: &str) -> Result<()> {
    let directory = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    fs::rename(directory.join("tracer-ebpf"), directory.join(name)).context("keeping the first eBPF object")
}
