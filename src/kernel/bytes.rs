//! Sums of products of signed bytes: how near many stored vectors are to one that is sought.

use crate::Lanes;

/// Columns whose products are summed in 32 bits before the sum is widened: 65,536 × 128 × 128 = 2^30.
const BLOCK: usize = 65_536;

/// Widens signed bytes to the 16 bits in which [`byte_dots`] takes what is sought: done once, and not for every row.
pub fn widened(cells: &[i8]) -> Vec<i16> {
    cells.iter().map(|&cell| i16::from(cell)).collect()
}

/// For each row of `rows`, as many cells long as `sought`, the exact sum of its products with it. `sought` is what
/// [`widened`] gave: each cell in `-128..=127`.
///
/// # Panics
/// If `sought` is empty, or `rows` are not as many as `out` has places.
pub fn byte_dots(lanes: Lanes, sought: &[i16], rows: &[i8], out: &mut [i64]) {
    let columns = sought.len();
    assert!(columns > 0, "nothing is sought");
    assert_eq!(rows.len(), out.len() * columns, "cells of the rows");
    lanes.run(
        #[inline(always)]
        || {
            for (row, place) in rows.chunks_exact(columns).zip(out) {
                let blocks = row.chunks(BLOCK).zip(sought.chunks(BLOCK));
                *place = blocks
                    .map(
                        #[inline(always)]
                        |(cells, sought)| i64::from(dot(cells, sought)),
                    )
                    .sum();
            }
        },
    );
}

/// The exact sum of the products. Pairs and no places: with places LLVM keeps a check in the loop, and then leaves the last 64
/// of 256 cells to be done one by one, which takes six times as long.
#[inline(always)]
fn dot(cells: &[i8], sought: &[i16]) -> i32 {
    cells
        .iter()
        .zip(sought)
        .map(
            #[inline(always)]
            |(&cell, &sought)| i32::from(cell) * i32::from(sought), // cannot overflow: see `BLOCK`
        )
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte there is, in a mixed order.
    fn bytes(count: usize, seed: usize) -> Vec<i8> {
        let mixed = |at: usize| (at * 167 + seed * 71 + at / 251) as u8;
        (0..count).map(|at| mixed(at).cast_signed()).collect()
    }

    fn dots(lanes: Lanes, sought: &[i8], rows: &[i8]) -> Vec<i64> {
        let mut out = vec![0; rows.len() / sought.len()];
        byte_dots(lanes, &widened(sought), rows, &mut out);
        out
    }

    #[test]
    fn sums_are_exact_whatever_the_width_of_the_lanes() {
        for columns in [1, 7, 15, 16, 31, 33, 100, 256, 384, 1536, 65_537] {
            let (sought, rows) = (bytes(columns, 3), bytes(columns * 3, 8));
            let one = |row: &[i8]| -> i64 {
                let pairs = row.iter().zip(&sought);
                pairs.map(|(&a, &b)| i64::from(a) * i64::from(b)).sum()
            };
            let exact: Vec<_> = rows.chunks(columns).map(one).collect();
            assert_eq!(dots(Lanes::Plain, &sought, &rows), exact, "{columns}");
            assert_eq!(dots(Lanes::best(), &sought, &rows), exact, "{columns}");
        }
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        for columns in [256, 65_536, 200_000] {
            let (least, most) = (vec![i8::MIN; columns], vec![i8::MAX; columns]);
            for lanes in [Lanes::Plain, Lanes::best()] {
                let full = columns as i64;
                assert_eq!(dots(lanes, &least, &least), [full * 128 * 128]);
                assert_eq!(dots(lanes, &least, &most), [-full * 128 * 127]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "cells of the rows")]
    fn rows_of_another_length_are_refused() {
        byte_dots(Lanes::Plain, &[1, 2], &[1, 2, 3], &mut [0]);
    }
}
