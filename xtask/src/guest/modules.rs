//! Kernel modules for a guest: what to load and in which order, read from the kernel's own index. Only what is asked
//! for gets packed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;
use crate::host;

/// The files to load for these modules, dependencies first. Built-in modules need nothing.
pub(super) fn closure(kernel: &Kernel, names: &[String]) -> Result<Vec<PathBuf>> {
    let dir = kernel.modules();
    let index = index(&dir)?;
    let mut files = Vec::new();
    let aliases = fs::read_to_string(dir.join("modules.alias")).unwrap_or_default();
    for name in names {
        let module = aliased(&aliases, name).map_or_else(|| normal(name), normal);
        let Some((file, needs)) = index.get(&module) else {
            check_built_in(kernel, name)?;
            continue;
        };
        // modules.dep lists what a module needs in the reverse of the order to load.
        for file in needs.iter().rev().chain([file]) {
            let path = dir.join(file);
            if !files.contains(&path) {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Those of these modules that the kernel has as files.
pub(super) fn there(kernel: &Kernel, names: &[String]) -> Result<Vec<String>> {
    let index = index(&kernel.modules())?;
    Ok(names.iter().filter(|name| index.contains_key(&normal(name))).cloned().collect())
}

/// The module as the kernel takes it: not compressed.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let unpack = |program: &str| -> Result<Vec<u8>> {
        let mut command: Command = host::command(program);
        let output = command.arg("-dc").arg(path).output().with_context(|| format!("cannot start `{program}`"))?;
        if !output.status.success() {
            bail!("`{}` failed: {}", host::shown(&command), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output.stdout)
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => unpack("xz"),
        Some("zst") => unpack("zstd"),
        _ => fs::read(path).with_context(|| format!("reading {}", path.display())),
    }
}

/// Module name -> its file and the files it needs.
fn index(dir: &Path) -> Result<BTreeMap<String, (String, Vec<String>)>> {
    let path = dir.join("modules.dep");
    let text = fs::read_to_string(&path).with_context(|| {
        format!("reading {}; remove the kernel's directory and run `cargo xtask setup` again", path.display())
    })?;
    Ok(text.lines().filter_map(entry).collect())
}

fn entry(line: &str) -> Option<(String, (String, Vec<String>))> {
    let (file, needs) = line.split_once(':')?;
    let needs = needs.split_whitespace().map(String::from).collect();
    Some((module_name(file)?, (file.to_owned(), needs)))
}

/// The module that has another name too: what it does (`crc32c`), and is in a module of its own on some kernels only.
fn aliased<'a>(aliases: &'a str, name: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.strip_prefix("alias ")?.strip_prefix(name)?.strip_prefix(' ');
    aliases.lines().find_map(of)
}

fn check_built_in(kernel: &Kernel, name: &str) -> Result<()> {
    let Ok(text) = fs::read_to_string(kernel.modules().join("modules.builtin")) else { return Ok(()) };
    let wanted = normal(name);
    if !text.lines().filter_map(module_name).any(|built_in| built_in == wanted) {
        bail!("kernel {} has no module `{name}`, neither built in nor loadable; ask for another", kernel.release);
    }
    Ok(())
}

/// `kernel/drivers/md/dm-mod.ko.xz` -> `dm_mod`
fn module_name(file: &str) -> Option<String> {
    let name = file.rsplit('/').next()?.split(".ko").next()?;
    Some(normal(name))
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_does_names_it() {
        let aliases = "alias fs-btrfs btrfs\nalias crc32c-intel crc32c_intel\nalias crc32c crc32c_cryptoapi\n";
        assert_eq!(aliased(aliases, "crc32c"), Some("crc32c_cryptoapi"));
        assert_eq!(aliased(aliases, "btrfs"), None, "its own name");
    }

    #[test]
    fn an_index_line_gives_name_file_and_needs() {
        let (name, (file, needs)) = entry("kernel/md/dm-mod.ko.xz: kernel/a.ko kernel/b.ko").unwrap();
        assert_eq!((name.as_str(), file.as_str()), ("dm_mod", "kernel/md/dm-mod.ko.xz"));
        assert_eq!(needs, ["kernel/a.ko", "kernel/b.ko"]);
    }
}
