//! `cache_metrics`: one row per UTC clock hour.

use crate::database::CounterDeltas;
use guestbook_core::Timestamp;
use std::collections::BTreeMap;

/// The rows by the start of their hour.
#[derive(Default)]
pub(super) struct HourRows(BTreeMap<Timestamp, HourRow>);

/// One row. The mean is stored as sum and count, so that updates lose no precision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct HourRow {
    pub(super) total_entries: u64,
    pub(super) cache_hits: u64,
    pub(super) cache_misses: u64,
    pub(super) total_requests: u64,
    pub(super) timed: u64,
    pub(super) timed_ms: f64,
}

impl HourRow {
    /// Counts stored messages: a request and a miss each.
    fn count_stored(&mut self, messages: u64) {
        self.total_requests += messages;
        self.cache_misses += messages;
    }

    fn count_deltas(&mut self, deltas: &CounterDeltas) {
        self.total_requests += deltas.hits + deltas.misses;
        self.cache_hits += deltas.hits;
        self.cache_misses += deltas.misses;
        self.timed += deltas.timed;
        self.timed_ms += deltas.timed_ms;
    }
}

impl HourRows {
    /// Updates the row of the hour of `at`: messages stored, reads and timings, and the number of messages. If the clock was set
    /// back, the rows of later hours get the number of messages too.
    pub(super) fn advance(
        &mut self,
        at: Timestamp,
        stored: u64,
        deltas: &CounterDeltas,
        entries: u64,
    ) {
        let row = self.0.entry(at.hour()).or_default();
        row.count_stored(stored);
        row.count_deltas(deltas);
        for (_, row) in self.0.range_mut(at.hour()..) {
            row.total_entries = entries;
        }
    }

    /// Inserts a row for an hour that has none, from the messages stored in it.
    pub(super) fn insert_missing(&mut self, hour: Timestamp, stored: u64) {
        self.0.entry(hour).or_insert_with(|| {
            let mut row = HourRow::default();
            row.count_stored(stored);
            row
        });
    }

    /// Sets the number of messages in the newest row, if any.
    pub(super) fn set_entries(&mut self, entries: u64) {
        if let Some(mut newest) = self.0.last_entry() {
            newest.get_mut().total_entries = entries;
        }
    }

    pub(super) fn has(&self, hour: Timestamp) -> bool {
        self.0.contains_key(&hour)
    }

    /// `total_entries` of the newest row.
    pub(super) fn entries(&self) -> u64 {
        self.0
            .last_key_value()
            .map_or(0, |(_, row)| row.total_entries)
    }

    /// Sum of `total_requests`.
    pub(super) fn requests(&self) -> u64 {
        self.0.values().map(|row| row.total_requests).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_over_timed_requests_only() {
        let mut hours = HourRows::default();
        let at = Timestamp::from_ms(3_600_001);
        let reads = CounterDeltas {
            hits: 3,
            misses: 1,
            timed: 2,
            timed_ms: 5.0,
            owners: Vec::new(),
        };
        hours.advance(at, 2, &reads, 2);
        hours.advance(at, 1, &CounterDeltas::default(), 3);
        let expected = HourRow {
            total_entries: 3,
            cache_hits: 3,
            cache_misses: 4,
            total_requests: 7,
            timed: 2,
            timed_ms: 5.0,
        };
        assert_eq!(hours.0.get(&Timestamp::from_ms(3_600_000)), Some(&expected));
        assert_eq!(hours.0.len(), 1);
    }
}
