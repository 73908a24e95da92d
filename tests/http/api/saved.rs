//! Sections 1: what the answer to a stored message says.

use guestbook_testkit::http_harness::client::{SENT_AT, contents, said, with};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};
use uuid::Uuid;

/// The answer to a message of an English text, but for its ids.
fn expected(site: &Site, answer: &Value, guest: &str, sequence: u64, rows: &str) -> Value {
    json!({
        "status": "saved", "guest_id": guest,
        "message_id": answer["message_id"], "conversation_id": answer["conversation_id"],
        "sequence": sequence, "stored_in": site.stores(),
        "receipt": {"list": "stored", "conversation": rows, "message": "stored", "embedding": "stored",
                    "usage": rows, "mapping": "stored", "metrics": "updated"},
    })
}

fn version(id: &Value) -> usize {
    let id = Uuid::parse_str(id.as_str().unwrap()).unwrap();
    id.get_version_num()
}

pub(crate) async fn the_first_message_creates_and_its_answer_has_exactly_these_fields(site: &Site) {
    let answer = site.client.say("g1", "Hello there").await;
    assert_eq!(answer, expected(site, &answer, "g1", 0, "created"));
}

pub(crate) async fn the_second_message_updates(site: &Site) {
    let first = site.client.say("g1", "Hello there").await;
    let second = site.client.say("g1", "How are you").await;
    assert_eq!(second, expected(site, &second, "g1", 1, "updated"));
    assert_eq!(second["conversation_id"], first["conversation_id"]);
    assert_ne!(second["message_id"], first["message_id"]);
}

pub(crate) async fn ids_are_version_7_uuids(site: &Site) {
    let answer = site.client.say("g1", "Hello").await;
    assert_eq!(version(&answer["message_id"]), 7);
    assert_eq!(version(&answer["conversation_id"]), 7);
}

pub(crate) async fn every_guest_has_a_conversation_of_its_own(site: &Site) {
    let one = site.client.say("g1", "Hello").await;
    let other = site.client.say("g2", "Hello").await;
    assert_eq!(other, expected(site, &other, "g2", 0, "created"));
    assert_ne!(one["conversation_id"], other["conversation_id"]);
}

pub(crate) async fn a_message_is_read_back_with_exactly_these_fields(site: &Site) {
    let answer = site.client.say("g1", "Hello").await;
    let message = json!({"role": "user", "content": "Hello", "timestamp": SENT_AT,
        "id": answer["message_id"], "sequence": 0});
    assert_eq!(site.client.history("g1").await, [message]);
}

pub(crate) async fn a_text_without_a_known_word_has_no_vector_and_that_is_no_fault(site: &Site) {
    let answer = site.client.say("g1", "🜂🜄").await;
    assert_eq!(answer["receipt"]["embedding"], "none");
    let report = site.client.verify(Some("g1")).await;
    assert_eq!(report["ok"], true, "{report:#}");
}

pub(crate) async fn every_role_of_the_contract_is_kept(site: &Site) {
    let roles = ["user", "assistant", "system", "tool"];
    for role in roles {
        site.client.message("g1", &said(role, "Hello")).await.ok();
    }
    let history = site.client.history("g1").await;
    let kept: Vec<_> = history.iter().map(|message| &message["role"]).collect();
    assert_eq!(kept, roles);
}

pub(crate) async fn metadata_is_kept_and_returned(site: &Site) {
    let metadata = json!({"page": "/pricing", "depth": {"a": [1, 2.5, null, true]}, "é": "🦀"});
    let message = with(said("user", "Hello"), "metadata", metadata.clone());
    site.client.message("g1", &message).await.ok();
    site.client.say("g1", "No metadata").await;
    let history = site.client.history("g1").await;
    assert_eq!(history[0]["metadata"], metadata);
    assert_eq!(history[1].get("metadata"), None);
}

pub(crate) async fn metadata_of_exactly_4_kib_is_kept(site: &Site) {
    let filler = "x".repeat(4096 - r#"{"a":""}"#.len());
    let message = with(said("user", "Hello"), "metadata", json!({"a": filler}));
    site.client.message("g1", &message).await.ok();
    let history = site.client.history("g1").await;
    assert_eq!(history[0]["metadata"]["a"], filler);
}

pub(crate) async fn a_null_metadata_or_id_is_as_none(site: &Site) {
    let message = with(said("user", "Hello"), "metadata", Value::Null);
    let message = with(message, "id", Value::Null);
    site.client.message("g1", &message).await.ok();
    assert_eq!(site.client.history("g1").await.len(), 1);
}

pub(crate) async fn unknown_fields_are_ignored(site: &Site) {
    let message = with(said("user", "Hello"), "sequence", json!(77));
    let message = with(message, "whatever", json!({"deep": [[[]]]}));
    let answer = site.client.message("g1", &message).await.ok();
    assert_eq!(answer["sequence"], 0);
}

pub(crate) async fn any_unicode_text_comes_back_as_it_was_sent(site: &Site) {
    let texts = [
        "  leading and trailing \n",
        "emoji 👩‍👩‍👧‍👦 🏳️‍🌈",
        "e\u{301} is not é",
        "\u{feff}bom \u{202e}rtl \u{1f}control \u{7f}",
        "\"quotes\" \\ / <b>&amp;",
        "\u{10ffff}\u{fffd}\u{e000}",
    ];
    for text in texts {
        site.client.say("g1", text).await;
    }
    assert_eq!(contents(&site.client.history("g1").await), texts);
}
