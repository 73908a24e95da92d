//! A body while it arrives: in pieces that are never moved, so that growing it takes no second copy and leaves no holes.

use axum::body::Bytes;

const FIRST: usize = 1 << 10;
/// A larger one would be set aside for bytes that may never come.
const LARGEST: usize = 16 << 10;

/// Bytes in pieces: each as large as all before it, up to 16 KiB.
pub(super) struct Pieces {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    length: usize,
    capacity: usize,
    limit: usize,
}

impl Pieces {
    /// Nothing yet, and never more than `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            full: Vec::new(),
            last: Vec::new(),
            length: 0,
            capacity: 0,
            limit,
        }
    }

    /// What is set aside.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The size of the next piece; `None` when the limit is reached.
    pub(super) fn next_size(&self) -> Option<usize> {
        let size = self.capacity.clamp(FIRST, LARGEST);
        let left = self.limit - self.capacity;
        Some(size.min(left)).filter(|size| *size > 0)
    }

    /// Adds a piece.
    pub(super) fn grow(&mut self, size: usize) {
        let last = std::mem::replace(&mut self.last, Vec::with_capacity(size));
        self.full.push(last);
        self.capacity += size;
    }

    /// Takes what there is room for; whether that was all.
    pub(super) fn take(&mut self, part: &mut Bytes) -> bool {
        let fits = part.split_to(part.len().min(self.capacity - self.length));
        self.length += fits.len();
        self.last.extend_from_slice(&fits);
        part.is_empty()
    }

    /// All of it in one; each piece is given back as soon as it is copied.
    pub(super) fn joined(mut self) -> Bytes {
        if self.full.iter().all(Vec::is_empty) {
            return self.last.into();
        }
        self.full.push(self.last);
        let mut whole = Vec::with_capacity(self.length);
        for piece in self.full {
            whole.extend_from_slice(&piece);
        }
        whole.into()
    }
}
