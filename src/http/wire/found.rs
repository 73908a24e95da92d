//! The JSON of search results.

use super::outgoing::ShownId;
use guestbook_core::{
    ContextBudget, GuestId, Hit, InclusionReason, ModelId, Score, SearchMode, SearchResults,
};
use guestbook_storage::database::{Context, ContextMessage};
use serde::Serialize;
use uuid::Uuid;

/// The response to a search.
#[derive(Serialize)]
pub(crate) struct SearchResponse<'a> {
    mode: &'static str,
    /// The model whose vectors were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    /// Messages compared.
    searched: u64,
    /// Messages in the searched range.
    of: u64,
    hits: Vec<HitResponse<'a>>,
}

impl<'a> SearchResponse<'a> {
    pub(crate) fn new(
        mode: SearchMode,
        model: Option<&'a ModelId>,
        found: &'a SearchResults,
    ) -> Self {
        Self {
            mode: mode.as_str(),
            model: model.map(ModelId::as_str),
            searched: found.searched,
            of: found.of,
            hits: found.hits.iter().map(HitResponse::from).collect(),
        }
    }
}

/// A hit.
#[derive(Serialize)]
pub(crate) struct HitResponse<'a> {
    message_id: Uuid,
    /// The client's id, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    conversation_id: Uuid,
    sequence: u64,
    role: &'static str,
    content: &'a str,
    timestamp: String,
    score: f32,
}

impl<'a> From<&'a Hit> for HitResponse<'a> {
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

/// The context for a model.
#[derive(Serialize)]
pub(crate) struct ContextResponse<'a> {
    guest_id: &'a str,
    max_tokens: u64,
    /// The sum over the messages.
    tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<ComparedResponse<'a>>,
    messages: Vec<ContextMessageResponse<'a>>,
}

/// The range searched for relevant messages.
#[derive(Serialize)]
struct ComparedResponse<'a> {
    model: &'a str,
    searched: u64,
    of: u64,
}

#[derive(Serialize)]
struct ContextMessageResponse<'a> {
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

impl<'a> ContextResponse<'a> {
    /// `model` is the model of the query's vector, if there was a query.
    pub(crate) fn new(
        guest: &'a GuestId,
        budget: ContextBudget,
        model: Option<&'a str>,
        found: &'a Context,
    ) -> Self {
        Self {
            guest_id: guest.as_str(),
            max_tokens: budget.tokens,
            tokens: found.messages.iter().map(|one| one.tokens).sum(),
            compared: model.map(|model| ComparedResponse {
                model,
                searched: found.searched,
                of: found.of,
            }),
            messages: found.messages.iter().map(Into::into).collect(),
        }
    }
}

impl<'a> From<&'a ContextMessage> for ContextMessageResponse<'a> {
    fn from(one: &'a ContextMessage) -> Self {
        let message = &one.message;
        let (why, score) = match one.why {
            InclusionReason::Recent => ("recent", None),
            InclusionReason::Relevant(score) => ("relevant", Some(score)),
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
