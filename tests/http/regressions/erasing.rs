//! A deletion left embeddings, mappings and usage behind.

use crate::regressions::{found, open};
use guestbook_testkit::http_harness::client::{chat, said, with};
use guestbook_testkit::http_harness::server::{Site, eventually};
use serde_json::json;

/// Every table with a row that has this text anywhere.
fn mentions(site: &Site, text: &str) -> Vec<String> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let tables = found(site, tables).rows;
    let tables = tables.into_iter().flatten().flatten();
    let holds = |table: &String| {
        let rows = found(site, &format!("SELECT * FROM \"{table}\"")).rows;
        rows.iter()
            .flatten()
            .flatten()
            .any(|cell| cell.contains(text))
    };
    tables.filter(holds).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_leaves_nothing_in_any_table() {
    let site = open().await;
    let mut ids = Vec::new();
    for content in ["our flight to Lisbon", "🜂🜄"] {
        let message = with(said("user", content), "metadata", json!({"page": "/x"}));
        let answer = site.client.message("the-guest", &message).await.ok();
        ids.push(answer["message_id"].as_str().unwrap().to_owned());
        ids.push(answer["conversation_id"].as_str().unwrap().to_owned());
    }
    let tables = mentions(&site, &ids[0]);
    assert_eq!(
        tables,
        ["cache_content_mapping", "cache_embeddings", "message_cache"]
    );
    site.client.delete(&chat("the-guest")).await.ok();
    // The guest's name stays until the removal of the list is durable, and then goes as well.
    eventually("the list's removal is settled", || async {
        mentions(&site, "the-guest").is_empty().then_some(())
    })
    .await;
    for text in ids.iter().map(String::as_str).chain(["Lisbon", "🜂🜄"]) {
        assert_eq!(mentions(&site, text), [] as [&str; 0], "{text}");
    }
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_keeps_every_row_of_the_others() {
    let site = open().await;
    let kept = site.client.say("other", "our flight").await;
    site.client.say("the-guest", "our flight").await;
    site.client.delete(&chat("the-guest")).await.ok();
    let tables = mentions(&site, kept["message_id"].as_str().unwrap());
    assert_eq!(
        tables,
        ["cache_content_mapping", "cache_embeddings", "message_cache"]
    );
    site.finish().await;
}
