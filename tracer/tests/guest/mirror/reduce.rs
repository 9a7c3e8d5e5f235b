//! Cuts a failing sequence down: Zeller's delta debugging with a bounded number of runs.

use anyhow::Result;

/// The shortest sequence found that still fails, when the whole one does; `None` if that passes already. `fails` runs at most
/// `runs` times.
pub(crate) fn shortest<T: Clone>(
    whole: &[T],
    runs: usize,
    mut fails: impl FnMut(&[T]) -> Result<bool>,
) -> Result<Option<Vec<T>>> {
    let mut left = runs.saturating_sub(1);
    if runs == 0 || !fails(whole)? {
        return Ok(None);
    }
    let mut failing = whole.to_vec();
    let mut parts = 2;
    while failing.len() > 1 && left > 0 {
        let size = failing.len().div_ceil(parts);
        let without =
            |part: usize| [&failing[..part * size], &failing[failing.len().min((part + 1) * size)..]].concat();
        let mut shorter = None;
        // The end first: what comes after the fault is of no use.
        for part in (0..failing.len().div_ceil(size)).rev() {
            if left == 0 {
                break;
            }
            left -= 1;
            let candidate = without(part);
            if fails(&candidate)? {
                shorter = Some(candidate);
                break;
            }
        }
        match shorter {
            Some(candidate) => {
                failing = candidate;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(failing.len()),
        }
    }
    Ok(Some(failing))
}
