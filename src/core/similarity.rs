//! How near stored vectors are to one that is sought: many rows at a time, as wide as the CPU is.
//!
//! The sums are of integers, so they are exact: every CPU gives the same bits, those of [`Vector::dot`] and
//! [`Vector::cosine`], and two nodes sort what they find alike.

use super::Vector;
use super::vector::{DOT_BLOCK, dot_block};
use guestbook_kernel::{Lanes, byte_dots, widened};

/// A vector that is sought, made ready to be compared with many stored ones of the same model.
#[derive(Clone, Debug)]
pub struct QuantizedQuery {
    cells: Vec<i16>,
    square: i64,
    lanes: Lanes,
}

impl QuantizedQuery {
    /// Makes a vector ready, for the widest instructions that this CPU has.
    pub fn new(sought: &Vector) -> Self {
        Self::with(Lanes::best(), sought)
    }

    /// The twin for any CPU, which gives the same bits: what [`Self::new`] is held to.
    pub fn plain(sought: &Vector) -> Self {
        Self::with(Lanes::Plain, sought)
    }

    fn with(lanes: Lanes, sought: &Vector) -> Self {
        Self {
            cells: widened(sought.components()),
            square: square(sought.components()),
            lanes,
        }
    }

    /// How many components there are, and cells in each row; at least 1.
    pub fn dimension(&self) -> usize {
        self.cells.len()
    }

    /// For each of `rows`, stored vectors one after the other, the exact sum of the products of its cells with the sought
    /// ones, as [`Vector::dot`] gives it.
    ///
    /// # Panics
    /// If `rows` does not hold a row of [`Self::dimension`] cells for each place of `dots`.
    pub fn dots(&self, rows: &[i8], dots: &mut [i64]) {
        byte_dots(self.lanes, &self.cells, rows, dots);
    }

    /// The same for one row; `None` if it has another dimension.
    pub fn dot(&self, row: &[i8]) -> Option<i64> {
        let mut dot = [0];
        (row.len() == self.dimension()).then(|| {
            self.dots(row, &mut dot);
            dot[0]
        })
    }

    /// The cosine of the angle to a stored vector, `-1.0..=1.0`, as [`Vector::cosine`] gives it. `square` is what [`square`]
    /// says of the vector, and `dot` what [`Self::dots`] says.
    pub fn cosine(&self, dot: i64, square: i64) -> f32 {
        cosine(dot, self.square, square)
    }

    /// Whether [`Self::cosine`] is certainly below `bar`; much faster, and so asked first of every row. Near the bar it may
    /// say no where the cosine is below.
    pub fn is_below(&self, bar: f32, dot: i64, square: i64) -> bool {
        if bar < 0.0 {
            return false;
        }
        // Far more than what roundings of the cosine come to.
        const SURE: f64 = 1.0 - 1e-5;
        let (bar, dot) = (f64::from(bar), dot as f64);
        dot < 0.0 || dot * dot < bar * bar * SURE * (self.square as f64 * square as f64)
    }
}

/// The exact sum of the squares of a vector's cells; never 0 for a [`Vector`].
pub fn square(cells: &[i8]) -> i64 {
    let blocks = cells.chunks(DOT_BLOCK);
    // In 32 bits as far as they reach: in 64 it takes several times as long.
    blocks.map(|block| i64::from(dot_block(block, block))).sum()
}

/// One formula for every place that compares vectors.
pub(super) fn cosine(dot: i64, one: i64, other: i64) -> f32 {
    let lengths = (one as f64 * other as f64).sqrt();
    (dot as f64 / lengths) as f32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vectors() -> impl Strategy<Value = Vec<Vector>> {
        let dimension = prop_oneof![1_usize..70, Just(256), Just(384), Just(1536)];
        let all = dimension.prop_flat_map(|dimension| {
            let cells = prop::collection::vec(-127_i8..=127, dimension);
            prop::collection::vec(cells, 2..8)
        });
        all.prop_map(|all| {
            let bytes = all.into_iter().map(|mut cells| {
                cells[0] = cells[0].max(1); // never all zero
                Vector::from_bytes(&cells.iter().map(|x| x.cast_unsigned()).collect::<Vec<_>>())
            });
            bytes.map(Result::unwrap).collect()
        })
    }

    proptest! {
        #[test]
        fn a_probe_gives_the_bits_of_plain_arithmetic(vectors in vectors()) {
            let (sought, stored) = vectors.split_first().unwrap();
            let rows: Vec<i8> = stored.iter().flat_map(Vector::components).copied().collect();
            for probe in [QuantizedQuery::new(sought), QuantizedQuery::plain(sought)] {
                let mut dots = vec![0; stored.len()];
                probe.dots(&rows, &mut dots);
                for (stored, dot) in stored.iter().zip(dots) {
                    prop_assert_eq!(Some(dot), sought.dot(stored));
                    prop_assert_eq!(probe.dot(stored.components()), Some(dot));
                    let cosine = probe.cosine(dot, square(stored.components()));
                    let expected = sought.cosine(stored).unwrap();
                    prop_assert_eq!(cosine.to_bits(), expected.to_bits());
                }
            }
        }
    }

    #[test]
    fn a_row_of_another_dimension_is_not_compared() {
        let sought = Vector::quantise(&[3.0, 4.0], 2).unwrap();
        assert_eq!(QuantizedQuery::new(&sought).dot(&[1, 2, 3]), None);
    }
}
