//! A figure and how far the repeated runs are apart.

use serde::{Deserialize, Serialize};

/// The median of some runs, with the lowest and the highest.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Figure {
    /// `None` when there is no run.
    pub(super) fn of(runs: &[f64]) -> Option<Self> {
        let mut sorted = runs.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Some(Self { median, low, high })
    }

    /// How far the runs are apart, as a share of the median.
    pub(super) fn spread(&self) -> f64 {
        match self.median > 0.0 {
            true => (self.high - self.low) / self.median,
            false => 0.0,
        }
    }

    /// Whether no run of one is within the runs of the other.
    pub(super) fn is_apart_from(&self, other: &Self) -> bool {
        self.low > other.high || self.high < other.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_counts_and_the_spread_is_a_share_of_it() {
        let figure = Figure::of(&[12.0, 8.0, 10.0]).unwrap();
        assert_eq!((figure.low, figure.median, figure.high), (8.0, 10.0, 12.0));
        assert!((figure.spread() - 0.4).abs() < 1e-9);
        assert_eq!(Figure::of(&[1.0, 3.0]).unwrap().median, 2.0);
        assert_eq!(Figure::of(&[]), None);
    }

    #[test]
    fn figures_are_apart_when_no_run_is_within_the_other() {
        let [a, b, c] = [[1.0, 2.0], [2.0, 3.0], [2.1, 3.0]].map(|runs| Figure::of(&runs).unwrap());
        assert!(!a.is_apart_from(&b));
        assert!(a.is_apart_from(&c) && c.is_apart_from(&a));
    }
}
