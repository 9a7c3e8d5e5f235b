//! What was made and has to go: taken away in reverse order, at the end and on failure alike.

use anyhow::{Context as _, Result, bail};

type Step = Box<dyn FnOnce() -> Result<()>>;

/// A stack of steps back.
#[derive(Default)]
pub(super) struct Undo {
    steps: Vec<(String, Step)>,
}

impl Undo {
    /// Something was made; `step` takes it away.
    pub(super) fn later(&mut self, what: impl Into<String>, step: impl FnOnce() -> Result<()> + 'static) {
        self.steps.push((what.into(), Box::new(step)));
    }

    /// Takes all away; a step that fails does not keep the next from being taken.
    pub(super) fn run(&mut self) -> Result<()> {
        let mut failed = Vec::new();
        while let Some((what, step)) = self.steps.pop() {
            if let Err(error) = step().with_context(|| what) {
                failed.push(format!("{error:#}"));
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        bail!("not everything could be taken away again: {}", failed.join("; "))
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Err(error) = self.run() {
            eprintln!("{error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn in_reverse_and_past_a_failure() {
        let done = Rc::new(RefCell::new(Vec::new()));
        let mut undo = Undo::default();
        for number in 1..=3 {
            let done = Rc::clone(&done);
            undo.later(format!("step {number}"), move || {
                done.borrow_mut().push(number);
                anyhow::ensure!(number != 2, "stuck");
                Ok(())
            });
        }
        let error = undo.run().expect_err("step 2 fails");
        assert_eq!(*done.borrow(), [3, 2, 1]);
        assert!(error.to_string().ends_with("step 2: stuck"));
        assert!(undo.run().is_ok());
    }
}
