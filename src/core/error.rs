//! The one error of the library: what kind, in which operation, of which backend, about what, and why.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of everything that can fail in a store.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure it is; decides the HTTP status and whether to try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The data breaks a rule; sending it again cannot help.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// It contradicts what is stored.
    Conflict,
    /// Too much is waiting; try again shortly.
    Busy,
    /// The disk, or another bounded resource, has no room.
    Full,
    /// The backend does not answer, or must not be used any more.
    Unavailable,
    /// Stored bytes are not what was written.
    Corrupt,
    /// Rows contradict each other. Sending it again cannot help before they are repaired; the context says how.
    Inconsistent,
    /// This build or this backend cannot do it.
    Unsupported,
    /// A defect of ours.
    Internal,
}

impl ErrorKind {
    /// Every kind, for those who must treat each: outside of this crate no `match` can be complete.
    pub const ALL: [Self; 10] = [
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Busy,
        Self::Full,
        Self::Unavailable,
        Self::Corrupt,
        Self::Inconsistent,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The place of a kind in [`Self::ALL`]. The match makes that a new kind cannot be left out there.
    const fn place(self) -> usize {
        match self {
            Self::Invalid => 0,
            Self::NotFound => 1,
            Self::Conflict => 2,
            Self::Busy => 3,
            Self::Full => 4,
            Self::Unavailable => 5,
            Self::Corrupt => 6,
            Self::Inconsistent => 7,
            Self::Unsupported => 8,
            Self::Internal => 9,
        }
    }
}

const _: () = {
    let mut place = 0;
    while place < ErrorKind::ALL.len() {
        assert!(ErrorKind::ALL[place].place() == place);
        place += 1;
    }
};

/// A failure. Cheap to clone, because one failed batch answers many requests.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    backend: &'static str,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure without a lower cause; `context` says what happened, about what, and what to do next where there is something.
    pub fn new(
        kind: ErrorKind,
        backend: &'static str,
        operation: &'static str,
        context: impl Into<String>,
    ) -> Self {
        Self(Arc::new(Inner {
            kind,
            operation,
            backend,
            context: context.into(),
            source: None,
        }))
    }

    /// A failure with its lower cause.
    pub fn caused(
        kind: ErrorKind,
        backend: &'static str,
        operation: &'static str,
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner {
            kind,
            operation,
            backend,
            context: context.into(),
            source: Some(source.into()),
        }))
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The backend it happened in, e.g. `sqlite`.
    pub fn backend(&self) -> &'static str {
        self.0.backend
    }

    /// The operation that failed, e.g. `record`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What happened, without where and why.
    pub fn context(&self) -> &str {
        &self.0.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(
            f,
            "{} {}: {}",
            inner.backend, inner.operation, inner.context
        )?;
        match &inner.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({self})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(owned).unwrap_or("no text")
}
