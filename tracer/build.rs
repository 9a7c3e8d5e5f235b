//! Builds the eBPF object in both of its ways, so that plain `cargo build` builds everything.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain, build_ebpf};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=../tracer-common/src");
    // aya-ebpf needs inline assembly of the BPF target, and `core` is built from source: both are nightly features.
    // Set here and not for the workspace: other crates look for it and change what they build.
    // SAFETY: the build script has one thread.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    build(&["repeat"]).and_then(|()| keep_as("tracer-ebpf-repeat"))?;
    build(&[])?;
    without_dwarf("tracer-ebpf-repeat").and_then(|()| without_dwarf("tracer-ebpf"))
}

/// The object with these features.
fn build(features: &[&str]) -> Result<()> {
    let package = Package { name: "tracer-ebpf", root_dir: "../tracer-ebpf", features, ..Package::default() };
    build_ebpf([package], Toolchain::Custom("1.95.0"))
        .context("building the eBPF object; `cargo xtask setup` installs bpf-linker and the sources of core")
}

/// Keeps the object that was built last under another name: the next one takes its own.
fn keep_as(name: &str) -> Result<()> {
    fs::rename(built("tracer-ebpf")?, built(name)?).context("keeping the first eBPF object")
}

/// Takes away what only a debugger reads: four fifths of the object, which would lie in every agent's memory. The kernel reads the types
/// in `.BTF`, which the compiler makes of the same.
fn without_dwarf(name: &str) -> Result<()> {
    let path = built(name)?;
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut object = Builder::read(&*bytes).with_context(|| format!("{} is no object", path.display()))?;
    for section in &mut object.sections {
        section.delete = [".debug_", ".rel.debug_"].iter().any(|start| section.name.starts_with(start.as_bytes()));
    }
    object.delete_orphans();
    // The linker puts the sections' names among the symbols'; what writes here wants them apart.
    let names = object.sections.add();
    (names.name, names.sh_type, names.data) = (b".shstrtab"[..].into(), SHT_STRTAB, SectionData::SectionString);
    let mut stripped = Vec::new();
    object.write(&mut stripped).context("writing the eBPF object without DWARF")?;
    fs::write(&path, stripped).with_context(|| format!("writing {}", path.display()))
}

/// Where an object lies.
fn built(name: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?).join(name))
}
