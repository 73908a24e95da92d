//! The vectors in memory: columnar segments, shared with scans and copied on write.
//!
//! A scan clones the segment pointers and needs no lock while it runs. A change works in place, or on a copy of one segment
//! that a scan still holds: neither waits for the other.

use guestbook_core::{MessageId, Role, Timestamp, square};
use guestbook_storage::database::IndexedVector;
use hashbrown::HashTable;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Rows per segment: about 1 MiB of vectors of 256 dimensions, the most that one change copies.
pub(super) const SEGMENT: usize = 4096;

/// Rows, each an index into every column.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    /// The vectors, concatenated.
    pub(super) cells: Vec<i8>,
    /// The squared length of each vector.
    pub(super) squares: Vec<u32>,
    pub(super) ids: Vec<MessageId>,
    pub(super) roles: Vec<Role>,
    pub(super) sent_at: Vec<Timestamp>,
    /// The last full scan that saw each row.
    full_scans: Vec<u8>,
}

impl Segment {
    /// Reserves capacity for all rows at once: unused pages take no memory, and filling copies nothing.
    fn new(dimension: usize) -> Self {
        Self {
            cells: Vec::with_capacity(SEGMENT * dimension),
            squares: Vec::with_capacity(SEGMENT),
            ids: Vec::with_capacity(SEGMENT),
            roles: Vec::with_capacity(SEGMENT),
            sent_at: Vec::with_capacity(SEGMENT),
            full_scans: Vec::with_capacity(SEGMENT),
        }
    }

    fn push(&mut self, row: &IndexedVector, full_scan: u8) {
        let cells = row.vector.components();
        self.cells.extend_from_slice(cells);
        self.squares.push(squared(cells));
        self.ids.push(row.id);
        self.roles.push(row.role);
        self.sent_at.push(row.sent_at);
        self.full_scans.push(full_scan);
    }

    fn set(&mut self, at: usize, row: &IndexedVector, full_scan: u8) {
        let cells = row.vector.components();
        self.cells[at * cells.len()..][..cells.len()].copy_from_slice(cells);
        self.squares[at] = squared(cells);
        self.roles[at] = row.role;
        self.sent_at[at] = row.sent_at;
        self.full_scans[at] = full_scan;
    }

    /// Moves the last row of `from` into the place of a row.
    fn take_last_of(&mut self, at: usize, from: &Self) {
        let last = from.ids.len() - 1;
        let dimension = from.cells.len() / from.ids.len();
        self.cells[at * dimension..][..dimension].copy_from_slice(&from.cells[last * dimension..]);
        self.squares[at] = from.squares[last];
        self.ids[at] = from.ids[last];
        self.roles[at] = from.roles[last];
        self.sent_at[at] = from.sent_at[last];
        self.full_scans[at] = from.full_scans[last];
    }

    fn pop(&mut self, dimension: usize) {
        self.cells.truncate(self.cells.len() - dimension);
        self.squares.pop();
        self.ids.pop();
        self.roles.pop();
        self.sent_at.pop();
        self.full_scans.pop();
    }
}

/// Overflows at 266,000 dimensions, which no model has.
fn squared(cells: &[i8]) -> u32 {
    u32::try_from(square(cells)).unwrap_or(u32::MAX)
}

/// All rows, and the row number of each message.
#[derive(Debug, Default)]
pub(super) struct IndexRows {
    /// Cells per row, set by the first row.
    dimension: usize,
    segments: Vec<Arc<Segment>>,
    /// The row number of each id; the ids themselves are in the rows.
    places: HashTable<u32>,
    hasher: RandomState,
}

impl IndexRows {
    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// A snapshot of the rows.
    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.clone()
    }

    /// Inserts or replaces the row of a message. A vector of another dimension is of another model and is skipped.
    pub(super) fn put(&mut self, row: &IndexedVector, full_scan: u8) {
        if self.places.is_empty() {
            self.dimension = row.vector.dimension();
        }
        if self.dimension != row.vector.dimension() {
            return;
        }
        if let Some(place) = self.place(row.id) {
            Arc::make_mut(&mut self.segments[place / SEGMENT]).set(place % SEGMENT, row, full_scan);
            return;
        }
        let place = self.len();
        if place.is_multiple_of(SEGMENT) {
            self.segments.push(Arc::new(Segment::new(self.dimension)));
        }
        let Ok(number) = u32::try_from(place) else {
            return; // 4 billion rows do not fit into any memory
        };
        Arc::make_mut(&mut self.segments[place / SEGMENT]).push(row, full_scan);
        let (segments, hasher) = (&self.segments, &self.hasher);
        let hash = |id: MessageId| hasher.hash_one(id);
        let rehash = |place: &u32| hash(id_at(segments, *place));
        self.places.insert_unique(hash(row.id), number, rehash);
    }

    /// Removes the row of a message, if there is one.
    pub(super) fn remove(&mut self, id: MessageId) {
        let Some(place) = self.place(id) else {
            return;
        };
        let last = self.len() - 1;
        let moved = id_at(&self.segments, last as u32);
        // Both entries are removed before any row moves: they are found by the ids in the rows.
        self.forget(id);
        if place != last {
            self.forget(moved);
            let source = Arc::clone(&self.segments[last / SEGMENT]);
            Arc::make_mut(&mut self.segments[place / SEGMENT])
                .take_last_of(place % SEGMENT, &source);
            drop(source);
        }
        Arc::make_mut(&mut self.segments[last / SEGMENT]).pop(self.dimension);
        if last.is_multiple_of(SEGMENT) {
            self.segments.pop();
        }
        if place != last {
            let (segments, hasher) = (&self.segments, &self.hasher);
            let rehash = |place: &u32| hasher.hash_one(id_at(segments, *place));
            self.places
                .insert_unique(hasher.hash_one(moved), place as u32, rehash);
        }
    }

    /// Removes every row that this full scan has not seen; returns how many.
    pub(super) fn remove_unseen(&mut self, full_scan: u8) -> usize {
        let unseen = self.segments.iter().flat_map(|segment| {
            let rows = segment.ids.iter().zip(&segment.full_scans);
            rows.filter(|(_, seen)| **seen != full_scan)
                .map(|(id, _)| *id)
        });
        let unseen: Vec<_> = unseen.collect();
        for id in &unseen {
            self.remove(*id);
        }
        unseen.len()
    }

    fn place(&self, id: MessageId) -> Option<usize> {
        let is_it = |place: &u32| id_at(&self.segments, *place) == id;
        let place = self.places.find(self.hasher.hash_one(id), is_it)?;
        Some(*place as usize)
    }

    fn forget(&mut self, id: MessageId) {
        let segments = &self.segments;
        let is_it = |place: &u32| id_at(segments, *place) == id;
        if let Ok(entry) = self.places.find_entry(self.hasher.hash_one(id), is_it) {
            entry.remove();
        }
    }
}

