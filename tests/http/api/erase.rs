//! `DELETE /v1/guest/chat/{guest_id}`: nothing stays.

use crate::api::input::nothing_stored;
use guestbook_testkit::http_harness::client::chat;
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};

fn deleted(site: &Site, messages: u64, rows: u64) -> Value {
    json!({
        "status": "deleted", "guest_id": "g1", "deleted_from": site.stores(),
        "deleted": {"messages": messages, "conversations": rows, "embeddings": messages,
                    "usage": rows, "mappings": messages, "prompts": 0},
    })
}

pub(crate) async fn a_deletion_says_what_it_removed(site: &Site) {
    for content in ["one", "two", "three"] {
        site.client.say("g1", content).await;
    }
    let answer = site.client.delete(&chat("g1")).await.ok();
    assert_eq!(answer, deleted(site, 3, 1));
}

pub(crate) async fn a_deletion_leaves_nothing(site: &Site) {
    site.client.say("g1", "one").await;
    site.client.delete(&chat("g1")).await.ok();
    nothing_stored(site, "g1").await;
}

pub(crate) async fn a_deletion_repeated_is_zeros(site: &Site) {
    site.client.say("g1", "one").await;
    site.client.delete(&chat("g1")).await.ok();
    let again = site.client.delete(&chat("g1")).await.ok();
    assert_eq!(again, deleted(site, 0, 0));
}

pub(crate) async fn a_deletion_of_an_unknown_guest_is_zeros(site: &Site) {
    let answer = site.client.delete(&chat("g1")).await.ok();
    assert_eq!(answer, deleted(site, 0, 0));
}

pub(crate) async fn a_deletion_spares_every_other_guest(site: &Site) {
    for guest in ["g1", "g10", "G1", "g"] {
        site.client.say(guest, "Hello").await;
    }
    site.client.delete(&chat("g1")).await.ok();
    for guest in ["g10", "G1", "g"] {
        assert_eq!(site.client.history(guest).await.len(), 1);
    }
}

pub(crate) async fn a_deleted_guest_begins_anew(site: &Site) {
    let before = site.client.say("g1", "one").await;
    site.client.delete(&chat("g1")).await.ok();
    let after = site.client.say("g1", "two").await;
    assert_eq!(after["sequence"], 0);
    assert_eq!(after["receipt"]["conversation"], "created");
    assert_eq!(after["receipt"]["usage"], "created");
    assert_ne!(after["conversation_id"], before["conversation_id"]);
}
