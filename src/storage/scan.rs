//! Comparing stored vectors with one that is sought, row by row: the same for every store of tables.

use guestbook_core::{MessagePosition, QuantizedQuery, Score, TopK, Vector, square};

/// A search by meaning while it goes through the rows.
#[derive(Debug)]
pub struct VectorScan {
    probe: QuantizedQuery,
    /// The row at hand, as signed bytes.
    row: Vec<i8>,
    best: TopK<(Score, MessagePosition)>,
    searched: u64,
    of: u64,
}

/// What a scan found.
#[derive(Debug)]
pub struct ScanResults {
    /// The best, the best first.
    pub best: Vec<(Score, MessagePosition)>,
    /// Messages that were compared.
    pub searched: u64,
    /// Messages that were seen.
    pub of: u64,
}

impl VectorScan {
    /// A scan that keeps the `keep` best.
    pub fn new(sought: &Vector, keep: usize) -> Self {
        Self {
            probe: QuantizedQuery::new(sought),
            row: Vec::with_capacity(sought.dimension()),
            best: TopK::of(keep),
            searched: 0,
            of: 0,
        }
    }

    /// Looks at a message; `stored` is its vector of the model that is sought, if it has one. Bytes that are no vector of
    /// that model, which only damage can leave behind, are not compared.
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

    /// What was found.
    pub fn end(self) -> ScanResults {
        ScanResults {
            best: self.best.into_sorted(),
            searched: self.searched,
            of: self.of,
        }
    }
}
