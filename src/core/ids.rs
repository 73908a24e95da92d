//! Newtypes for every id, so that a guest is never taken for a user nor a message for a conversation.

use super::InvalidField;
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

const GUEST_ID_BYTES: usize = 128;
const OWNER_ID_BYTES: usize = 128;
const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// The rule for what would stand in a path.
const NO_DOTS: &str = "must not be `.` or `..`, which no client can ask for in a path";
const CLIENT_ID_CHARACTERS: usize = 128;
/// They stand for something else in a path.
const NO_CLIENT_IDS: [&str; 3] = ["last", ".", ".."];

/// A visitor who has not signed in: 1-128 bytes of `A-Z a-z 0-9 . _ ~ : @ -`, case kept, and neither `.` nor `..`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GuestId(Arc<str>);

impl GuestId {
    /// Checks the alphabet, the length, and that a client can ask for it.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        if is_dots(text) {
            return Err(InvalidField::new("guest_id", NO_DOTS));
        }
        Self::parse_stored(text)
    }

    /// Checks the alphabet and the length: what an earlier version took, too.
    pub fn parse_stored(text: &str) -> Result<Self, InvalidField> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:@-".contains(&byte);
        if text.is_empty() || text.len() > GUEST_ID_BYTES || !text.bytes().all(legal) {
            return Err(InvalidField::new(
                "guest_id",
                "must be 1 to 128 characters of A-Z a-z 0-9 . _ ~ : @ -",
            ));
        }
        Ok(Self(text.into()))
    }

    /// The id as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Clients take these segments out of a path before they send it, also percent-encoded (RFC 3986, 5.2.4).
fn is_dots(text: &str) -> bool {
    matches!(text, "." | "..")
}

impl fmt::Display for GuestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a conversation belongs to: a guest, or the user that guest became. Any text of 1-128 bytes without control characters
/// but `.` and `..`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OwnerId(Arc<str>);

impl OwnerId {
    /// Checks a signed-in user's id, and that a client can ask for it; `field` is the name the client used for it.
    pub fn parse(field: &str, text: &str) -> Result<Self, InvalidField> {
        if is_dots(text) {
            return Err(InvalidField::new(field, NO_DOTS));
        }
        Self::parse_stored(field, text)
    }

    /// Checks a signed-in user's id: what an earlier version took, too.
    pub fn parse_stored(field: &str, text: &str) -> Result<Self, InvalidField> {
        let blank = text.trim().is_empty();
        if blank || text.len() > OWNER_ID_BYTES || text.chars().any(char::is_control) {
            return Err(InvalidField::new(
                field,
                "must be 1 to 128 bytes, not blank, without control characters",
            ));
        }
        Ok(Self(text.into()))
    }

    /// Takes a value that a store holds and that was checked when it was written.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&GuestId> for OwnerId {
    fn from(guest: &GuestId) -> Self {
        Self(Arc::clone(&guest.0))
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One message, in every table. A UUIDv7 of ours, or a UUID that the client chose.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId(pub Uuid);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// The id under which a client sends a message: unique within its conversation, whatever others send to theirs. A UUID is the
/// same in any spelling.
#[derive(Clone, Debug)]
pub struct ClientId {
    sent: Arc<str>,
    uuid: Option<Uuid>,
    /// `sent`, or the usual spelling of the UUID.
    key: Arc<str>,
}

impl ClientId {
    /// Checks the length and the alphabet.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        let fault = |rule: String| Err(InvalidField::new("id", rule));
        let length = text.chars().count();
        if !(1..=CLIENT_ID_CHARACTERS).contains(&length) || text.chars().any(char::is_control) {
            return fault(format!(
                "must be 1 to {CLIENT_ID_CHARACTERS} characters without control characters"
            ));
        }
        if NO_CLIENT_IDS.contains(&text) {
            return fault(format!("must not be one of {}", NO_CLIENT_IDS.join(" ")));
        }
        let sent: Arc<str> = text.into();
        let uuid = Uuid::parse_str(text).ok();
        let spelling = uuid.map(|uuid| uuid.as_hyphenated().to_string());
        let other = spelling.filter(|usual| usual != text);
        Ok(Self {
            key: other.map_or_else(|| Arc::clone(&sent), Into::into),
            sent,
            uuid,
        })
    }

    /// The id as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.sent
    }

    /// What it is looked up by.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The id of a message's own that it asks for, which it gets unless another conversation has it.
    pub fn wanted(&self) -> Option<MessageId> {
        self.uuid.map(MessageId)
    }

    /// What a message must keep beside its own id, so that this one is found and read again; `None` where they are the same.
    ///
    /// Of a UUID that another conversation holds, it is the usual spelling: one key has to find all spellings.
    pub fn beside(&self, own: MessageId) -> Option<Arc<str>> {
        match self.wanted() {
            Some(wanted) if wanted == own => {
                (self.sent != self.key).then(|| Arc::clone(&self.sent))
            }
            _ => Some(Arc::clone(&self.key)),
        }
    }
}

