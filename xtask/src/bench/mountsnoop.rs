//! The peer: mountsnoop of Debian's libbpf-tools with the libraries it loads, all of one suite, unpacked once to
//! `target/guest/mountsnoop`. Always this version, so that figures stay comparable.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::guest::archive::Archive;
use crate::guest::{Arch, GuestFile};
use crate::host;

/// The suite with libbpf-tools 0.26.0, whose mountsnoop is one program without a compiler.
const SUITE: &str = "bookworm";
const PACKAGES: [&str; 4] = ["libbpf-tools", "libelf1", "zlib1g", "libc6"];
/// Where the packages have it, and where the guest wants it.
const FILES: [(&str, &str); 5] = [
    ("usr/sbin/mountsnoop", "/bin/mountsnoop"),
    ("usr/lib/x86_64-linux-gnu/libelf.so.1", "/lib/x86_64-linux-gnu/libelf.so.1"),
    ("lib/x86_64-linux-gnu/libz.so.1", "/lib/x86_64-linux-gnu/libz.so.1"),
    ("lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6"),
    ("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
];

/// The program and its libraries for a guest, downloaded if they are not there.
pub(super) fn files() -> Result<Vec<GuestFile>> {
    let dir = host::guest_dir()?.join("mountsnoop");
    let tree = dir.join("tree");
    if !tree.is_dir() {
        download(&dir, &tree)?;
    }
    FILES.iter().map(|(from, to)| file(&tree, from, to)).collect()
}

fn file(tree: &Path, from: &str, to: &str) -> Result<GuestFile> {
    // Libraries are links to files with their version.
    let host = fs::canonicalize(tree.join(from))
        .with_context(|| format!("Debian's packages hold no {from}; remove {} and try again", tree.display()))?;
    Ok(GuestFile { host, guest: to.to_owned() })
}

fn download(dir: &Path, tree: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    Archive::of_suite(Arch::Amd64, SUITE)?.download(&PACKAGES.map(String::from), dir)?;
    let work = dir.join("tree.new");
    for package in packages(dir)? {
        host::capture(host::command("dpkg-deb").arg("-x").arg(&package).arg(&work))?;
        fs::remove_file(&package).with_context(|| format!("removing {}", package.display()))?;
    }
    fs::rename(&work, tree).with_context(|| format!("renaming {} to {}", work.display(), tree.display()))
}

fn packages(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let found: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    if found.len() != PACKAGES.len() {
        bail!("apt-get brought {} of the {} packages that mountsnoop needs", found.len(), PACKAGES.len());
    }
    Ok(found)
}
