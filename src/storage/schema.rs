//! Error texts for tables that another version has written.

/// The key in `guestbook_meta` of the version that last changed the schema.
pub const WRITTEN_BY: &str = "schema_written_by";

/// A schema unknown to this version.
#[derive(Clone, Debug)]
pub enum Unknown {
    /// A higher number.
    Newer {
        /// Its number and name.
        found: String,
        /// The highest known number.
        known: usize,
    },
    /// A known number with another content.
    Other {
        /// Its number and name.
        found: String,
    },
}

impl Unknown {
    /// The error text; `by` is the version that wrote the schema, if recorded, and `elsewhere` an alternative to offer.
    pub fn context(&self, by: Option<&str>, elsewhere: &str) -> String {
        let this = env!("CARGO_PKG_VERSION");
        let by = by.filter(|by| *by != this).map_or_else(
            || "a newer version".to_owned(),
            |by| format!("a newer version, guestbook {by},"),
        );
        match self {
            Self::Newer { found, known } => format!(
                "the tables have the schema {found}, and this version, guestbook {this}, knows schemas up to {known}: {by} wrote \
                 them; use that version, or {elsewhere}"
            ),
            Self::Other { found } => format!(
                "the schema {found} of the tables is not the one that this version, guestbook {this}, knows by that number: it was \
                 edited by hand, or {by} wrote it; use that version, or {elsewhere}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Unknown;

    #[test]
    fn a_newer_schema_is_told_by_its_number_and_the_version_that_wrote_it() {
        let newer = Unknown::Newer {
            found: "7 (branches)".into(),
            known: 2,
        };
        let context = newer.context(Some("9.9.9"), "another --data-dir");
        for part in [
            "7 (branches)",
            "up to 2",
            "guestbook 9.9.9, wrote",
            "--data-dir",
        ] {
            assert!(context.contains(part), "{context}");
        }
        assert!(newer.context(None, "x").contains("a newer version wrote"));
    }
}
