//! Figures over rounds.

/// The middle value, of an even number the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (n, middle) if n % 2 == 1 => values[middle],
        (_, middle) => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// The smallest value; 0 of none.
pub(crate) fn least(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().min_by(f64::total_cmp).unwrap_or(0.0)
}

/// The smallest and the largest as a range: `7.9–8.4`.
pub(crate) fn range(values: &[f64]) -> String {
    let most = values.iter().copied().max_by(f64::total_cmp).unwrap_or(0.0);
    format!("{:.2}–{:.2}", least(values.iter().copied()), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
        assert_eq!(least([2.0, 1.0]), 1.0);
        assert_eq!(range(&[2.0, 1.0]), "1.00–2.00");
    }
}
