//! PURE: why a policy is refused, and where in its file. Touches nothing.

use std::fmt;
use std::path::PathBuf;

/// A place in a file, both numbers from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// From 1.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is YAML, and says something that no policy may say.
    #[error("{at}: {what}; {remedy}")]
    Refused {
        /// The key or the value.
        at: Place,
        /// What is wrong.
        what: String,
        /// What to write instead.
        remedy: String,
    },
    /// It is no YAML.
    #[error("{at}: the policy is not valid YAML here; correct the syntax")]
    Syntax {
        /// Where the parser stopped.
        at: Place,
        /// What the parser says.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// It is deeper, or has more aliases, than any policy.
    #[error("{at}: the policy has more levels, or more aliases, than a policy needs; write it out plainly")]
    TooMuch {
        /// Where the parser gave up.
        at: Place,
        /// What the parser counted.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// It is no text.
    #[error("{at}: the policy is not UTF-8 here; save the file as UTF-8")]
    NotUtf8 {
        /// The first byte that is wrong.
        at: Place,
        /// What the decoder says.
        #[source]
        source: std::str::Utf8Error,
    },
    /// There is no file.
    #[error("cannot open the policy {}: there is no such file; create it, or name another", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A directory, a device, a pipe.
    #[error("cannot read the policy {}: it is not a regular file; name the policy's file in it", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Longer than any policy.
    #[error("cannot read the policy {}: it is longer than {limit} bytes; name a policy file", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The longest that is read, in bytes.
        limit: u64,
    },
    /// The kernel refused.
    #[error("cannot {operation} the policy {}; let the agent's user read it", path.display())]
    Unreadable {
        /// `open` or `read`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: std::io::Error,
    },
}
