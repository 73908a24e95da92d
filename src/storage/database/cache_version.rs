//! Whether a page that was read before would be read the same.

/// Opaque snapshot version of a page; only the database that issued it can compare it. See
/// [`Chats::is_fresh`](super::Chats::is_fresh).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CacheVersion {
    /// The row of the conversation.
    pub row: i64,
    /// The last commit that the page surely has.
    pub commit: u64,
    /// See [`Self::generation`].
    pub generation: u64,
}

impl CacheVersion {
    /// Differs between two openings of a file, and before and after another process has written to it: whatever else is the same,
    /// rows of two generations may not be.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
