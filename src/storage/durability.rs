//! Which acknowledged writes survive which failure, and the settings that decide it.

use std::fmt;

/// The failure that acknowledged writes survive.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Durability {
    /// None: they are lost with the process.
    Nothing,
    /// A killed process; a power cut may lose the last moments.
    Normal,
    /// A power cut: writes are on disk before they are acknowledged.
    #[default]
    Full,
}

impl Durability {
    /// The word in settings, responses and reports.
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

/// A backend's durability under its current settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DurabilityReport {
    /// The failure that its acknowledged writes survive.
    pub durability: Durability,
    /// The settings behind it, in the backend's own words: `synchronous=FULL`.
    pub settings: String,
}

impl DurabilityReport {
    /// A report of a durability and the settings behind it.
    pub fn new(durability: Durability, settings: impl Into<String>) -> Self {
        Self {
            durability,
            settings: settings.into(),
        }
    }
}
