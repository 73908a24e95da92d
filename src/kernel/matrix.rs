//! Matrices of one signed byte a cell, and their products with rows of activations.
//!
//! A matrix is 4 times smaller than in f32 and its products are integers, for which the compiler finds the instruction that
//! multiplies and adds 16 or 32 pairs at once. The activations have 16 bits, so they lose nothing that matters.

use crate::Lanes;
use crate::floats::largest;

/// The largest cell.
const FULL: f32 = 127.0;

/// Rows of activations multiplied with one row of a matrix at a time: as many sums as stay in registers.
const TOGETHER: usize = 4;

/// The largest activation: 64 × 127 × 32,767 stays far below 2^31.
const LIMIT: f32 = 32_767.0;

/// Columns of a row that share a scale. With one scale a row, texts of a piece or two come out below 0.998 of the reference.
const BLOCK: usize = 64;

/// A number is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

/// A matrix: each block of a row has a scale, and value = scale × cell.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    columns: usize,
    scales: Vec<f32>,
    cells: Vec<i8>,
}

impl Matrix {
    /// A matrix without rows, with room for so many.
    ///
    /// # Panics
    /// If `columns` is 0.
    pub fn with_capacity(rows: usize, columns: usize) -> Self {
        assert!(columns > 0, "a row has at least one column");
        Self {
            columns,
            scales: Vec::with_capacity(rows),
            cells: Vec::with_capacity(rows * columns),
        }
    }

    /// Rounds whole rows and adds them.
    ///
    /// # Errors
    /// [`NotFinite`] if a value is NaN or infinite.
    ///
    /// # Panics
    /// If the last row is not whole.
    pub fn push_rows(&mut self, values: &[f32]) -> Result<(), NotFinite> {
        let rows = values.chunks_exact(self.columns);
        assert!(rows.remainder().is_empty(), "a row is not whole");
        for row in rows {
            if row.iter().any(|value| !value.is_finite()) {
                return Err(NotFinite);
            }
            for block in row.chunks(BLOCK) {
                let largest = largest(block);
                // A quotient of a tiny number may be 0 or infinite: such a block is nothing.
                let inverse = FULL / largest;
                let (scale, inverse) = match inverse.is_finite() {
                    true => (largest / FULL, inverse),
                    false => (0.0, 0.0),
                };
                self.scales.push(scale);
                let round = |value: &f32| (value * inverse).round_ties_even() as i8;
                self.cells.extend(block.iter().map(round));
            }
        }
        Ok(())
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or(0)
    }

    /// How many columns every row has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Adds a row to `out`, which has one place a column.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn add_row(&self, row: usize, out: &mut [f32]) {
        let cells = self.cells[row * self.columns..][..self.columns].chunks(BLOCK);
        let scales = &self.scales[row * self.blocks()..];
        for ((out, cells), scale) in out.chunks_mut(BLOCK).zip(cells).zip(scales) {
            for (place, cell) in out.iter_mut().zip(cells) {
                *place += scale * f32::from(*cell);
            }
        }
    }

    /// Blocks of a row.
    fn blocks(&self) -> usize {
        self.columns.div_ceil(BLOCK)
    }

    /// For each row of `input`: its products with every row of the matrix, plus `bias`.
    ///
    /// # Panics
    /// If the sizes do not fit: `bias` one value a row of the matrix, `out` as many for each row of `input`.
    pub fn apply(&self, lanes: Lanes, input: &Activations, bias: &[f32], out: &mut [f32]) {
        let (rows, columns) = (self.rows(), self.columns);
        assert_eq!(input.columns, columns, "columns of the activations");
        assert_eq!(bias.len(), rows, "values of the bias");
        assert_eq!(
            out.len(),
            input.scales.len() * rows,
            "places for the products"
        );
        lanes.run(
            #[inline(always)]
            || {
                let mut from = 0;
                while from < input.scales.len() {
                    let left = input.scales.len() - from;
                    let group = Group {
                        from,
                        input,
                        bias,
                        out: &mut *out,
                    };
                    match left {
                        1 => self.products::<1>(group),
                        2 => self.products::<2>(group),
                        3 => self.products::<3>(group),
                        _ => self.products::<TOGETHER>(group),
                    }
                    from += TOGETHER;
                }
            },
        );
    }

    #[inline(always)]
    fn products<const N: usize>(&self, group: Group<'_>) {
        let (rows, columns) = (self.rows(), self.columns);
        let Group {
            from,
            input,
            bias,
            out,
        } = group;
        let inputs: [&[i16]; N] =
            std::array::from_fn(|n| &input.cells[(from + n) * columns..][..columns]);
        let scales: [f32; N] = std::array::from_fn(|n| input.scales[from + n]);
        let cells = self.cells.chunks_exact(columns);
        for (row, (cells, own)) in cells
            .zip(self.scales.chunks_exact(self.blocks()))
            .enumerate()
        {
            let mut products = [0.0_f32; N];
            for (block, (cells, scale)) in cells.chunks(BLOCK).zip(own).enumerate() {
                let sums = dot(cells, inputs.map(|input| &input[block * BLOCK..]));
                for (product, sum) in products.iter_mut().zip(sums) {
                    *product += sum as f32 * scale;
                }
            }
            for n in 0..N {
                out[(from + n) * rows + row] = products[n] * scales[n] + bias[row];
            }
        }
    }
}

/// Some rows of activations and where their products go.
struct Group<'a> {
    from: usize,
    input: &'a Activations,
    bias: &'a [f32],
    out: &'a mut [f32],
}

