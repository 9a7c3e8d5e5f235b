//! Lines with a label before each, whole, so that those of several guests stay apart on one output.

use std::io::{self, Write};

/// Passes on what is written to it, line by line.
pub(super) struct Labelled<W: Write> {
    to: W,
    label: String,
    /// What came since the last line's end.
    begun: Vec<u8>,
}

impl<W: Write> Labelled<W> {
    pub(super) fn new(to: W, label: &str) -> Self {
        Self { to, label: format!("[{label}] "), begun: Vec::new() }
    }

    fn pass_on(&mut self, line: &[u8]) -> io::Result<()> {
        // In one piece: others write to the same output.
        self.to.write_all(&[self.label.as_bytes(), line, b"\n"].concat())
    }
}

impl<W: Write> Write for Labelled<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        let begun = std::mem::take(&mut self.begun);
        let mut lines = begun.split(|byte| *byte == b'\n');
        self.begun = lines.next_back().unwrap_or_default().to_vec();
        for line in lines {
            self.pass_on(line)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<W: Write> Drop for Labelled<W> {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            let last = std::mem::take(&mut self.begun);
            // Nobody is left to be told that the output is gone.
            let _ = self.pass_on(&last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_on_whole() {
        let mut out = Vec::new();
        {
            let mut labelled = Labelled::new(&mut out, "6.1");
            for part in ["test a ... ", "ok\ntest b", " ... ok\n\n", "the last"] {
                labelled.write_all(part.as_bytes()).unwrap();
            }
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "[6.1] test a ... ok\n[6.1] test b ... ok\n[6.1] \n[6.1] the last\n"
        );
    }
}
