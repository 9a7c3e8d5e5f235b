//! `cargo xtask audit`: what our dependencies bring along, by cargo-deny and the rules in `deny.toml`. Bans, licences
//! and sources need nothing but the lock file; advisories need a database from the network, and without it this says so
//! and is content with the rest.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::host::{self, Progress};

/// Known to build with the pinned Rust.
const CARGO_DENY: &str = "0.20.2";
/// What can always be checked.
const OFFLINE: [&str; 3] = ["bans", "licenses", "sources"];

#[derive(clap::Args)]
pub(crate) struct Options {}

/// Whether the known vulnerabilities were looked at.
enum Advisories {
    Checked,
    /// Why not.
    NotChecked(String),
}

pub(crate) fn run(_: &Options) -> Result<ExitCode> {
    ensure_cargo_deny()?;
    host::stream(deny(&["check"])?.args(OFFLINE)).context("deny.toml says what is allowed and why")?;
    let advisories = advisories()?;
    println!("{}", closing_line(&advisories));
    Ok(ExitCode::SUCCESS)
}

fn closing_line(advisories: &Advisories) -> String {
    let offline = OFFLINE.join(", ");
    match advisories {
        Advisories::Checked => format!("audit: ok: {offline}, advisories"),
        Advisories::NotChecked(why) => format!("audit: ok: {offline}; advisories NOT checked: {why}"),
    }
}

/// The database is fetched first and alone: whether it can be had and what stands in it are two things.
fn advisories() -> Result<Advisories> {
    let mut fetch = deny(&["fetch", "db"])?;
    let output = fetch.output().with_context(|| format!("cannot start `{}`", host::shown(&fetch)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Ok(Advisories::NotChecked(format!("no database: {}", last_line(&complaint))));
    }
    host::stream(&mut deny(&["check", "--disable-fetch", "advisories"])?)
        .context("update the crate that the advisory names, or ignore it in deny.toml with the reason")?;
    Ok(Advisories::Checked)
}

/// Why cargo-deny failed.
fn last_line(complaint: &str) -> &str {
    host::last_line(complaint).unwrap_or("cargo-deny did not say why")
}

fn ensure_cargo_deny() -> Result<()> {
    if has_cargo_deny() {
        return Ok(());
    }
    let progress = Progress::start();
    progress.say(&format!("cargo-deny {CARGO_DENY}: missing, installing (some minutes)"));
    let arguments = ["install", "cargo-deny", "--locked", "--version", CARGO_DENY];
    host::stream(host::command("cargo").args(arguments))
        .with_context(|| format!("installing cargo-deny; it needs the crate registry: `cargo {}`", arguments.join(" ")))
}

fn has_cargo_deny() -> bool {
    let version = host::capture(host::command("cargo").args(["deny", "--version"]));
    version.is_ok_and(|text| text.split_whitespace().any(|word| word == CARGO_DENY))
}

fn deny(arguments: &[&str]) -> Result<Command> {
    let mut command = host::command("cargo");
    // git must not ask for a password that nobody can type.
    command.arg("deny").args(arguments).current_dir(host::root()?).env("GIT_TERMINAL_PROMPT", "0");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_checked_is_said() {
        assert_eq!(closing_line(&Advisories::Checked), "audit: ok: bans, licenses, sources, advisories");
        let line = closing_line(&Advisories::NotChecked("no network".to_owned()));
        assert_eq!(line, "audit: ok: bans, licenses, sources; advisories NOT checked: no network");
    }

    #[test]
    fn the_cause_is_the_last_line_that_says_something() {
        assert_eq!(last_line("[ERROR] failed\nfatal: no route to host\n\n"), "fatal: no route to host");
        assert_eq!(last_line(" \n"), "cargo-deny did not say why");
    }
}
