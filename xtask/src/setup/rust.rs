//! The Rust side of the set-up: components and target of the pinned toolchain, and the linker of eBPF objects.

use std::fs;

use anyhow::{Context, Result, bail};

use super::Piece;
use crate::guest::Arch;
use crate::host;

const COMPONENTS: [&str; 3] = ["rust-src", "clippy", "rustfmt"];
/// Carries the LLVM that understands what rustc 1.95 emits.
const BPF_LINKER: &str = "0.10.4";
const RUSTUP_REMEDY: &str = "install rustup from https://rustup.rs and run `cargo xtask setup` again";

pub(super) fn missing(arch: Arch) -> Result<Vec<Piece>> {
    let channel = channel()?;
    let installed =
        host::capture(host::command("rustup").args(["component", "list", "--installed", "--toolchain", &channel]));
    let installed = installed.unwrap_or_default();
    let has = |name: &str| installed.lines().any(|line| line == name || line.starts_with(&format!("{name}-")));
    let components = COMPONENTS.iter().filter(|name| !has(name)).map(|name| rustup("component", name, &channel));
    let mut pieces: Vec<Piece> = components.collect();
    if !has(&format!("rust-std-{}", arch.target())) {
        pieces.push(rustup("target", arch.target(), &channel));
    }
    if !has_bpf_linker() {
        pieces.push(bpf_linker());
    }
    Ok(pieces)
}

/// The toolchain that `rust-toolchain.toml` pins.
fn channel() -> Result<String> {
    let path = host::root()?.join("rust-toolchain.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let value = text.lines().find_map(|line| line.strip_prefix("channel")?.trim().strip_prefix('='));
    let value =
        value.with_context(|| format!("{} has no `channel = \"...\"` line; restore it from git", path.display()))?;
    Ok(value.trim().trim_matches('"').to_owned())
}

/// One `rustup component add` or `rustup target add`.
fn rustup(kind: &'static str, name: &str, channel: &str) -> Piece {
    let arguments = [kind, "add", "--toolchain", channel, name].map(String::from);
    let shown = format!("rustup {}", arguments.join(" "));
    Piece {
        name: format!("{name} (rustup {kind})"),
        remedy: format!("run `{shown}`; without rustup, {RUSTUP_REMEDY}"),
        install: Box::new(move || {
            if host::find_program("rustup").is_none() {
                bail!("there is no `rustup` in PATH");
            }
            host::capture(host::command("rustup").args(&arguments))?;
            Ok(String::from("with rustup"))
        }),
    }
}

fn has_bpf_linker() -> bool {
    let version = host::capture(host::command("bpf-linker").arg("--version"));
    version.is_ok_and(|text| text.split_whitespace().any(|word| word == BPF_LINKER))
}

fn bpf_linker() -> Piece {
    let arguments = ["install", "bpf-linker", "--version", BPF_LINKER, "--locked"];
    Piece {
        name: format!("bpf-linker {BPF_LINKER} (two to four minutes)"),
        remedy: format!("run `cargo {}`; it needs the crate registry and a C++ compiler", arguments.join(" ")),
        install: Box::new(move || {
            host::stream(host::command("cargo").args(arguments))?;
            if !has_bpf_linker() {
                bail!(
                    "cargo installed it, but `bpf-linker --version` in PATH is not {BPF_LINKER}: put ~/.cargo/bin first"
                );
            }
            Ok(format!("version {BPF_LINKER}"))
        }),
    }
}
