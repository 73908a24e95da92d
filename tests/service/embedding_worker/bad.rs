//! A model that answers, but not with a vector.

use crate::embedding_worker::harness::{
    conversation_audit, embedded, given_up, good, good_but, impatient, status, vectors,
};
use axum::response::IntoResponse;
use guestbook::core::EmbeddingState;
use guestbook::service::verify::AuditedTable;
use guestbook_testkit::embedding_server::serve;
use guestbook_testkit::service_harness::Plan;
use guestbook_testkit::service_harness::words::{says, until};
use serde_json::{Value, json};

/// The vector of one text is of no use: that one fails with the reason and has no row, its neighbours have theirs.
async fn one_bad_vector(vector: Value, why: &str) {
    let (base, _) = serve(move |inputs| good_but(inputs, "the bad one", &vector)).await;
    let harness = impatient(Plan::memory(), &base).start().ready().await;
    let texts = ["before it", "the bad one", "after it"];
    harness
        .store(vec![texts.map(|text| says("ada", text)).to_vec()])
        .await;
    let cause = given_up(&harness, "ada", 1).await;
    assert!(cause.contains(why), "{cause}");
    embedded(&harness, "ada", 2).await;
    let messages = conversation_audit(&harness, "ada").await;
    assert_eq!(messages[1].vector, None);
    assert!(messages[0].vector.is_some() && messages[2].vector.is_some());
    let report = harness.verify().await;
    let named = &report.table(AuditedTable::Embeddings).differences;
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(
        named[0].sequence == Some(1) && named[0].reason.contains(why),
        "{named:?}"
    );
    harness.stop().await;
}

#[tokio::test]
async fn an_empty_vector_fails_its_message_alone() {
    one_bad_vector(json!([]), "empty").await;
}

#[tokio::test]
async fn a_vector_of_a_wrong_dimension_fails_its_message_alone() {
    one_bad_vector(json!([1.0, 2.0]), "2 dimensions, expected 3").await;
}

#[tokio::test]
async fn a_vector_that_overflows_fails_its_message_alone() {
    one_bad_vector(json!([1e39, 0.0, 0.0]), "not a finite number").await;
}

#[tokio::test]
async fn a_vector_of_zeros_fails_its_message_alone() {
    one_bad_vector(json!([0.0, 0.0, 0.0]), "zero").await;
}

/// NaN is no JSON: the whole answer is unreadable, and each text is then asked for alone.
#[tokio::test]
async fn a_nan_fails_its_message_alone() {
    let (base, _) = serve(
        |inputs| match inputs.iter().any(|text| text == "the bad one") {
            true => r#"{"data":[{"index":0,"embedding":[NaN,0,0]}]}"#.into_response(),
            false => good(inputs),
        },
    )
    .await;
    let harness = impatient(Plan::memory(), &base).start().ready().await;
    let texts = ["before it", "the bad one", "after it"];
    harness
        .store(vec![texts.map(|text| says("ada", text)).to_vec()])
        .await;
    given_up(&harness, "ada", 1).await;
    embedded(&harness, "ada", 2).await;
    harness.stop().await;
}

/// The server refuses every request that holds one text.
async fn one_refused_text(code: u16) {
    let (base, _) = serve(
        move |inputs| match inputs.iter().any(|text| text == "the bad one") {
            true => status(code),
            false => good(inputs),
        },
    )
    .await;
    let harness = impatient(Plan::memory(), &base).start().ready().await;
    let texts = ["before it", "the bad one", "after it"];
    harness
        .store(vec![texts.map(|text| says("ada", text)).to_vec()])
        .await;
    let cause = given_up(&harness, "ada", 1).await;
    assert!(cause.contains(&code.to_string()), "{cause}");
    until("nothing is pending", || async {
        let pending = |message: &guestbook::storage::database::AuditedMessage| {
            matches!(message.vector_note, Some((EmbeddingState::Pending, _)))
        };
        !conversation_audit(&harness, "ada")
            .await
            .iter()
            .any(pending)
    })
    .await;
    assert_eq!(
        vectors(&harness, "ada").await,
        2,
        "its neighbours have theirs"
    );
    harness.stop().await;
}

#[tokio::test]
async fn a_text_that_is_refused_does_not_fail_its_neighbours() {
    one_refused_text(400).await;
}

/// As llama.cpp answers a text longer than its context.
#[tokio::test]
async fn a_text_on_which_the_server_breaks_does_not_fail_its_neighbours() {
    one_refused_text(500).await;
}

#[tokio::test]
async fn without_an_embedder_the_receipt_says_off_and_verify_expects_nothing() {
    let harness = Plan::memory().start().ready().await;
    let said = harness.say("ada", "hello").await;
    assert_eq!(said.receipt.embedding, EmbeddingState::Off);
    harness.mended().await;
    let report = harness.verify().await;
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.table(AuditedTable::Embeddings).expected, 0);
    let refused = harness.service.reembed(|_| ()).await.unwrap_err();
    assert_eq!(refused.kind(), guestbook::core::error::ErrorKind::Invalid);
    harness.stop().await;
}
