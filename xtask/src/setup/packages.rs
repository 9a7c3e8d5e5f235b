//! The Debian side of the set-up: the programs that make and run guests. Uses the machine's own package sources; the
//! backports suite is added for one command only, in a copy of the source list.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Piece;
use crate::guest::{Arch, System, sources};
use crate::host;

/// The program that shows that a package is there, and the package; the emulator, which depends on the guest, apart.
const PROGRAMS: [(&str, &str); 7] = [
    ("musl-gcc", "musl-tools"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
];

/// What the root file system of a node is made with.
const FOR_NODES: (&str, &str) = ("mmdebstrap", "mmdebstrap");

pub(super) fn missing(arch: Arch, system: System) -> Vec<Piece> {
    let for_nodes = (system == System::Node).then_some(FOR_NODES);
    let programs = PROGRAMS.into_iter().chain([arch.emulator()]).chain(for_nodes);
    let absent = programs.filter(|(program, _)| host::find_program(program).is_none());
    let mut pieces: Vec<Piece> = absent.map(|(_, package)| piece(package)).collect();
    if !has_static_busybox() {
        pieces.push(piece("busybox-static"));
    }
    pieces.extend(for_c(arch).iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, name)| piece(name)));
    pieces
}

/// What compiles the C of TLS's cryptography for another architecture: a file of each package, and the package.
fn for_c(arch: Arch) -> &'static [(&'static str, &'static str)] {
    match arch {
        Arch::Amd64 => &[],
        Arch::Arm64 => &[
            ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
            ("/usr/aarch64-linux-gnu/include/stdint.h", "libc6-dev-arm64-cross"),
        ],
    }
}

/// The guest has no libraries: a dynamic busybox does not start in it.
fn has_static_busybox() -> bool {
    let Some(path) = host::find_program("busybox") else { return false };
    fs::read(path).is_ok_and(|bytes| !contains(&bytes, b"/ld-linux"))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn piece(package: &'static str) -> Piece {
    Piece {
        name: format!("{package} (Debian package)"),
        remedy: format!("as root on Debian 12 or newer: `apt-get update && apt-get install {package}`"),
        install: Box::new(move || install(package)),
    }
}

fn install(package: &str) -> Result<String> {
    if !rustix::process::geteuid().is_root() {
        bail!("installing a package needs root");
    }
    if host::find_program("apt-get").is_none() {
        bail!("there is no `apt-get`: this is not Debian");
    }
    if package.starts_with("qemu-system-") && from_backports(package).is_ok() {
        return Ok(format!("{} from backports", version(package)?));
    }
    if apt(&[], &["install", package]).is_err() {
        apt(&[], &["update"])?;
        apt(&[], &["install", package])?;
    }
    version(package)
}

fn from_backports(package: &str) -> Result<()> {
    let codename = sources::codename()?;
    let suite = format!("{codename}-backports");
    let parts = extra_parts(&codename, &suite)?;
    let option = format!("Dir::Etc::sourceparts={}", parts.display());
    apt(&[&option], &["update"])?;
    apt(&[&option], &["install", "-t", &suite, package])
}

/// A copy of the machine's source parts with the backports suite added.
fn extra_parts(codename: &str, suite: &str) -> Result<PathBuf> {
    let main = sources::serving(codename)?;
    let parts = host::guest_dir()?.join("backports.sources.d");
    fs::create_dir_all(&parts).with_context(|| format!("creating {}", parts.display()))?;
    for file in sources::parts() {
        copy_into(&file, &parts)?;
    }
    let file = parts.join("mount-tracer-backports.sources");
    fs::write(&file, main.stanza(&[suite])).with_context(|| format!("writing {}", file.display()))?;
    Ok(parts)
}

fn copy_into(file: &Path, dir: &Path) -> Result<()> {
    let name = file.file_name().context("a source part without a name")?;
    fs::copy(file, dir.join(name)).with_context(|| format!("copying {}", file.display()))?;
    Ok(())
}

fn apt(options: &[&str], arguments: &[&str]) -> Result<()> {
    let mut command = host::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y", "--no-install-recommends"]);
    command.args(["-o", "DPkg::Lock::Timeout=300"]);
    for option in options {
        command.args(["-o", option]);
    }
    host::capture(command.args(arguments)).map(drop)
}

fn version(package: &str) -> Result<String> {
    let text = host::capture(host::command("dpkg-query").args(["--show", "--showformat=${Version}", package]))?;
    Ok(text.trim().to_owned())
}
