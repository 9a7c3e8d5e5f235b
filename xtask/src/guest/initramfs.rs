//! What a guest starts from: our init, busybox, the command, and the files and modules asked for, written as one cpio archive
//! (format "newc") that the kernel unpacks at boot. It is all of a small guest, and the way to the root file system of a node.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;
use super::{Spec, System, modules, node};

const INIT: &str = include_str!("init.sh");
/// Runs the command in every guest.
const RUN: &str = include_str!("run.sh");
const FSTAB: &str = include_str!("fstab");
/// Where the initramfs keeps what becomes the guest's root.
const FILES: &str = "root-files";
const EMPTY: [&str; 8] = ["dev", "proc", "sys", "tmp", "run", "root", "mnt", "var/lib"];
/// What carries the guest's output; built in on some kernels, a module on others.
const CHANNEL: [&str; 2] = ["virtio_pci", "virtio_console"];

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_777;

/// The archive for a guest.
pub(super) fn build(spec: &Spec, kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.directory("moved");
    match spec.system {
        System::Busybox => pack_busybox(&mut archive, spec)?,
        System::Node => pack_node(&mut archive, spec)?,
    }
    archive.file(&placed("guest/run"), PLAIN, RUN.as_bytes());
    archive.file(&placed("guest/command"), PLAIN, script(&spec.command).as_bytes());
    pack_modules(&mut archive, spec, kernel)?;
    for file in &spec.files {
        let Some(path) = file.guest.strip_prefix('/') else {
            bail!("the guest's path `{}` must start with /", file.guest);
        };
        let path = if spec.system == System::Node { in_node(path)? } else { path.to_owned() };
        archive.host_file(&placed(&path), &file.host)?;
    }
    Ok(archive.finish())
}

/// All that a small guest is.
fn pack_busybox(archive: &mut Archive, spec: &Spec) -> Result<()> {
    // The first stage runs on the initramfs itself: its interpreter has to be there too.
    archive.directory("bin");
    archive.link("bin/busybox", "/root-files/bin/busybox");
    archive.file("init", EXECUTABLE, INIT.as_bytes());
    for name in EMPTY {
        archive.directory(&placed(name));
    }
    archive.host_file(&placed("bin/busybox"), &spec.arch.busybox()?)?;
    archive.file(&placed("init"), EXECUTABLE, INIT.as_bytes());
    archive.file(&placed("etc/fstab"), PLAIN, FSTAB.as_bytes());
    Ok(())
}

/// What leads to a node's root file system.
fn pack_node(archive: &mut Archive, spec: &Spec) -> Result<()> {
    archive.directory("bin");
    archive.link("bin/busybox", "/root-files/guest/busybox");
    archive.file("init", EXECUTABLE, node::INIT.as_bytes());
    archive.host_file(&placed("guest/busybox"), &spec.arch.busybox()?)?;
    archive.file(&placed("guest/start"), PLAIN, node::START.as_bytes());
    Ok(())
}

fn placed(name: &str) -> String {
    format!("{FILES}/{name}")
}

/// Where a file goes in a node: Debian's directories of programs and libraries are links into /usr, which must not be replaced.
fn in_node(path: &str) -> Result<String> {
    let top = path.split('/').next().unwrap_or_default();
    let path = if ["bin", "lib", "lib64", "sbin"].contains(&top) { format!("usr/{path}") } else { path.to_owned() };
    // The machine's C library in the place of Debian's, and nothing would start any more.
    if path.starts_with("usr/lib") {
        bail!("`/{path}` could replace a library of the node, which has its own; leave it out");
    }
    Ok(path)
}

/// A script that becomes the command, whatever its arguments contain.
fn script(command: &[String]) -> String {
    let words = command.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    format!("exec {}\n", words.collect::<Vec<_>>().join(" "))
}

fn pack_modules(archive: &mut Archive, spec: &Spec, kernel: &Kernel) -> Result<()> {
    let mut names: Vec<String> = CHANNEL.map(String::from).to_vec();
    if spec.system == System::Node {
        names.extend(node::MODULES.map(String::from));
    }
    names.extend(spec.modules.iter().cloned());
    names.extend(modules::there(kernel, &spec.modules_if_any)?);
    let mut list = String::new();
    for (number, path) in modules::closure(kernel, &names)?.iter().enumerate() {
        let name = format!("guest/module/{number}.ko");
        archive.file(&placed(&name), PLAIN, &modules::read(path)?);
        list.extend(["/", &name, "\n"]);
    }
    archive.file(&placed("guest/modules"), PLAIN, list.as_bytes());
    Ok(())
}

/// A cpio archive in memory.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    entries: usize,
}

impl Archive {
    /// A file of the host, with its permissions.
    fn host_file(&mut self, name: &str, path: &Path) -> Result<()> {
        let error = || format!("packing {} for the guest", path.display());
        let data = fs::read(path).with_context(error)?;
        let mode = fs::metadata(path).with_context(error)?.permissions().mode();
        self.file(name, REGULAR | (mode & 0o777), &data);
        Ok(())
    }

    fn file(&mut self, name: &str, mode: u32, data: &[u8]) {
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.directory(parent);
        }
        self.entry(name, mode, data);
    }

    /// A directory, after those above it; each once.
    fn directory(&mut self, name: &str) {
        let above = name.match_indices('/').map(|(at, _)| at);
        for end in above.chain([name.len()]) {
            if self.directories.insert(name[..end].to_owned()) {
                self.entry(&name[..end], DIRECTORY, &[]);
            }
        }
    }

    fn link(&mut self, name: &str, target: &str) {
        self.entry(name, LINK, target.as_bytes());
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.entries += 1;
        let links = 1;
        // inode, mode, uid, gid, links, mtime, size, four device numbers, length of the name with its zero, checksum
        let mode = usize::try_from(mode).unwrap_or_default();
        let fields = [self.entries, mode, 0, 0, links, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_quoting() {
        let command = ["sh", "-c", "echo 'a b'; exit 7"].map(String::from);
        assert_eq!(script(&command), "exec 'sh' '-c' 'echo '\\''a b'\\''; exit 7'\n");
    }

    #[test]
    fn programs_of_a_node_are_below_usr_and_libraries_are_its_own() {
        assert_eq!(in_node("bin/mount-tracer").unwrap(), "usr/bin/mount-tracer");
        assert_eq!(in_node("btrfs.img").unwrap(), "btrfs.img");
        assert_eq!(in_node("library/x").unwrap(), "library/x");
        assert!(in_node("lib64/ld-linux-x86-64.so.2").is_err());
        assert!(in_node("usr/lib/x86_64-linux-gnu/libc.so.6").is_err());
    }

    #[test]
    fn an_archive_has_directories_first_and_is_aligned() {
        let mut archive = Archive::default();
        archive.file("a/b", PLAIN, b"xyz");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..14], b"07070100000001");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.find("a\0").unwrap() < text.find("a/b\0").unwrap());
        assert!(text.contains("TRAILER!!!"));
    }
}
