//! The few colours of a table, by what they mean.

/// What a reader's eye is to be drawn to, or away from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// As the terminal has it.
    #[default]
    Plain,
    /// Red: it failed.
    Failed,
    /// Yellow: something was lost.
    Lost,
    /// Dim: it is gone.
    Gone,
}

/// Ends every colour.
const RESET: &str = "\x1b[0m";

impl Paint {
    /// The text between the terminal's codes (ECMA-48, SGR).
    pub fn on(self, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Failed => "\x1b[31m",
            Self::Lost => "\x1b[33m",
            Self::Gone => "\x1b[2m",
        };
        format!("{code}{text}{RESET}")
    }
}
