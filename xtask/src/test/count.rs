//! How many tests passed and failed, and what the failed ones said, read from what test harnesses print.

use std::ops::Add;

use anyhow::{Result, bail};

/// Of what a failed test said, so many bytes are repeated.
const SAID_BYTES: usize = 400;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// What failed and why, a line each.
    pub(super) why: Vec<String>,
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let why = self.why.into_iter().chain(other.why).collect();
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed, why }
    }
}

impl Count {
    /// The sum of all `test result:` lines.
    pub(super) fn of(text: &str) -> Self {
        let sum = text.lines().filter_map(result_line).fold(Self::default(), Add::add);
        Self { why: failures(text), ..sum }
    }

    /// One test that was passed.
    pub(super) fn one() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// A step that failed.
    pub(super) fn failure(why: &str) -> Self {
        Self { failed: 1, why: vec![beginning(why)], ..Self::default() }
    }

    /// A harness that failed without naming a failed test, or passed without a test, is an error.
    pub(super) fn checked(self, success: bool, what: &str) -> Result<Self> {
        match (success, self.passed, self.failed) {
            (true, 0, 0) => bail!("{what} ran no test"),
            (false, _, 0) => bail!("{what} failed outside of a test; its output is above"),
            _ => Ok(self),
        }
    }
}

/// `test result: ok. 12 passed; 0 failed; 0 ignored; ...`
fn result_line(line: &str) -> Option<Count> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let number =
        |label: &str| rest.split(label).next()?.rsplit([' ', '.', ';']).find(|word| !word.is_empty())?.parse().ok();
    Some(Count { passed: number(" passed")?, failed: number(" failed")?, why: Vec::new() })
}

/// Each failed test's name and the beginning of what it said: both harnesses print `---- name ----` or `---- name stdout ----` above it.
fn failures(text: &str) -> Vec<String> {
    let heading = |line: &str| Some(line.trim().strip_prefix("---- ")?.strip_suffix(" ----")?.to_owned());
    let lines: Vec<&str> = text.lines().collect();
    let failure = |(at, line): (usize, &&str)| {
        let name = heading(line)?;
        let said = lines[at + 1..].iter().take_while(|line| heading(line).is_none() && line.trim() != "failures:");
        let said: Vec<&str> = said.map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        Some(beginning(&format!("{}: {}", name.trim_end_matches(" stdout"), said.join(" "))))
    };
    lines.iter().enumerate().filter_map(failure).collect()
}

/// Of a long text the beginning, in one line.
fn beginning(text: &str) -> String {
    let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    match line.char_indices().map(|(at, _)| at).find(|at| *at >= SAID_BYTES) {
        Some(end) => format!("{} ...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_add_up() {
        let text = "running 3 tests\ntest result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
                    test result: FAILED. 3 passed; 2 failed; 0 ignored\ntest a ... ok\n";
        assert_eq!(Count::of(text), Count { passed: 15, failed: 2, why: Vec::new() });
    }

    #[test]
    fn what_failed_tests_said_is_kept() {
        let text = "test b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\n\nthread panicked:\n  left: 1\n\n---- c ----\nshort\n\n\n\
                    failures:\n    a::b\n    c\n\ntest result: FAILED. 0 passed; 2 failed; 0 ignored\n";
        assert_eq!(Count::of(text).why, ["a::b: thread panicked: left: 1", "c: short"]);
        let long = format!("{}\n{}", "x".repeat(399), "\u{e9}".repeat(100));
        assert_eq!(Count::failure(&long).why[0].chars().count(), 399 + 1 + 4);
    }

    fn passed(passed: u64, failed: u64) -> Count {
        Count { passed, failed, why: Vec::new() }
    }

    #[test]
    fn silence_is_not_success() {
        assert!(Count::default().checked(true, "x").is_err());
        assert!(passed(3, 0).checked(false, "x").is_err());
        assert!(passed(3, 1).checked(false, "x").is_ok());
        assert!(passed(3, 0).checked(true, "x").is_ok());
    }
}
