//! Puts programs that make file systems into a guest: busybox makes ext2 only.

use anyhow::{Context as _, Result};

use super::GuestFile;
use crate::host;

/// The host's mkfs.ext4 with all that it loads, each at its own path.
pub(crate) fn ext4_tools() -> Result<Vec<GuestFile>> {
    tool("mkfs.ext4", "e2fsprogs")
}

/// And its mkfs.btrfs.
pub(crate) fn btrfs_tools() -> Result<Vec<GuestFile>> {
    tool("mkfs.btrfs", "btrfs-progs")
}

fn tool(name: &str, package: &str) -> Result<Vec<GuestFile>> {
    let tool = host::find_program(name).with_context(|| format!("there is no {name}; install {package}"))?;
    let loaded = host::capture(host::command("ldd").arg(&tool))?;
    let mut files = vec![GuestFile { host: tool, guest: format!("/bin/{name}") }];
    files.extend(
        loaded.lines().filter_map(loaded_file).map(|path| GuestFile { host: path.into(), guest: path.to_owned() }),
    );
    Ok(files)
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or the loader alone: `/lib64/ld-linux-x86-64.so.2 (0x…)`
fn loaded_file(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ldd() {
        assert_eq!(loaded_file("\tlinux-vdso.so.1 (0x00007ff1)"), None);
        assert_eq!(loaded_file("\tlibc.so.6 => /lib/x/libc.so.6 (0x00007ff1)"), Some("/lib/x/libc.so.6"));
        assert_eq!(loaded_file("\t/lib64/ld-linux-x86-64.so.2 (0x00007ff1)"), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(loaded_file("\tstatically linked"), None);
    }
}
