//! The JSON of what was found.

use super::outgoing::ShownId;
use guestbook_core::{Budget, Findings, GuestId, Hit, ModelId, Score, SearchMode, Why};
use guestbook_storage::database::{Context, ContextMessage};
use serde::Serialize;
use uuid::Uuid;

/// The answer to a search.
#[derive(Serialize)]
pub(crate) struct FoundAnswer<'a> {
    mode: &'static str,
    /// Whose vectors were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    /// How many messages were compared.
    searched: u64,
    /// How many there are where it looked.
    of: u64,
    hits: Vec<HitAnswer<'a>>,
}

impl<'a> FoundAnswer<'a> {
    pub(crate) fn new(mode: SearchMode, model: Option<&'a ModelId>, found: &'a Findings) -> Self {
        Self {
            mode: mode.as_str(),
            model: model.map(ModelId::as_str),
            searched: found.searched,
            of: found.of,
            hits: found.hits.iter().map(HitAnswer::from).collect(),
        }
    }
}

/// A message that was found.
#[derive(Serialize)]
pub(crate) struct HitAnswer<'a> {
    message_id: Uuid,
    /// The id that the client chose, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    conversation_id: Uuid,
    sequence: u64,
    role: &'static str,
    content: &'a str,
    timestamp: String,
    score: f32,
}

impl<'a> From<&'a Hit> for HitAnswer<'a> {
    fn from(hit: &'a Hit) -> Self {
        Self {
            message_id: hit.message.0,
            id: hit.external_id.as_deref(),
            conversation_id: hit.conversation.0,
            sequence: hit.sequence,
            role: hit.role.as_str(),
            content: hit.content.as_str(),
            timestamp: hit.timestamp.to_string(),
            score: hit.score.get(),
        }
    }
}

/// What to send to a model.
#[derive(Serialize)]
pub(crate) struct ContextAnswer<'a> {
    guest_id: &'a str,
    max_tokens: u64,
    /// What the messages have together.
    tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<ComparedAnswer<'a>>,
    messages: Vec<ContextMessageAnswer<'a>>,
}

/// In how much relevant messages were looked for.
#[derive(Serialize)]
struct ComparedAnswer<'a> {
    model: &'a str,
    searched: u64,
    of: u64,
}

#[derive(Serialize)]
struct ContextMessageAnswer<'a> {
    role: &'static str,
    content: &'a str,
    timestamp: String,
    id: ShownId<'a>,
    sequence: u64,
    tokens: u64,
    why: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
}

impl<'a> ContextAnswer<'a> {
    /// `model` is given where a question was asked.
    pub(crate) fn new(
        guest: &'a GuestId,
        budget: Budget,
        model: Option<&'a str>,
        found: &'a Context,
    ) -> Self {
        Self {
            guest_id: guest.as_str(),
            max_tokens: budget.tokens,
            tokens: found.messages.iter().map(|one| one.tokens).sum(),
            compared: model.map(|model| ComparedAnswer {
                model,
                searched: found.searched,
                of: found.of,
            }),
            messages: found.messages.iter().map(Into::into).collect(),
        }
    }
}

impl<'a> From<&'a ContextMessage> for ContextMessageAnswer<'a> {
    fn from(one: &'a ContextMessage) -> Self {
        let message = &one.message;
        let (why, score) = match one.why {
            Why::Recent => ("recent", None),
            Why::Relevant(score) => ("relevant", Some(score)),
        };
        Self {
            role: message.role.as_str(),
            content: message.content.as_str(),
            timestamp: message.sent_at.to_string(),
            id: message.into(),
            sequence: message.sequence,
            tokens: one.tokens,
            why,
            score: score.map(Score::get),
        }
    }
}
