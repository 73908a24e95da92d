//! An arriving body. A small one grows in place. A larger one has a mapping of its own: the system provides pages as they are
//! written and gets them back when the body is dropped. So a body is never in memory twice, missing bytes take nothing, and no
//! holes are left between other bodies.

use axum::body::Bytes;
use memmap2::{MmapMut, MmapOptions};
use std::io;

/// Larger bodies are mapped. With eight times this, a thousand bodies cut off while growing left 56 MiB of holes in a heap of 82,
/// beside the next bodies.
const SMALL: usize = 16 << 10;
/// Larger bodies map their maximum size at once. A system that does not overcommit counts all of it
/// (`vm.overcommit_memory=2`), so a body that has just begun maps no more than this.
const MIDDLE: usize = 128 << 10;
const FIRST: usize = 1 << 10;
/// Memory is taken in parts no larger than this: more would be reserved for bytes that may never come.
const LARGEST: usize = 16 << 10;

/// The bytes so far, and the reserved room for more: as much again, up to 16 KiB.
pub(super) struct Arriving {
    small: Vec<u8>,
    large: Option<MmapMut>,
    length: usize,
    capacity: usize,
    most: usize,
}

impl Arriving {
    /// An empty body that never exceeds `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            small: Vec::new(),
            large: None,
            length: 0,
            capacity: 0,
            most,
        }
    }

    /// The reserved bytes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How much to reserve next; `None` at the maximum.
    pub(super) fn next_size(&self) -> Option<usize> {
        let size = self.capacity.clamp(FIRST, LARGEST);
        let left = self.most - self.capacity;
        Some(size.min(left)).filter(|size| *size > 0)
    }

    /// Reserves more. Fails when the system has no pages.
    pub(super) fn grow(&mut self, size: usize) -> io::Result<()> {
        self.capacity += size;
        if self.capacity <= SMALL {
            self.small.reserve_exact(self.capacity - self.length);
            return Ok(());
        }
        let reserved = self.large.as_ref().map_or(0, |large| large.len());
        if self.capacity <= reserved {
            return Ok(());
        }
        let middle = MIDDLE.min(self.most);
        let mut larger = if self.capacity <= middle {
            pages(middle)?
        } else {
            pages(self.most)?
        };
        larger[..self.length].copy_from_slice(self.so_far());
        self.small = Vec::new();
        self.large = Some(larger);
        Ok(())
    }

    fn so_far(&self) -> &[u8] {
        match &self.large {
            Some(large) => &large[..self.length],
            None => &self.small,
        }
    }

    /// Takes the bytes that fit; returns whether that was all.
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

    /// The whole body, without a copy.
    pub(super) fn whole(self) -> Bytes {
        match self.large {
            Some(large) => Bytes::from_owner(large).slice(..self.length),
            None => self.small.into(),
        }
    }
}

/// Maps ordinary pages: with huge ones (`transparent_hugepage` set to `always`) the first byte would take 2 MiB.
fn pages(bytes: usize) -> io::Result<MmapMut> {
    let pages = MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?;
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::NoHugePage); // a system that has none does not know them
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_came_however_it_came() {
        let body: Vec<u8> = (0..3 * MIDDLE).map(|place| (place % 251) as u8).collect();
        for length in [
            0,
            1,
            FIRST,
            SMALL,
            SMALL + 1,
            MIDDLE,
            MIDDLE + 1,
            3 * MIDDLE,
        ] {
            for part in [1_000, SMALL, MIDDLE] {
                for most in [length, length + 1, 4 * MIDDLE] {
                    let arrived = arrived(&body[..length], part, most);
                    assert!(arrived == body[..length], "{length} by {part}, most {most}");
                }
            }
        }
    }

    fn arrived(body: &[u8], part: usize, most: usize) -> Bytes {
        let mut arriving = Arriving::new(most);
        for part in body.chunks(part) {
            let mut part = Bytes::copy_from_slice(part);
            while !arriving.take(&mut part) {
                let more = arriving.next_size().expect("no more than may come");
                arriving.grow(more).unwrap();
            }
        }
        arriving.whole()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_large_body_has_no_huge_pages() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            return;
        }
        let large = arrived(&[b'x'; SMALL + 1], SMALL, 4 << 20);
        let flags = flags_of(large.as_ptr() as usize);
        assert!(flags.split(' ').any(|flag| flag == "nh"), "{flags}");
    }

    /// What the system notes of the pages around an address: a line of their range, some of other things, and one of flags.
    #[cfg(target_os = "linux")]
    fn flags_of(address: usize) -> String {
        let hex = |text: &str| usize::from_str_radix(text, 16).ok();
        let is_range_of_it = |line: &str| {
            let (low, high) = line.split(' ').next()?.split_once('-')?;
            Some((hex(low)?..hex(high)?).contains(&address))
        };
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines();
        lines.find(|line| is_range_of_it(line) == Some(true));
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags: "));
        flags.expect("it is mapped").to_owned()
    }
}
