//! Compares stored vectors with a query vector, row by row: shared by all databases.

use guestbook_core::{MessagePosition, QuantizedQuery, Score, TopK, Vector, square};

/// Messages that a search may go through beside short reads: some milliseconds. One through more waits for others of its kind.
pub const SHORT_SCAN: u64 = 2048;

/// A semantic search in progress.
#[derive(Debug)]
pub struct VectorScan {
    probe: QuantizedQuery,
    /// The current row, as signed bytes.
    row: Vec<i8>,
    best: TopK<(Score, MessagePosition)>,
    searched: u64,
    of: u64,
}

/// The result of a scan.
#[derive(Debug)]
pub struct ScanResults {
    /// The best matches, best first.
    pub best: Vec<(Score, MessagePosition)>,
    /// Messages compared.
    pub searched: u64,
    /// Messages seen.
    pub of: u64,
}

impl VectorScan {
    /// A scan that keeps the `keep` best.
    pub fn new(query: &Vector, keep: usize) -> Self {
        Self {
            probe: QuantizedQuery::new(query),
            row: Vec::with_capacity(query.dimension()),
            best: TopK::of(keep),
            searched: 0,
            of: 0,
        }
    }

    /// Scores a message; `stored` is its vector of the query's model, if any. Bytes that are no vector of that model, which only
    /// damage can cause, are not compared.
    pub fn see(&mut self, place: MessagePosition, stored: Option<&[u8]>) {
        self.of += 1;
        let Some(stored) = stored else { return };
        self.row.clear();
        self.row
            .extend(stored.iter().map(|byte| byte.cast_signed()));
        let square = square(&self.row);
        if let Some(dot) = self.probe.dot(&self.row)
            && square > 0
        {
            self.searched += 1;
            let score = Score::new(self.probe.cosine(dot, square));
            self.best.offer((score, place));
        }
    }

    /// Ends the scan.
    pub fn end(self) -> ScanResults {
        ScanResults {
            best: self.best.into_sorted(),
            searched: self.searched,
            of: self.of,
        }
    }
}
