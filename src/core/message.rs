//! A message before and after it has found its place.

use super::{
    ClientId, Content, Digest, GuestId, InvalidField, MessageId, Metadata, Timestamp, content_hash,
    tokens,
};
use std::fmt;
use std::sync::Arc;

/// Who speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// The guest.
    User,
    /// The model.
    Assistant,
    /// The product's instructions.
    System,
    /// The result of a tool the model called.
    Tool,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 4] = [Self::User, Self::Assistant, Self::System, Self::Tool];

    /// Reads the word of the JSON; the contract knows no other spelling.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| {
            InvalidField::new("role", "must be one of user, assistant, system, tool")
        })
    }

    /// The word of the JSON and of the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
            Self::Tool => "tool",
        }
    }

    /// The byte that stands for the role in the hash chain and in list records; never reused for another role.
    pub fn code(self) -> u8 {
        match self {
            Self::User => 0,
            Self::Assistant => 1,
            Self::System => 2,
            Self::Tool => 3,
        }
    }

    /// The role a stored byte stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A checked message that has not been given its place yet.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The id it will have in every table: the client's where that is a UUID no other conversation holds, else of our making.
    pub id: MessageId,
    /// Under which id the client sent it, itself or by an idempotency key, and so may send it again. Only then is it looked up,
    /// so that the common case pays for no query.
    pub client_id: Option<ClientId>,
    /// Whether it is one of several under one idempotency key, which were stored together or not at all: should some of them be
    /// there and others not, the key was used for other messages.
    pub is_part: bool,
    /// Ids that are stored where the idempotency key was used for another request: for more messages, or for one alone.
    pub rules_out: Vec<ClientId>,
    /// Whose chat it belongs to.
    pub guest: GuestId,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// SHA-256 of the content.
    pub hash: Digest,
    /// Words in the content.
    pub tokens: u64,
    /// The client's time; where it sent none, the time of storing.
    pub sent_at: Timestamp,
    /// Whether `sent_at` is the client's: only then it has to be the same when the message is sent again.
    pub is_timed: bool,
    /// The client's own data about the message.
    pub metadata: Option<Metadata>,
}

impl NewMessage {
    /// A message with an id of our own making; hash and tokens are computed here, off the writer's thread.
    pub fn new(
        id: MessageId,
        guest: GuestId,
        role: Role,
        content: Content,
        sent_at: Timestamp,
    ) -> Self {
        Self {
            id,
            client_id: None,
            is_part: false,
            rules_out: Vec::new(),
            guest,
            role,
            hash: content_hash(content.as_str()),
            tokens: tokens(content.as_str()),
            content,
            sent_at,
            is_timed: true,
            metadata: None,
        }
    }

    /// The same message under an id that the client chose, and so may send again.
    pub fn with_client_id(mut self, id: impl Into<ClientId>) -> Self {
        let id = id.into();
        self.id = id.wanted().unwrap_or(self.id);
        self.client_id = Some(id);
        self
    }

    /// The same message as one of several under one idempotency key.
    pub fn as_part(mut self) -> Self {
        self.is_part = true;
        self
    }

    /// The same message, which is another one where any of these ids is stored.
    pub fn ruling_out(mut self, ids: impl IntoIterator<Item = ClientId>) -> Self {
        self.rules_out = ids.into_iter().collect();
        self
    }

    /// The same message without a time of the client's: that of storing is to be its own.
    pub fn untimed(mut self) -> Self {
        self.is_timed = false;
        self
    }

    /// The same message with the client's own data.
    pub fn with_metadata(mut self, metadata: Option<Metadata>) -> Self {
        self.metadata = metadata;
        self
    }

    /// Whether it says what was said before under its id, by the same role, at that time, unless it has none, and with the
    /// same metadata.
    pub fn repeats(
        &self,
        role: Role,
        hash: Digest,
        sent_at: Timestamp,
        metadata: Option<&Metadata>,
    ) -> bool {
        let same_metadata = match (&self.metadata, metadata) {
            (Some(one), Some(other)) => one.says_the_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        (self.role, self.hash) == (role, hash)
            && (!self.is_timed || self.sent_at == sent_at)
            && same_metadata
    }
}

/// A stored message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Its id in every table.
    pub id: MessageId,
    /// The id under which the client sent it, where that is another one: what the client is shown.
    pub external_id: Option<Arc<str>>,
    /// Its place in the conversation: 0, 1, 2 … without gaps.
    pub sequence: u64,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// The client's time.
    pub sent_at: Timestamp,
    /// Our time of storing, from which the list's life is counted.
    pub created_at: Timestamp,
    /// The client's own data about the message.
    pub metadata: Option<Metadata>,
}
