//! OUT: single lines to the user. A reader that has gone away is no reason to fail: `eprintln!` would panic.

use std::{
    error::Error,
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

/// Text of many lines on the standard output.
pub fn whole(text: &[u8]) {
    let _ = io::stdout().write_all(text);
}

/// An error and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
