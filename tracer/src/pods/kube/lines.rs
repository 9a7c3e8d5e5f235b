//! PURE: the bytes of a watch -> its lines. Touches nothing.

/// Bytes of one line at most: the API server's database takes objects of 1.5 MiB (`--max-request-bytes` of etcd), which as JSON may be
/// somewhat more.
pub const LINE: usize = 4 << 20;

/// A line is longer than any can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// What has come of the next line.
#[derive(Debug, Default)]
pub struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// Takes what has come; the lines that are whole now, without their ends and without empty ones.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut whole = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.open.len() + piece.len() > LINE {
                return Err(TooLong);
            }
            self.open.extend_from_slice(piece);
            if pieces.peek().is_some() {
                let line = std::mem::take(&mut self.open);
                whole.extend((!line.is_empty()).then_some(line));
            }
        }
        Ok(whole)
    }

    /// Whether a line was begun.
    pub fn is_within(&self) -> bool {
        !self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_has_an_end() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"{\"a\"").unwrap(), Vec::<Vec<u8>>::new());
        assert!(lines.is_within());
        assert_eq!(lines.push(b":1}\n\n{}\n").unwrap(), [b"{\"a\":1}".to_vec(), b"{}".to_vec()]);
        assert!(!lines.is_within());
    }

    #[test]
    fn no_line_takes_all_memory() {
        let mut lines = Lines::default();
        assert!(lines.push(&vec![b' '; LINE]).is_ok());
        assert_eq!(lines.push(b" "), Err(TooLong));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_it_is_cut(text in "[a\n]{0,40}", cuts in prop::collection::vec(0_usize..40, 0..4)) {
            let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            at.sort_unstable();
            let (mut pieces, mut whole) = (Lines::default(), Lines::default());
            let in_pieces: Vec<Vec<u8>> =
                at.windows(2).flat_map(|ends| pieces.push(&text.as_bytes()[ends[0]..ends[1]]).unwrap()).collect();
            prop_assert_eq!(in_pieces, whole.push(text.as_bytes()).unwrap());
            prop_assert_eq!(pieces.is_within(), whole.is_within());
        }
    }
}
