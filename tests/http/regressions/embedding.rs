//! An embedding that failed was swallowed: the row was missing and nothing said so.

use crate::regressions::value;
use async_trait::async_trait;
use guestbook::core::{ModelId, Vector};
use guestbook::embed::{EmbedError, Embedder, InlineEmbedder};
use guestbook_testkit::http_harness::client::{reasons, table};
use guestbook_testkit::http_harness::server::{Pair, Plan, Site};
use std::sync::Arc;

const CAUSE: &str = "the model has no room for this text";

/// A model that refuses every text.
#[derive(Debug)]
struct Refusing(ModelId);

#[async_trait]
impl Embedder for Refusing {
    fn model(&self) -> &ModelId {
        &self.0
    }

    fn dimension(&self) -> usize {
        256
    }

    fn inline(&self) -> Option<&dyn InlineEmbedder> {
        Some(self)
    }

    async fn embed(&self, texts: &[&str]) -> Vec<Result<Option<Vector>, EmbedError>> {
        texts.iter().map(|text| self.embed_now(text)).collect()
    }

    async fn embed_next(&self, text: &str) -> Result<Option<Vector>, EmbedError> {
        self.embed_now(text)
    }
}

impl InlineEmbedder for Refusing {
    fn embed_now(&self, _: &str) -> Result<Option<Vector>, EmbedError> {
        Err(EmbedError::Permanent {
            cause: CAUSE.into(),
        })
    }
}

/// A server whose embedder says it is the built-in one and refuses every text.
async fn refusing() -> Site {
    let model = Plan::default().embedder.unwrap().model().clone();
    let plan = Plan {
        embedder: Some(Arc::new(Refusing(model))),
        ..Plan::default()
    };
    Site::open(Pair::SqliteSled, plan).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedding_that_fails_is_in_the_receipt_and_fails_no_message() {
    let site = refusing().await;
    site.expect_damage();
    let answer = site.client.say("g1", "Hello").await;
    assert_eq!(answer["receipt"]["embedding"], "failed");
    assert_eq!(answer["receipt"]["message"], "stored");
    assert_eq!(value(&site, "SELECT count(*) FROM cache_embeddings"), "0");
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedding_that_failed_is_named_by_verify_with_its_cause() {
    let site = refusing().await;
    site.expect_damage();
    let answer = site.client.say("g1", "Hello").await;
    let report = site.client.verify(None).await;
    assert_eq!(report["ok"], false);
    let embeddings = table(&report, "cache_embeddings");
    assert_eq!(
        (&embeddings["expected"], &embeddings["found"]),
        (&1.into(), &0.into())
    );
    assert_eq!(embeddings["differences"][0]["id"], answer["message_id"]);
    assert_eq!(embeddings["differences"][0]["owner"], "g1");
    assert!(reasons(&report, "cache_embeddings")[0].contains(CAUSE));
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_computes_what_failed_once_the_model_can() {
    let site = refusing().await;
    site.expect_damage();
    site.client.say("g1", "Hello").await;
    let site = site.reopen(Plan::default()).await;
    let body = serde_json::json!({});
    let report = site.client.post("/v1/verify", &body).await.ok();
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(value(&site, "SELECT count(*) FROM cache_embeddings"), "1");
    site.finish().await;
}