/// The exact sums of the products. This shape, and no other that was tried, is what LLVM turns into `vpmaddwd`.
#[inline(always)]
fn dot<const N: usize>(cells: &[i8], inputs: [&[i16]; N]) -> [i32; N] {
    let columns = cells.len();
    let inputs = inputs.map(|input| &input[..columns]);
    let mut sums = [0_i32; N];
    for column in 0..columns {
        for n in 0..N {
            // Cannot overflow: see `LIMIT`.
            sums[n] += i32::from(cells[column]) * i32::from(inputs[n][column]);
        }
    }
    sums
}

/// Rows of activations, each rounded to 16 bits with a scale of its own. Made once, used by all matrices that take them.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    columns: usize,
    scales: Vec<f32>,
    cells: Vec<i16>,
}

impl Activations {
    /// Takes the rows of `values` in place of what it held.
    ///
    /// # Panics
    /// If `columns` is 0 or a row is not whole.
    pub fn set(&mut self, lanes: Lanes, values: &[f32], columns: usize) {
        assert!(
            columns > 0 && values.len().is_multiple_of(columns),
            "a row is not whole"
        );
        self.columns = columns;
        self.scales.clear();
        self.cells.clear();
        self.cells.resize(values.len(), 0);
        let limit = LIMIT;
        let Self { scales, cells, .. } = self;
        lanes.run(
            #[inline(always)]
            || {
                let rows = values.chunks_exact(columns);
                for (row, cells) in rows.zip(cells.chunks_exact_mut(columns)) {
                    let largest = largest(row);
                    let inverse = if largest > 0.0 { limit / largest } else { 0.0 };
                    scales.push(largest / limit);
                    for (cell, value) in cells.iter_mut().zip(row) {
                        *cell = nearest(value * inverse);
                    }
                }
            },
        );
    }
}

/// Rounds by the addition of a number so large that its lowest bit is 1: `round` is a call on CPUs without SSE 4.1.
#[inline(always)]
fn nearest(value: f32) -> i16 {
    const LARGE: f32 = 12_582_912.0; // 1.5 × 2^23
    (value + LARGE).to_bits().wrapping_sub(LARGE.to_bits()) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let step = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((*state >> 8) as f32 / 16_777_216.0 - 0.5)
        };
        std::iter::repeat_n((), count)
            .scan(seed, |state, ()| step(state))
            .collect()
    }

    fn matrix(rows: usize, columns: usize) -> Matrix {
        let mut matrix = Matrix::with_capacity(rows, columns);
        assert_eq!(matrix.push_rows(&numbers(rows * columns, 7)), Ok(()));
        matrix
    }

    fn product(lanes: Lanes, matrix: &Matrix, values: &[f32], bias: &[f32]) -> Vec<f32> {
        let mut input = Activations::default();
        input.set(lanes, values, matrix.columns());
        let mut out = vec![0.0; values.len() / matrix.columns() * matrix.rows()];
        matrix.apply(lanes, &input, bias, &mut out);
        out
    }

    #[test]
    fn products_are_those_of_plain_arithmetic_within_the_rounding() {
        let matrix = matrix(5, 384);
        let (values, bias) = (numbers(7 * 384, 3), numbers(5, 9));
        let found = product(Lanes::best(), &matrix, &values, &bias);
        for (n, input) in values.chunks(384).enumerate() {
            for row in 0..5 {
                let mut cells = vec![0.0; 384];
                matrix.add_row(row, &mut cells);
                let pairs = cells.iter().zip(input);
                let exact: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let exact = exact + f64::from(bias[row]);
                assert!(
                    (f64::from(found[n * 5 + row]) - exact).abs() < 1e-4,
                    "{n} {row}"
                );
            }
        }
    }

    #[test]
    fn every_width_of_lanes_gives_the_same_bits() {
        for (rows, columns, inputs) in [(3, 1, 1), (5, 33, 6), (8, 384, 17), (4, 1536, 3)] {
            let matrix = matrix(rows, columns);
            let (values, bias) = (numbers(inputs * columns, 3), numbers(rows, 9));
            let bits = |lanes| {
                let found = product(lanes, &matrix, &values, &bias);
                found.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(
                bits(Lanes::Plain),
                bits(Lanes::best()),
                "{rows} × {columns}"
            );
        }
    }

    #[test]
    fn the_largest_sum_does_not_overflow() {
        for columns in [1, 384, 1536, 16_384] {
            let mut matrix = Matrix::with_capacity(1, columns);
            assert_eq!(matrix.push_rows(&vec![-2.0; columns]), Ok(()));
            let found = product(Lanes::best(), &matrix, &vec![-3.0; columns], &[0.0])[0];
            assert!(
                (found / (6 * columns) as f32 - 1.0).abs() < 1e-3,
                "{columns}: {found}"
            );
        }
    }

    #[test]
    fn nothing_stays_nothing_and_what_is_no_number_is_refused() {
        let mut matrix = Matrix::with_capacity(2, 2);
        assert_eq!(
            matrix.push_rows(&[0.0, 0.0, f32::MIN_POSITIVE / 2.0, 0.0]),
            Ok(())
        );
        assert_eq!(
            product(Lanes::best(), &matrix, &[0.0, 0.0, 1.0, 1.0], &[0.0, 0.5])[1],
            0.5
        );
        assert_eq!(matrix.push_rows(&[f32::NAN, 0.0]), Err(NotFinite));
        assert_eq!(matrix.push_rows(&[0.0, f32::INFINITY]), Err(NotFinite));
        // What a model of absurd numbers leads to is for the caller to notice; it must not panic.
        let absurd = product(
            Lanes::best(),
            &matrix,
            &[f32::NAN, f32::INFINITY],
            &[0.0, 0.0],
        );
        assert_eq!(absurd.len(), 2);
    }
}
