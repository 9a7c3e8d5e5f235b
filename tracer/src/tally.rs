//! PURE: counts operations by kind and result.

use crate::operation::{Op, Operation};

/// Kinds of operations.
const OPS: usize = Op::ALL.len();

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No error is known: its call ended without one, or none caused it.
    Ok,
    /// Its call ended with an errno.
    Failed,
}

impl Outcome {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ok, Self::Failed];

    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }

    fn of(operation: &Operation) -> Self {
        if operation.failed() { Self::Failed } else { Self::Ok }
    }
}

/// Operations by kind and result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([[u64; Outcome::ALL.len()]; OPS]);

impl Tally {
    /// Counts one.
    pub fn count(&mut self, operation: &Operation) {
        self.0[operation.op as usize][Outcome::of(operation) as usize] += 1;
    }

    /// How many there were of a kind and result.
    pub fn of(&self, op: Op, outcome: Outcome) -> u64 {
        self.0[op as usize][outcome as usize]
    }
}

/// Whether it happened on the node: what was there before has not, and neither a loss nor a count is one of the node's operations.
pub fn happened(op: Op) -> bool {
    !matches!(op, Op::Gap | Op::Existing | Op::Throttled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place() {
        for (place, op) in Op::ALL.iter().enumerate() {
            assert_eq!(*op as usize, place);
        }
        for (place, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, place);
        }
    }

    #[test]
    fn what_nobody_called_has_not_failed() {
        let mut tally = Tally::default();
        tally.count(&Operation::bare(Op::Expired, 1));
        assert_eq!((tally.of(Op::Expired, Outcome::Ok), tally.of(Op::Expired, Outcome::Failed)), (1, 0));
        assert_eq!(tally.of(Op::Mount, Outcome::Ok), 0);
    }
}
