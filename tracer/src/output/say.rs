//! OUT: single lines to the user. A reader that has gone away is no reason to fail: `eprintln!` would panic.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// A line on the standard error.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A line on the standard output.
pub fn line(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
