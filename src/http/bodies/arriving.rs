//! A body while it arrives. A small one grows in place. A large one has pages of its own, as many as it may come to need: the
//! system gives them when something is written to them and has them back when the body is dropped. So a body is never in memory
//! twice, what never comes takes nothing, and no holes are left between the bodies of others.

use axum::body::Bytes;
use memmap2::{MmapMut, MmapOptions};

/// A larger one has pages of its own.
const SMALL: usize = 128 << 10;
const FIRST: usize = 1 << 10;
/// Room is taken in parts no larger than this: more would be set aside for bytes that may never come.
const LARGEST: usize = 16 << 10;

/// Bytes that came so far, and the room that is set aside for more: as much as there is already, up to 16 KiB.
pub(super) struct Arriving {
    small: Vec<u8>,
    large: Option<MmapMut>,
    length: usize,
    capacity: usize,
    most: usize,
}

impl Arriving {
    /// Nothing yet, and never more than `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            small: Vec::new(),
            large: None,
            length: 0,
            capacity: 0,
            most,
        }
    }

    /// What is set aside.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How much to set aside next; `None` when that is all there may be.
    pub(super) fn next_size(&self) -> Option<usize> {
        let size = self.capacity.clamp(FIRST, LARGEST);
        let left = self.most - self.capacity;
        Some(size.min(left)).filter(|size| *size > 0)
    }

    /// Sets so much more aside. Fails when the system has no pages to give.
    pub(super) fn grow(&mut self, size: usize) -> std::io::Result<()> {
        self.capacity += size;
        if self.large.is_some() {
            return Ok(());
        }
        if self.capacity <= SMALL {
            self.small.reserve_exact(self.capacity - self.length);
            return Ok(());
        }
        let mut large = MmapOptions::new()
            .len(self.most)
            .no_reserve_swap()
            .map_anon()?;
        large[..self.length].copy_from_slice(&self.small);
        self.small = Vec::new();
        self.large = Some(large);
        Ok(())
    }

    /// Takes what there is room for; whether that was all.
    pub(super) fn take(&mut self, part: &mut Bytes) -> bool {
        let fits = part.split_to(part.len().min(self.capacity - self.length));
        let end = self.length + fits.len();
        match &mut self.large {
            Some(large) => large[self.length..end].copy_from_slice(&fits),
            None => self.small.extend_from_slice(&fits),
        }
        self.length = end;
        part.is_empty()
    }

    /// All of it, where it is.
    pub(super) fn whole(self) -> Bytes {
        match self.large {
            Some(large) => Bytes::from_owner(large).slice(..self.length),
            None => self.small.into(),
        }
    }
}
