//! The snapshot version of a page, which shows whether a new read would return the same.

/// Opaque snapshot version of a page; only the database that issued it can compare it. See
/// [`Chats::is_fresh`](super::Chats::is_fresh).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CacheVersion {
    /// The row of the conversation.
    pub row: i64,
    /// A commit that the page is known to include.
    pub commit: u64,
    /// See [`Self::generation`].
    pub generation: u64,
}

impl CacheVersion {
    /// Differs between two openings of a file, and before and after a foreign write: row numbers of two generations are not
    /// comparable.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
