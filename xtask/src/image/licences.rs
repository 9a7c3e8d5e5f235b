//! The licences of the crates that are linked into the binary and into the eBPF object that it carries, as their packages have them: most ask
//! that their text goes along. Asks cargo, and reads what it has unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::guest::Arch;
use crate::host;

/// Whose dependencies are linked: the binary, and the object within it.
const LINKED: [&str; 2] = ["tracer", "tracer-ebpf"];
/// How names of files begin that hold a licence, in capitals.
const FILES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
const HEAD: &str = "\
The mount-tracer binary is linked from the crates below. Each text is followed by no other until the next line of `=`, and stands once for all
that have it.

Besides, it holds Rust's standard library (MIT OR Apache-2.0, https://www.rust-lang.org) and musl (MIT, copyright 2005-2020 Rich Felker, et al.,
https://musl.libc.org).

";

/// What `cargo metadata` prints, as far as it is of use here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for our own.
    source: Option<String>,
    manifest_path: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `None` is a normal one: neither for tests nor for build scripts.
    kind: Option<String>,
}

/// One text with all licences.
pub(super) fn of_what_is_linked(root: &Path, arch: Arch) -> Result<String> {
    let mut command = host::command("cargo");
    command.args(["metadata", "--format-version=1", "--locked", "--filter-platform", arch.target()]);
    let printed = host::capture(command.current_dir(root))?;
    let metadata: Metadata = serde_json::from_str(&printed).context("reading what cargo metadata prints")?;
    let mut texts = Vec::new();
    for package in linked(&metadata)? {
        texts.push((package, files(package)?));
    }
    Ok(text(&texts))
}

/// The packages of others that are linked, by name and version.
fn linked(metadata: &Metadata) -> Result<Vec<&Package>> {
    let packages: BTreeMap<&str, &Package> = metadata.packages.iter().map(|one| (one.id.as_str(), one)).collect();
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let ours = metadata.packages.iter().filter(|one| one.source.is_none() && LINKED.contains(&one.name.as_str()));
    let mut waiting: Vec<&str> = ours.map(|one| one.id.as_str()).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        let package = packages.get(id).with_context(|| format!("cargo metadata names no package {id}"))?;
        // What makes code for the compiler is not linked.
        if package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro")) || !seen.insert(id)
        {
            continue;
        }
        let needs = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let normal = needs.filter(|one| one.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        waiting.extend(normal.map(|one| one.pkg.as_str()));
    }
    let mut linked: Vec<&Package> = seen.iter().map(|id| packages[id]).filter(|one| one.source.is_some()).collect();
    linked.sort_by_key(|one| (&one.name, &one.version));
    if linked.is_empty() {
        bail!("cargo metadata names no dependencies of {}", LINKED.join(" and "));
    }
    Ok(linked)
}

/// The texts of a package, in the order of their files' names.
fn files(package: &Package) -> Result<Vec<String>> {
    let directory = Path::new(&package.manifest_path).parent().context("a package without a directory")?;
    let failed = || format!("reading {}", directory.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let holds_one = FILES.iter().any(|begin| name.to_uppercase().starts_with(begin));
        if holds_one && entry.file_type().with_context(failed)?.is_file() {
            let text = fs::read(entry.path()).with_context(|| format!("reading {}", entry.path().display()))?;
            found.insert(name, String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(found.into_values().collect())
}

/// Each text once, below the names of all packages that have it.
fn text(found: &[(&Package, Vec<String>)]) -> String {
    let mut by_text: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (package, texts) in found {
        for text in texts {
            by_text.entry(text.trim()).or_default().push(named(package));
        }
    }
    let bare = found.iter().filter(|(_, texts)| texts.is_empty()).map(|(package, _)| named(package));
    let bare = bare.map(|name| format!("{name}: its package has no text of its licence\n"));
    let mut sections: Vec<(String, &str)> = by_text.into_iter().map(|(text, names)| (names.join("\n"), text)).collect();
    sections.sort();
    let line = "=".repeat(100);
    let sections = sections.iter().map(|(names, text)| format!("{line}\n{names}\n\n{text}\n\n"));
    [HEAD.to_owned()].into_iter().chain(bare).chain(["\n".to_owned()]).chain(sections).collect()
}

fn named(package: &Package) -> String {
    format!("{} {} ({})", package.name, package.version, package.license.as_deref().unwrap_or("see its text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_named_and_what_is_not_is_left_out() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = of_what_is_linked(&root, Arch::Amd64).unwrap();
        for linked in ["aya 0.", "aya-ebpf 0.", "tokio 1.", "hyper 1.", "clap 4."] {
            assert!(text.contains(&format!("\n{linked}")), "no {linked}");
        }
        for not in ["plotters ", "proptest ", "clap_derive ", "tracer "] {
            assert!(!text.contains(&format!("\n{not}")), "{not} is not linked");
        }
        assert!(text.contains("Permission is hereby granted") && text.contains("Apache License"));
    }

    #[test]
    fn a_text_that_two_have_stands_once() {
        let package = |name: &str| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: Some("MIT".to_owned()),
            source: None,
            manifest_path: String::new(),
            targets: Vec::new(),
        };
        let (a, b, c) = (package("a"), package("b"), package("c"));
        let same = || vec!["Permission\n".to_owned()];
        let told = text(&[(&a, same()), (&b, same()), (&c, Vec::new())]);
        assert!(told.contains("\na 1.0.0 (MIT)\nb 1.0.0 (MIT)\n\nPermission\n"), "{told}");
        assert!(told.contains("\nc 1.0.0 (MIT): its package has no text"), "{told}");
        assert_eq!(told.matches("Permission").count(), 1);
    }
}
