//! The statistics, as pure functions. Medians, because machines are shared and one slow moment must not count; ratios
//! of what was measured in the same round, because the machine's speed drifts from round to round.

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle)) {
        (_, None) => None,
        (1, Some(value)) => Some(*value),
        (_, Some(value)) => Some(f64::midpoint(sorted[middle - 1], *value)),
    }
}

/// The smallest value that at least `percent` of 100 values do not exceed.
pub(super) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let rank = (percent * values.len()).div_ceil(100);
    sorted(values).get(rank.max(1) - 1).copied()
}

pub(super) fn mean(values: &[f64]) -> Option<f64> {
    let count = u32::try_from(values.len()).ok().filter(|count| *count > 0)?;
    Some(values.iter().sum::<f64>() / f64::from(count))
}

/// The median of what each round says: `ours` over `base` of the same round.
pub(super) fn paired_ratio(ours: &[f64], base: &[f64]) -> Option<f64> {
    median(&paired(ours, base, |ours, base| ours / base))
}

/// As `paired_ratio`, for what is added.
pub(super) fn paired_difference(ours: &[f64], base: &[f64]) -> Option<f64> {
    median(&paired(ours, base, |ours, base| ours - base))
}

/// All values in rising order.
pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The order of a round: each begins with another one, so that none always follows the same.
pub(super) fn rotated<T: Copy>(items: &[T], round: usize) -> Vec<T> {
    let mut items = items.to_vec();
    if !items.is_empty() {
        let by = round % items.len();
        items.rotate_left(by);
    }
    items
}

/// Nanoseconds as microseconds.
pub(super) fn micros(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64() * 1e6
}

fn paired(ours: &[f64], base: &[f64], with: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    ours.iter().zip(base).map(|(ours, base)| with(*ours, *base)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-9)
    }

    #[test]
    fn the_median_does_not_need_order_and_resists_an_outlier() {
        assert!(near(median(&[9000.0, 1.0, 3.0]), 3.0));
        assert!(near(median(&[4.0, 1.0, 3.0, 2.0]), 2.5));
        assert!(median(&[]).is_none());
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert!(near(percentile(&values, 99), 198.0));
        assert!(near(percentile(&values, 50), 100.0));
        assert!(near(percentile(&[7.0], 99), 7.0));
        assert!(percentile(&[], 99).is_none());
    }

    #[test]
    fn rounds_are_compared_with_themselves() {
        // The machine was ten times slower in the second round; the tracer always took half as much again.
        let base = [10.0, 100.0, 11.0];
        let ours = [15.0, 150.0, 16.5];
        assert!(near(paired_ratio(&ours, &base), 1.5));
        assert!(near(paired_difference(&ours, &base), 5.5));
        assert!(paired_ratio(&[], &base).is_none());
    }

    #[test]
    fn every_round_has_all_and_begins_with_another() {
        let rounds: Vec<Vec<u8>> = (0..4).map(|round| rotated(&[1, 2, 3], round)).collect();
        assert_eq!(rounds, [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]);
        assert!(rotated::<u8>(&[], 3).is_empty());
    }

    #[test]
    fn means_and_units() {
        assert!(near(mean(&[1.0, 2.0, 6.0]), 3.0));
        assert!(mean(&[]).is_none());
        assert!(near(Some(micros(1500)), 1.5));
    }
}
