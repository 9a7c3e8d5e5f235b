//! How many tests passed and failed, read from what test harnesses print.

use std::ops::Add;

use anyhow::{Result, bail};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

impl Count {
    /// The sum of all `test result:` lines.
    pub(super) fn of(text: &str) -> Self {
        text.lines().filter_map(result_line).fold(Self::default(), Add::add)
    }

    /// A harness that failed without naming a failed test, or passed without a test, is an error.
    pub(super) fn checked(self, success: bool, what: &str) -> Result<Self> {
        match (success, self) {
            (true, Self { passed: 0, failed: 0 }) => bail!("{what} ran no test"),
            (false, Self { failed: 0, .. }) => bail!("{what} failed outside of a test; its output is above"),
            _ => Ok(self),
        }
    }
}

/// `test result: ok. 12 passed; 0 failed; 0 ignored; ...`
fn result_line(line: &str) -> Option<Count> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let number =
        |label: &str| rest.split(label).next()?.rsplit([' ', '.', ';']).find(|word| !word.is_empty())?.parse().ok();
    Some(Count { passed: number(" passed")?, failed: number(" failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_add_up() {
        let text = "running 3 tests\ntest result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
                    test result: FAILED. 3 passed; 2 failed; 0 ignored\ntest a ... ok\n";
        assert_eq!(Count::of(text), Count { passed: 15, failed: 2 });
    }

    #[test]
    fn silence_is_not_success() {
        assert!(Count::default().checked(true, "x").is_err());
        assert!(Count { passed: 3, failed: 0 }.checked(false, "x").is_err());
        assert!(Count { passed: 3, failed: 1 }.checked(false, "x").is_ok());
        assert!(Count { passed: 3, failed: 0 }.checked(true, "x").is_ok());
    }
}
