//! A message before and after it has found its place.

use super::{
    Content, Digest, GuestId, InvalidField, MessageId, Metadata, Timestamp, content_hash, tokens,
};
use std::fmt;

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
    /// Chosen by the client, derived from its idempotency key, or made by us.
    pub id: MessageId,
    /// Whether this id may have been sent before. Only then is it looked up, so that the common case pays for no query.
    pub may_repeat: bool,
    /// Whether it is one of several under one idempotency key, which were stored together or not at all: should some of them be
    /// there and others not, the key was used for other messages.
    pub is_part: bool,
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
    /// The client's time.
    pub sent_at: Timestamp,
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
            may_repeat: false,
            is_part: false,
            guest,
            role,
            hash: content_hash(content.as_str()),
            tokens: tokens(content.as_str()),
            content,
            sent_at,
            metadata: None,
        }
    }

    /// The same message under an id that the client chose, and so may send again.
    pub fn with_client_id(mut self, id: MessageId) -> Self {
        self.id = id;
        self.may_repeat = true;
        self
    }

    /// The same message as one of several under one idempotency key.
    pub fn as_part(mut self) -> Self {
        self.is_part = true;
        self
    }

    /// The same message with the client's own data.
    pub fn with_metadata(mut self, metadata: Option<Metadata>) -> Self {
        self.metadata = metadata;
        self
    }
}

/// A stored message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Its id in every table.
    pub id: MessageId,
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
