//! What `trace` prints in a form for people, read to its end.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::ground;
use super::program::{LINE, Program, command};

/// All that a run left: the lines of both outputs.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) lines: Vec<Vec<u8>>,
    pub(crate) errors: Vec<String>,
}

/// The forms of `-o` that this binary has.
pub(crate) fn forms() -> Result<Vec<&'static str>> {
    let output = command_help()?;
    let known: Vec<&str> =
        ["json", "table", "wide"].into_iter().filter(|form| output.contains(&format!("- {form}:"))).collect();
    ensure!(known.starts_with(&["json", "table"]), "the help of trace names only {known:?} as forms of -o");
    Ok(known)
}

fn command_help() -> Result<String> {
    let binary = command(&[]).get_program().to_owned();
    let output = std::process::Command::new(binary).args(["trace", "--help"]).output().context("trace --help")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `trace` in a form while `act` acts, up to a sentinel.
pub(crate) fn during(form: &str, act: impl FnOnce() -> Result<()>) -> Result<Screen> {
    ground::base()?;
    let mut program = Program::start(&["trace", "-o", form])?;
    program.wait_ready()?;
    act()?;
    ground::touch_sentinel()?;
    let sentinel = ground::sentinel()?;
    let sentinel = sentinel.to_str().context("the sentinel's path is UTF-8")?;
    let deadline = Instant::now() + LINE;
    let mut lines = Vec::new();
    // Its mount, and its unmount.
    let mut left = 2;
    while left > 0 {
        let next = program.next_line(deadline).with_context(|| format!("no sentinel in {form}"))?;
        let line = next.with_context(|| format!("trace -o {form} ended before it showed the sentinel"))?;
        left -= usize::from(String::from_utf8_lossy(&line).contains(sentinel));
        lines.push(line);
    }
    let finished = program.terminate()?;
    ensure!(finished.status.success(), "trace -o {form} ended with {}", finished.status);
    lines.extend(finished.lines.into_iter().map(String::into_bytes));
    Ok(Screen { lines, errors: finished.errors })
}
