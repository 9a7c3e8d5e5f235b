//! Builds the eBPF object of the floor, as the agent's build script does with its own.

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain, build_ebpf};

fn main() -> Result<()> {
    // aya-ebpf needs inline assembly of the BPF target, and `core` is built from source: both are nightly features.
    // Set here and not for the workspace: other crates look for it and change what they build.
    // SAFETY: the build script has one thread.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    let package = Package { name: "wake-floor-ebpf", root_dir: "../floor-ebpf", ..Package::default() };
    build_ebpf([package], Toolchain::Custom("1.95.0"))
        .context("building the eBPF object; `cargo xtask setup` installs bpf-linker and the sources of core")
}
