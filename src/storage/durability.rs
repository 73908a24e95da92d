//! What outlives which failure once it was acknowledged, and the settings that say so.

use std::fmt;

/// How much of what was acknowledged is still there after a failure.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Durability {
    /// Nothing: it is gone with the process.
    Nothing,
    /// All of it after a process was killed; a power cut may take the last moments.
    Normal,
    /// All of it, also after a power cut: it was on disk before it was acknowledged.
    #[default]
    Full,
}

impl Durability {
    /// The word that settings, answers and reports have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Normal => "normal",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a backend promises of what it has acknowledged, as it is set now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DurabilityReport {
    /// How much of it outlives what.
    pub durability: Durability,
    /// The settings behind it, in the backend's own words: `synchronous=FULL`.
    pub settings: String,
}

impl DurabilityReport {
    /// A promise and the settings behind it.
    pub fn new(durability: Durability, settings: impl Into<String>) -> Self {
        Self {
            durability,
            settings: settings.into(),
        }
    }
}
