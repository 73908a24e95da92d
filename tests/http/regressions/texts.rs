//! Texts that one of the stores could not hold were half stored, or a 500.

use crate::regressions::open;
use guestbook_testkit::http_harness::client::{SENT_AT, chat, contents};
use guestbook_testkit::http_harness::server::Site;
use serde_json::Value;

/// Posts a message whose content is this JSON text, escapes and all.
async fn post(site: &Site, content: &str) -> guestbook_testkit::http_harness::client::Answer {
    let body = format!(r#"{{"role":"user","content":{content},"timestamp":"{SENT_AT}"}}"#);
    site.client.post_text(&chat("g1"), body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_surrogate_is_refused_and_nothing_is_stored() {
    let site = open().await;
    for content in [
        r#""\ud83d""#,
        r#""a\udc00b""#,
        r#""\ud83d\ud83d""#,
        r#""\udc00\ud83d""#,
    ] {
        post(&site, content).await.refuses("content");
    }
    assert_eq!(site.client.stored().await, 0);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nul_is_refused_and_nothing_is_stored() {
    let site = open().await;
    for content in [r#""\u0000""#, r#""a\u0000b""#] {
        post(&site, content).await.refuses("content");
    }
    assert_eq!(site.client.stored().await, 0);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emoji_come_back_from_the_tables_and_from_the_list() {
    let site = open().await;
    let escaped = [
        r#""\ud83d\ude00""#,
        r#""😀""#,
        r#""\\ud83d""#,
        r#""tab\tquote\"""#,
    ];
    let plain = ["😀", "😀", "\\ud83d", "tab\tquote\""];
    for content in escaped {
        post(&site, content).await.ok();
    }
    assert_eq!(contents(&site.client.history("g1").await), plain);
    let session = site.client.get("/v1/guest/session/g1").await.ok();
    let listed: &Vec<Value> = session["messages"].as_array().unwrap();
    assert_eq!(contents(listed), plain);
    let site = site.reopen(crate::regressions::Plan::default()).await;
    assert_eq!(contents(&site.client.history("g1").await), plain);
    site.finish().await;
}
