//! Whether a page that was read before would be read the same.

/// Of when a page is; only the database that gave it can read it. See [`Database::is_current`](super::Database::is_current).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(test, derive(Default))]
pub struct Version {
    /// What names the conversation there.
    pub(in crate::storage) chat: i64,
    /// The last change that the page surely has.
    pub(in crate::storage) since: u64,
}
