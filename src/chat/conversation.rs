//! A conversation as its row describes it.

use super::{ConversationId, OwnerId, Timestamp};
use std::fmt;

const TITLE_CHARACTERS: usize = 50;

/// Whose conversation it is: `platform` in the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Platform {
    /// A visitor who has not signed in.
    Guest,
    /// A signed-in user.
    Authenticated,
}

impl Platform {
    /// The word of the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Authenticated => "authenticated",
        }
    }

    /// Reads the word of the tables.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Guest, Self::Authenticated]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of `conversation_cache`, without its bookkeeping.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The guest or user it belongs to.
    pub owner: OwnerId,
    /// The guest id it was begun under; a migration keeps it.
    pub session: String,
    /// What to show in a list of conversations.
    pub title: String,
    /// Head of the hash chain, as stored (64 hex digits when nothing damaged it).
    pub hash: String,
    /// Messages, which is also the next sequence number.
    pub message_count: u64,
    /// Sum of the messages' tokens.
    pub total_tokens: u64,
    /// Guest or authenticated.
    pub platform: Platform,
    /// When the first message came.
    pub created_at: Timestamp,
    /// When the last message came.
    pub accessed_at: Timestamp,
    /// When retention removes it, if ever.
    pub expires_at: Option<Timestamp>,
}

/// The title: the first 50 characters of the guest's first own words, and before there are any, the guest's name.
pub fn title(session: &str, first_user_message: Option<&str>) -> String {
    match first_user_message {
        Some(text) => text.trim().chars().take(TITLE_CHARACTERS).collect(),
        None => format!("Guest Chat - {session}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_cut_at_fifty_characters_not_bytes() {
        assert_eq!(title("g1", Some(&"é".repeat(60))), "é".repeat(50));
        assert_eq!(title("g1", Some("  Hello  ")), "Hello");
        assert_eq!(title("g1", None), "Guest Chat - g1");
    }
}
