//! `mount-tracer check`: says of each thing the node needs whether it is there, and what to do if not.

use std::os::unix::process::CommandExt as _;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::actor::NOBODY;
use super::node;
use super::program::command;
use super::trial::trial;

/// Attaching, unmounting and failing calls have hooks of their own; fewer lines cannot name them all.
const FEWEST_LINES: usize = 5;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("check::this_node_can_be_traced", this_node_can_be_traced),
        trial("check::without_privilege_it_says_what_is_missing", without_privilege_it_says_what_is_missing),
    ]
}

fn this_node_can_be_traced() -> Result<()> {
    node::enable_io(&node::cgroup_root()?)?;
    let output = command(&["check"]).output().context("cannot run mount-tracer check")?;
    let (ok, failed) = lines(&output);
    ensure!(output.status.success() && failed.is_empty(), "check ended with {}: {failed:#?}", output.status);
    ensure!(ok.len() >= FEWEST_LINES, "check names too few things: {ok:#?}");
    Ok(())
}

/// The twin: where something is missing, the same command says so.
fn without_privilege_it_says_what_is_missing() -> Result<()> {
    let output = command(&["check"]).uid(NOBODY).gid(NOBODY).output().context("cannot run mount-tracer check")?;
    let (_, failed) = lines(&output);
    ensure!(output.status.code() == Some(3), "check ended with {} for user {NOBODY}", output.status);
    ensure!(!failed.is_empty(), "check failed without a line that says what: {output:?}");
    for line in &failed {
        ensure!(line.contains(": "), "a failure without a remedy: {line}");
    }
    Ok(())
}

fn lines(output: &Output) -> (Vec<String>, Vec<String>) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let starting = |word: &str| text.lines().filter(|line| line.starts_with(word)).map(str::to_owned).collect();
    (starting("ok"), starting("FAIL"))
}
