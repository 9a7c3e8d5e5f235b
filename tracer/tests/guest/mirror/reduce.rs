//! Cuts a failing sequence down with a bounded number of runs: by guesses of who knows it, and then by Zeller's delta
//! debugging.

use anyhow::Result;

/// A sequence that fails, and how many runs may be spent on a shorter one.
pub(crate) struct Reduction<T, F> {
    failing: Vec<T>,
    left: usize,
    fails: F,
}

impl<T: Clone, F: FnMut(&[T]) -> Result<bool>> Reduction<T, F> {
    /// Of a sequence that is known to fail.
    pub(crate) fn new(failing: Vec<T>, runs: usize, fails: F) -> Self {
        Self { failing, left: runs, fails }
    }

    /// The shortest failing sequence so far.
    pub(crate) fn into_shortest(self) -> Vec<T> {
        self.failing
    }

    /// Runs what is left when only these are kept, and stays with it if that fails as well.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&T) -> bool) -> Result<bool> {
        let candidate: Vec<T> = self.failing.iter().filter(|step| wanted(step)).cloned().collect();
        if candidate.len() == self.failing.len() { Ok(false) } else { self.attempt(candidate) }
    }

    /// Leaves out parts, smaller and smaller ones, until no single step can be spared or no run is left.
    pub(crate) fn halve(&mut self) -> Result<()> {
        let mut size = self.failing.len().div_ceil(2);
        while self.failing.len() > 1 && self.left > 0 {
            let shorter = self.without_parts_of(size)?;
            if size == 1 && !shorter {
                break;
            }
            size = if shorter { size.min(self.failing.len().div_ceil(2)) } else { size.div_ceil(2) };
        }
        Ok(())
    }

    /// Leaves out each part of this size that can be spared, the last ones first; whether one could.
    fn without_parts_of(&mut self, size: usize) -> Result<bool> {
        let mut shorter = false;
        let mut end = self.failing.len();
        while end > 0 && self.left > 0 {
            let begin = end.saturating_sub(size);
            let candidate = [&self.failing[..begin], &self.failing[end..]].concat();
            shorter |= self.attempt(candidate)?;
            end = begin;
        }
        Ok(shorter)
    }

    fn attempt(&mut self, candidate: Vec<T>) -> Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        let fails = (self.fails)(&candidate)?;
        if fails {
            self.failing = candidate;
        }
        Ok(fails)
    }
}
