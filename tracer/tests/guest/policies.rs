//! Policy files that cannot be meant: refused at start with exit status 2 and the place, before anything is attached.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use tempfile::TempDir;

use super::program::{Finished, Program};
use super::trial::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("policies::unknown_key", || refused_at(b"moed: enforce\nrules: []\n", 1)),
        trial("policies::unknown_key_in_limits", || refused_at(&limits("wirteBps: 2Mi"), 6)),
        trial("policies::value_0", || refused_at(&limits("writeBps: 0"), 6)),
        trial("policies::value_1", || refused_at(&limits("writeBps: 1"), 6)),
        trial("policies::milli", || refused_at(&limits("writeBps: 10m"), 6)),
        trial("policies::operations_that_the_kernel_would_drop", || refused_at(&limits("writeIops: 4294967295"), 6)),
        trial("policies::duplicate_names", || refused_at(&duplicate(), 7)),
        trial("policies::not_utf_8", not_utf_8),
        trial("policies::a_directory", a_directory),
        trial("policies::a_missing_file", a_missing_file),
        trial("policies::a_good_one_is_not_refused", a_good_one_is_not_refused),
    ]
}

/// A policy with one line of limits, its sixth.
fn limits(line: &str) -> Vec<u8> {
    format!("mode: enforce\nrules:\n  - name: one\n    match: {{ volume: pvc-1 }}\n    limits:\n      {line}\n").into()
}

/// The seventh line gives the name of the third again.
fn duplicate() -> Vec<u8> {
    let second = "  - name: one\n    match: { volume: pvc-2 }\n    limits: { writeBps: 3Mi }\n";
    [limits("writeBps: 2Mi"), second.into()].concat()
}

fn refused_at(policy: &[u8], line: u32) -> Result<()> {
    let room = room()?;
    let file = file_with(&room, policy)?;
    let finished = refused(&file)?;
    let start = format!("{}:{line}:", file.display());
    let column = finished.errors.iter().find_map(|said| {
        let after = &said[said.find(&start)? + start.len()..];
        after.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u32>().ok()
    });
    let column = column.with_context(|| format!("no {start}COLUMN in {:#?}", finished.errors))?;
    ensure!(column >= 1, "columns count from 1: {:#?}", finished.errors);
    Ok(())
}

fn not_utf_8() -> Result<()> {
    let room = room()?;
    let policy = [limits("writeBps: 2Mi"), b"# \xff\n".to_vec()].concat();
    refused(&file_with(&room, &policy)?).map(drop)
}

fn a_directory() -> Result<()> {
    let room = room()?;
    refused(room.path()).map(drop)
}

fn a_missing_file() -> Result<()> {
    let room = room()?;
    refused(&room.path().join("not-there.yaml")).map(drop)
}

/// The twin: what ends these runs is the policy. This one gets as far as the node allows.
fn a_good_one_is_not_refused() -> Result<()> {
    let room = room()?;
    let file = file_with(&room, &limits("writeBps: 2Mi"))?;
    let mut agent = Program::start(&["agent", "--policy", utf8(&file)?])?;
    if agent.wait_ready().is_ok() {
        let finished = agent.terminate()?;
        ensure!(finished.status.success(), "ended with {}: {:#?}", finished.status, finished.errors);
        return Ok(());
    }
    let finished = agent.wait()?;
    ensure!(finished.status.code() == Some(3), "ended with {}: {:#?}", finished.status, finished.errors);
    Ok(())
}

/// Exit status 2, the file's name in the message, and nothing decided.
fn refused(policy: &Path) -> Result<Finished> {
    let finished = Program::start(&["agent", "--policy", utf8(policy)?])?.wait()?;
    ensure!(finished.status.code() == Some(2), "ended with {}: {:#?}", finished.status, finished.errors);
    ensure!(finished.lines.is_empty(), "decided in spite of its policy: {:#?}", finished.lines);
    let named = finished.errors.iter().any(|line| line.contains(&policy.display().to_string()));
    ensure!(named, "{} is not named in {:#?}", policy.display(), finished.errors);
    Ok(finished)
}

fn room() -> Result<TempDir> {
    tempfile::tempdir().context("cannot make a temporary directory")
}

fn file_with(room: &TempDir, policy: &[u8]) -> Result<PathBuf> {
    let file = room.path().join("policy.yaml");
    std::fs::write(&file, policy).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
