//! Turns a function that returns `anyhow::Result` into a named trial whose failure shows the whole chain of causes.

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

/// Names a test.
pub(crate) fn trial(name: &str, test: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || test().map_err(|error| Failed::from(format!("{error:#}"))))
}
