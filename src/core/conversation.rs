//! A conversation as its row describes it.

use super::{ConversationId, OwnerId, Timestamp};
use std::fmt;
use unicode_segmentation::UnicodeSegmentation;

const TITLE_CHARACTERS: usize = 50;
/// Unicode scalar values of a title at most: a character may carry any number of marks. An emoji of a family has 7 of them.
const TITLE_SCALARS: usize = 400;

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

/// The title: the first 50 characters of the guest's first own words on one line, and before there are any, the guest's name.
/// A character is what a reader sees as one (UAX 29): no emoji, flag or accent is cut.
pub fn title(session: &str, first_user_message: Option<&str>) -> String {
    let said = first_user_message.map(first_words).unwrap_or_default();
    match said.is_empty() {
        true => format!("Guest Chat - {session}"), // also of a text that is nothing but control characters
        false => said,
    }
}

fn first_words(text: &str) -> String {
    // One more than may be kept: the character before it is known to be whole.
    let line: String = on_one_line(text).take(TITLE_SCALARS + 1).collect();
    let (mut kept, mut scalars) = (0, 0);
    for character in line.graphemes(true).take(TITLE_CHARACTERS) {
        scalars += character.chars().count();
        if scalars > TITLE_SCALARS {
            break;
        }
        kept += character.len();
    }
    match kept {
        // One character with more marks than a title has room for.
        0 => line.chars().take(TITLE_SCALARS).collect(),
        _ => line[..kept].trim_end().to_owned(),
    }
}

/// The text with each run of white space and control characters made one blank, and none at its beginning.
fn on_one_line(text: &str) -> impl Iterator<Item = char> {
    let mut is_blank = true;
    text.chars().filter_map(move |c| {
        let was_blank = std::mem::replace(&mut is_blank, c.is_whitespace() || c.is_control());
        match (is_blank, was_blank) {
            (true, true) => None,
            (true, false) => Some(' '),
            (false, _) => Some(c),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        title("g1", Some(text))
    }

    #[test]
    fn a_title_is_cut_at_fifty_characters_as_a_reader_sees_them() {
        // An accent of its own, a family, a flag, a skin tone, a syllable of Devanagari, a keycap.
        for character in ["é", "e\u{301}", "👨‍👩‍👧", "🇫🇷", "👍🏽", "नि", "1\u{fe0f}\u{20e3}"]
        {
            let most = TITLE_CHARACTERS.min(TITLE_SCALARS / character.chars().count());
            assert_eq!(
                of(&character.repeat(60)),
                character.repeat(most),
                "{character}"
            );
            assert_eq!(of(&character.repeat(most)), character.repeat(most));
            let before = "x".repeat(49);
            assert_eq!(
                of(&format!("{before}{character}y")),
                format!("{before}{character}")
            );
        }
    }

    #[test]
    fn a_title_is_one_line_without_blanks_at_its_ends() {
        for (text, expected) in [
            ("  Hello  ", "Hello"),
            (
                "Hello\r\n\r\nthere\u{2028}you\u{85}all",
                "Hello there you all",
            ),
            ("\ta\t \t\u{3000}b\u{1b}[31m\u{7}", "a b [31m"),
            ("\u{1}", "Guest Chat - g1"),
        ] {
            assert_eq!(of(text), expected, "{text:?}");
        }
        assert_eq!(of(&format!("{} and more", "x".repeat(49))), "x".repeat(49));
        assert_eq!(title("g1", None), "Guest Chat - g1");
    }

    #[test]
    fn a_title_has_a_bound_whatever_marks_its_characters_carry() {
        let marked = |marks: usize| format!("e{}", "\u{301}".repeat(marks));
        assert_eq!(of(&marked(10_000)), marked(TITLE_SCALARS - 1));
        assert_eq!(of(&marked(199).repeat(3)), marked(199).repeat(2));
        assert_eq!(of(&marked(200).repeat(3)), marked(200));
    }
}
