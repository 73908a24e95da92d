//! A service whose model is a local server, and what the laws ask of it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use guestbook::core::EmbeddingState;
use guestbook::embed::Embedder;
use guestbook::embed::openai::OpenAiOptions;
use guestbook::embedder as open;
use guestbook::storage::database::{AuditScope, AuditedMessage};
use guestbook_testkit::embedding_server as server;
use guestbook_testkit::service_harness::words::{guest, until};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const DIMENSION: usize = 3;

/// A client of the server at `base`; `model` names what it asks for.
pub(crate) fn client(base: &str, model: &str) -> Arc<dyn Embedder> {
    let options = OpenAiOptions {
        model: model.to_owned(),
        dimension: DIMENSION,
        api_key: None,
        timeout: Duration::from_secs(20),
    };
    let spec = format!("openai:{base}").parse().unwrap();
    open::open(&spec, options).unwrap().unwrap()
}

/// Back-off of a few milliseconds, three tries.
pub(crate) fn impatient(mut plan: Plan, base: &str) -> Plan {
    plan.embedder = Some(client(base, "m"));
    plan.settings.embed_attempts = 3;
    plan.settings.embed_backoff = Duration::from_millis(5);
    plan
}

/// A good answer to every input.
pub(crate) fn good(inputs: &[String]) -> Response {
    server::items(inputs.iter().map(|text| server::vector_of(text)))
}

/// A good answer, with another vector for one text.
pub(crate) fn good_but(inputs: &[String], text: &str, vector: &Value) -> Response {
    let of = |input: &String| {
        if input == text {
            vector.clone()
        } else {
            server::vector_of(input)
        }
    };
    server::items(inputs.iter().map(of))
}

pub(crate) fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}

/// The messages of a guest as verify sees them.
pub(crate) async fn conversation_audit(
    harness: &ServiceHarness,
    name: &str,
) -> Vec<AuditedMessage> {
    let scope = AuditScope::Guest(guest(name));
    let page = harness
        .database
        .audit
        .conversation_audits(scope, 100_000)
        .await
        .unwrap();
    page.conversation_audits
        .into_iter()
        .flat_map(|conversation_audit| conversation_audit.messages)
        .collect()
}

/// State and cause of a message that has no vector.
pub(crate) async fn note(
    harness: &ServiceHarness,
    name: &str,
    sequence: usize,
) -> Option<(EmbeddingState, String)> {
    conversation_audit(harness, name)
        .await
        .remove(sequence)
        .vector_note
}

pub(crate) async fn vectors(harness: &ServiceHarness, name: &str) -> usize {
    conversation_audit(harness, name)
        .await
        .iter()
        .filter(|message| message.vector.is_some())
        .count()
}

/// Waits until a guest has so many vectors.
pub(crate) async fn embedded(harness: &ServiceHarness, name: &str, count: usize) {
    until("the vectors are there", || async {
        vectors(harness, name).await == count
    })
    .await;
}

/// Waits until a message's vector is given up.
pub(crate) async fn given_up(harness: &ServiceHarness, name: &str, sequence: usize) -> String {
    until("it is given up", || async {
        let note = note(harness, name, sequence).await;
        note.is_some_and(|(state, _)| state == EmbeddingState::Failed)
    })
    .await;
    note(harness, name, sequence).await.unwrap().1
}
