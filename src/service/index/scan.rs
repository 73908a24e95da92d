//! Exact search: every vector is compared, and the best are proposed.

use super::rows::Segment;
use guestbook_core::{Filters, MessageId, QuantizedQuery, Role, Score, Timestamp, TopK};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows compared at a time: their scores stay in the L1 cache.
const BLOCK: usize = 512;
/// Rows per thread, below which starting another thread costs more than it saves.
const ROWS_PER_THREAD: usize = 50_000;

/// A message and its score. Ties are won by the newer id; ids ascend with time.
pub(super) type Scored = (Score, MessageId);

/// One search of the index.
#[derive(Clone, Debug)]
pub(super) struct IndexScan {
    pub(super) probe: QuantizedQuery,
    /// The platform filter is not applied here: it may change, and the tables have it.
    pub(super) filters: Filters,
    /// Candidates at most.
    pub(super) depth: usize,
}

impl IndexScan {
    /// The best rows, best first, computed on as many threads as there are processors.
    pub(super) fn run(&self, segments: &[Arc<Segment>]) -> Vec<Scored> {
        let rows: usize = segments.iter().map(|segment| segment.ids.len()).sum();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (rows / ROWS_PER_THREAD).clamp(1, processors);
        let next = AtomicUsize::new(0);
        let mut best = TopK::of(self.depth);
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|_| scope.spawn(|| self.look_through(segments, &next)))
                .collect();
            let mut found = self.look_through(segments, &next);
            for other in others {
                match other.join() {
                    Ok(more) => found.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            found.into_iter().for_each(|scored| best.offer(scored));
        });
        best.into_sorted()
    }

    /// Takes segment after segment until none is left: a thread on a busy processor takes fewer.
    fn look_through(&self, segments: &[Arc<Segment>], next: &AtomicUsize) -> Vec<Scored> {
        let mut best = TopK::of(self.depth);
        let mut dots = vec![0; BLOCK];
        while let Some(segment) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
            let blocks = segment.cells.chunks(BLOCK * self.probe.dimension());
            for (number, cells) in blocks.enumerate() {
                let dots = &mut dots[..cells.len() / self.probe.dimension()];
                self.probe.dots(cells, dots);
                self.offer(segment, number * BLOCK, dots, &mut best);
            }
        }
        best.into_sorted()
    }

    fn offer(&self, segment: &Segment, from: usize, dots: &[i64], best: &mut TopK<Scored>) {
        let mut bar = self.bar(best);
        let squares = &segment.squares[from..];
        for (at, (&dot, &square)) in dots.iter().zip(squares).enumerate() {
            if self.probe.is_below(bar, dot, square.into())
                || !self.admits(segment.roles[from + at], segment.sent_at[from + at])
            {
                continue;
            }
            let score = Score::new(self.probe.cosine(dot, square.into()));
            if self.filters.reaches(score) {
                best.offer((score, segment.ids[from + at]));
                bar = self.bar(best);
            }
        }
    }

    /// The lowest score that can still enter the best.
    fn bar(&self, best: &TopK<Scored>) -> f32 {
        let least = best.least().map_or(-1.0, |(score, _)| score.get());
        self.filters
            .minimum
            .map_or(least, |minimum| minimum.get().max(least))
    }

    fn admits(&self, role: Role, sent_at: Timestamp) -> bool {
        let filters = &self.filters;
        filters.role.is_none_or(|wanted| wanted == role)
            && filters.from.is_none_or(|from| from <= sent_at)
            && filters.to.is_none_or(|to| sent_at < to)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::super::rows::IndexRows;
    use super::*;
    use guestbook_core::{Platform, Vector};
    use guestbook_storage::database::IndexedVector;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn rows() -> impl Strategy<Value = Vec<IndexedVector>> {
        let row = (prop::collection::vec(-20_i8..=20, 5), 0_usize..4, 0_i64..50);
        prop::collection::vec(row, 1..200).prop_map(|rows| {
            let row = |(number, (mut cells, role, ms)): (usize, (Vec<i8>, usize, i64))| {
                cells[0] = cells[0].max(1);
                let bytes: Vec<u8> = cells.into_iter().map(i8::cast_unsigned).collect();
                IndexedVector {
                    id: MessageId(Uuid::from_u128(number as u128)),
                    role: Role::ALL[role],
                    sent_at: Timestamp::from_ms(ms),
                    vector: Vector::from_bytes(&bytes).unwrap(),
                }
            };
            rows.into_iter().enumerate().map(row).collect()
        })
    }

    fn filters() -> impl Strategy<Value = Filters> {
        let role = prop::option::of((0_usize..4).prop_map(|role| Role::ALL[role]));
        let time = || prop::option::of((0_i64..50).prop_map(Timestamp::from_ms));
        let minimum = prop::option::of((-1.0_f32..1.0).prop_map(Score::new));
        (role, time(), time(), minimum).prop_map(|(role, from, to, minimum)| Filters {
            role,
            platform: Some(Platform::Guest), // must not matter here
            from,
            to,
            minimum,
        })
    }

    proptest! {
        #[test]
        fn a_scan_finds_what_sorting_everything_finds(all in rows(), filters in filters(), depth in 1_usize..30) {
            let mut index = IndexRows::default();
            all.iter().for_each(|row| index.put(row, 0));
            let query = &all[0].vector;
            let scan = IndexScan { probe: QuantizedQuery::new(query), filters: filters.clone(), depth };
            let mut expected: Vec<Scored> = all
                .iter()
                .filter(|row| filters.admits(row.role, Platform::Guest, row.sent_at))
                .map(|row| (Score::new(query.cosine(&row.vector).unwrap()), row.id))
                .filter(|(score, _)| filters.reaches(*score))
                .collect();
            expected.sort_by(|a, b| b.cmp(a));
            expected.truncate(depth);
            prop_assert_eq!(scan.run(&index.segments()), expected);
        }
    }
}