fn id_at(segments: &[Arc<Segment>], place: u32) -> MessageId {
    let place = place as usize;
    segments[place / SEGMENT].ids[place % SEGMENT]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use guestbook_core::Vector;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn row(id: u8, value: i8) -> IndexedVector {
        IndexedVector {
            id: MessageId(Uuid::from_u128(id.into())),
            role: Role::ALL[usize::from(id) % 4],
            sent_at: Timestamp::from_ms(value.into()),
            vector: Vector::from_bytes(&[1, value.cast_unsigned(), 3]).unwrap(),
        }
    }

    /// All rows as the columns store them.
    fn all(segments: &[Arc<Segment>]) -> BTreeMap<MessageId, (Vec<i8>, u32, Role, Timestamp)> {
        let mut all = BTreeMap::new();
        for segment in segments {
            for (at, cells) in segment.cells.chunks(3).enumerate() {
                let row = (
                    cells.to_vec(),
                    segment.squares[at],
                    segment.roles[at],
                    segment.sent_at[at],
                );
                assert!(all.insert(segment.ids[at], row).is_none(), "twice");
            }
        }
        all
    }

    fn expected(row: &IndexedVector) -> (Vec<i8>, u32, Role, Timestamp) {
        let cells = row.vector.components();
        (cells.to_vec(), square(cells) as u32, row.role, row.sent_at)
    }

    proptest! {
        #[test]
        fn rows_are_what_a_map_would_hold(
            steps in prop::collection::vec((0_u8..40, prop::option::weighted(0.7, -127_i8..=127)), 0..300),
        ) {
            let (mut rows, mut model) = (IndexRows::default(), BTreeMap::new());
            let mut full_scan = 0;
            for (step, (id, value)) in steps.into_iter().enumerate() {
                let snapshot = rows.segments(); // a scan has them, so every change must copy
                let before = all(&snapshot);
                match value {
                    Some(value) => {
                        rows.put(&row(id, value), full_scan);
                        model.insert(row(id, value).id, (full_scan, row(id, value)));
                    }
                    None => {
                        rows.remove(row(id, 0).id);
                        model.remove(&row(id, 0).id);
                    }
                }
                if step % 50 == 49 {
                    full_scan += 1;
                    rows.remove_unseen(full_scan - 1);
                    model.retain(|_, (seen, _)| *seen == full_scan - 1);
                }
                let rows_expected = model.iter().map(|(id, (_, row))| (*id, expected(row))).collect();
                prop_assert_eq!(rows.len(), model.len());
                prop_assert_eq!(all(&rows.segments()), rows_expected);
                prop_assert_eq!(all(&snapshot), before);
            }
        }
    }

    #[test]
    fn rows_fill_one_segment_after_the_other_and_leave_none_empty() {
        let mut rows = IndexRows::default();
        let id = |n: usize| MessageId(Uuid::from_u128(n as u128));
        for n in 0..=SEGMENT {
            rows.put(
                &IndexedVector {
                    id: id(n),
                    ..row(0, 5)
                },
                0,
            );
        }
        assert_eq!((rows.len(), rows.segments().len()), (SEGMENT + 1, 2));
        rows.remove(id(7)); // the last row takes its place
        assert_eq!((rows.len(), rows.segments().len()), (SEGMENT, 1));
        assert_eq!(rows.segments()[0].ids[7], id(SEGMENT));
        rows.remove(id(SEGMENT));
        assert_eq!(rows.segments()[0].ids[7], id(SEGMENT - 1));
    }

    #[test]
    fn a_vector_of_another_dimension_is_passed_over() {
        let mut rows = IndexRows::default();
        rows.put(&row(1, 1), 0);
        let longer = Vector::from_bytes(&[1, 2, 3, 4]).unwrap();
        rows.put(
            &IndexedVector {
                vector: longer,
                ..row(2, 1)
            },
            0,
        );
        assert_eq!(rows.len(), 1);
    }
}