impl PartialEq for ClientId {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for ClientId {}

impl From<MessageId> for ClientId {
    fn from(id: MessageId) -> Self {
        let text: Arc<str> = id.to_string().into();
        Self {
            sent: Arc::clone(&text),
            uuid: Some(id.0),
            key: text,
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sent)
    }
}

/// One conversation. UUIDv7.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConversationId(pub Uuid);

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// The `Idempotency-Key` header: 1-255 printable ASCII characters, meaningful within one guest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Checks the alphabet and the length.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        let legal = |byte: u8| (b' '..=b'~').contains(&byte);
        let trimmed = text.trim();
        if trimmed.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES || !text.bytes().all(legal) {
            return Err(InvalidField::new(
                "Idempotency-Key",
                "must be 1 to 255 printable ASCII characters",
            ));
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// The key of one message of a request that carries several.
    pub fn of_part(&self, index: usize) -> Self {
        Self(format!("{}\n{index}", self.0)) // a newline cannot be in a key, so no other key is meant by this
    }

    /// The id this key stands for, which the client might have sent as well. A name-based UUID of guest and key: the same pair
    /// names the same message on every node and after every restart, and mostly no second index is needed to find it.
    pub fn message_id(&self, guest: &GuestId) -> MessageId {
        let name = format!("guestbook:idempotency-key\n{guest}\n{}", self.0);
        MessageId(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_ids_keep_their_case_and_refuse_what_the_contract_refuses() {
        assert_eq!(GuestId::parse("Ab9._~:@-").unwrap().as_str(), "Ab9._~:@-");
        assert!(GuestId::parse(&"g".repeat(128)).is_ok());
        for bad in ["", "a b", "a/b", "é", "a\0", &"g".repeat(129)] {
            assert_eq!(
                GuestId::parse(bad).unwrap_err().field,
                "guest_id",
                "{bad:?}"
            );
        }
    }

    #[test]
    fn ids_that_no_path_can_hold_are_refused_and_those_that_are_stored_are_read() {
        for dots in [".", ".."] {
            assert_eq!(GuestId::parse(dots).unwrap_err().field, "guest_id");
            assert_eq!(OwnerId::parse("user", dots).unwrap_err().field, "user");
            assert_eq!(GuestId::parse_stored(dots).unwrap().as_str(), dots);
            assert!(OwnerId::parse_stored("user", dots).is_ok());
        }
        for other in ["...", ".a", "a.", "-.", ".-"] {
            assert!(GuestId::parse(other).is_ok(), "{other}");
        }
    }

    #[test]
    fn an_id_of_a_client_is_any_short_text_without_control_characters() {
        let long = "é".repeat(128);
        for good in [
            "1",
            " ",
            "a/b",
            "LAST",
            "...",
            "\u{2028}",
            "\u{1F600}",
            &long,
        ] {
            let id = ClientId::parse(good).unwrap();
            assert_eq!((id.as_str(), &**id.key(), id.wanted()), (good, good, None));
            assert_eq!(id.beside(MessageId(Uuid::nil())).as_deref(), Some(good));
        }
        let longer = "é".repeat(129);
        for bad in ["", "last", ".", "..", "a\n", "\u{85}", "\0", &longer] {
            assert_eq!(ClientId::parse(bad).unwrap_err().field, "id", "{bad:?}");
        }
    }

    #[test]
    fn a_uuid_is_the_same_id_in_any_spelling_and_comes_back_as_it_was_sent() {
        let usual = "0192f0c1-2345-7000-8000-0123456789ab";
        let own = MessageId(Uuid::parse_str(usual).unwrap());
        let other = MessageId(Uuid::nil());
        let id = ClientId::parse(usual).unwrap();
        assert_eq!((id.wanted(), id.beside(own)), (Some(own), None));
        assert_eq!(id.beside(other).as_deref(), Some(usual));
        assert_eq!(id, ClientId::from(own));
        for spelling in [usual.to_uppercase(), usual.replace('-', "")] {
            let same = ClientId::parse(&spelling).unwrap();
            assert_eq!((&same, same.wanted()), (&id, Some(own)));
            assert_eq!(same.beside(own).as_deref(), Some(&*spelling));
            assert_eq!(same.beside(other).as_deref(), Some(usual));
        }
    }

    #[test]
    fn an_idempotency_key_names_one_message_per_guest() {
        let key = IdempotencyKey::parse("order-17").unwrap();
        let (a, b) = (GuestId::parse("a").unwrap(), GuestId::parse("b").unwrap());
        assert_eq!(key.message_id(&a), key.message_id(&a));
        assert_ne!(key.message_id(&a), key.message_id(&b));
        assert!(IdempotencyKey::parse(" ").is_err());
    }
}
