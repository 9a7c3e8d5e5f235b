//! Tidiness, as tests: what every file of the house must look like, and what the pure rooms must not touch.

use std::fs;
use std::path::{Path, PathBuf};

/// Above this many lines a file has to say why it is still one room.
const LINES: usize = 400;
/// How it says it, within the comment at its head.
const REASON: &str = "one room";

/// Rooms that neither read, write, wait nor look at a clock; a room that does not exist yet is no fault.
const PURE: [&str; 57] = [
    "tracer/src/cli/nearest",
    "tracer/src/clock",
    "tracer/src/control",
    "tracer/src/engine",
    "tracer/src/decode",
    "tracer/src/sections",
    "tracer/src/operation",
    "tracer/src/assemble",
    "tracer/src/correlate",
    "tracer/src/tally",
    "tracer/src/waiting",
    "tracer/src/existing",
    "tracer/src/explain",
    "tracer/src/glob",
    "tracer/src/listed",
    "tracer/src/mountinfo",
    "tracer/src/options",
    "tracer/src/mirror",
    "tracer/src/output/columns",
    "tracer/src/output/filter",
    "tracer/src/output/grid",
    "tracer/src/output/holding",
    "tracer/src/output/listing",
    "tracer/src/output/metrics",
    "tracer/src/output/recording",
    "tracer/src/output/table",
    "tracer/src/output/tree",
    "tracer/src/output/words",
    "tracer/src/pods/asked",
    "tracer/src/pods/cgroup_path",
    "tracer/src/pods/cri/codec",
    "tracer/src/pods/cri/info",
    "tracer/src/pods/cri/names",
    "tracer/src/pods/kube/ask",
    "tracer/src/pods/kube/course",
    "tracer/src/pods/kube/envelope",
    "tracer/src/pods/kube/lines",
    "tracer/src/pods/kube/plan",
    "tracer/src/pods/kube/tell",
    "tracer/src/pods/kube/wire",
    "tracer/src/pods/kubelet_path",
    "tracer/src/pods/named",
    "tracer/src/pods/objects",
    "tracer/src/pods/owners",
    "tracer/src/pods/pod_uid",
    "tracer/src/pods/runtimes",
    "tracer/src/holders",
    "tracer/src/host/disk",
    "tracer/src/pods/view",
    "tracer/src/host/facts",
    "tracer/src/limit/policy",
    "tracer/src/limit/quantity",
    "tracer/src/limit/decide",
    "tracer/src/limit/ledger",
    "tracer/src/limit/limiter",
    "tracer/src/limit/limits",
    "tracer/src/limit/order",
];
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "tokio",
];

/// A source file: its path from the workspace's root, and its text.
struct Source {
    name: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file of the workspace, builds and hidden directories apart.
fn sources() -> Vec<Source> {
    let root = root();
    let mut waiting = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    waiting.push(entry.path());
                }
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let path = entry.path();
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                found.push(Source { name, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    assert!(found.len() > 5, "the workspace's files were not found below {}", root.display());
    found
}

/// Fails with all offenders at once.
fn forbid(rule: &str, offence: impl Fn(&Source) -> Option<String>) {
    let found: Vec<String> =
        sources().iter().filter_map(|source| Some(format!("  {}: {}", source.name, offence(source)?))).collect();
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

fn head(text: &str) -> String {
    text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n")
}

/// The first line of code (comments apart) that contains a word.
fn line_with(text: &str, word: &str) -> Option<usize> {
    let code = |line: &str| line.split("//").next().unwrap_or_default().contains(word);
    text.lines().position(code).map(|line| line + 1)
}

fn is_pure(name: &str) -> bool {
    PURE.iter().any(|room| name.strip_prefix(room).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
}

#[test]
fn every_file_says_what_it_is_for() {
    forbid("a file must begin with `//!`", |source| {
        (!source.text.starts_with("//!")).then(|| String::from("does not"))
    });
}

#[test]
fn a_long_file_says_why_it_is_one_room() {
    forbid("a file above 400 lines must say in its head why it is still one room", |source| {
        let lines = source.text.lines().count();
        (lines > LINES && !head(&source.text).contains(REASON)).then(|| format!("{lines} lines"))
    });
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in parts, so that this file does not offend.
    let words = [concat!("todo", "!"), concat!("unimplemented", "!"), concat!("#[", "ignore")];
    forbid("code that is not there yet", |source| {
        words.iter().find_map(|word| Some(format!("line {} has {word}", line_with(&source.text, word)?)))
    });
}

#[test]
fn pure_rooms_stay_pure() {
    forbid("a pure room must not read, write, wait or look at a clock", |source| {
        let pure = is_pure(&source.name) && !source.name.ends_with("tests.rs");
        let offence =
            || IMPURE.iter().find_map(|word| Some(format!("line {} has {word}", line_with(&source.text, word)?)));
        pure.then(offence).flatten()
    });
}

#[test]
fn rooms_are_recognised_by_file_and_by_directory() {
    assert!(is_pure("tracer/src/mirror.rs"));
    assert!(is_pure("tracer/src/mirror/seed.rs"));
    assert!(!is_pure("tracer/src/mirrors.rs"));
    assert!(!is_pure("tracer/src/limit/apply.rs"));
    assert_eq!(line_with("a\nuse tokio;", "tokio"), Some(2));
    assert_eq!(line_with("// tokio", "tokio"), None);
}
