//! `GET /v1/guest/session/{guest_id}`: the live list, which dies of silence.

use guestbook_testkit::http_harness::client::{Answer, SENT_AT, chat, contents};
use guestbook_testkit::http_harness::server::{Site, TTL};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

async fn session(site: &Site, guest: &str) -> Answer {
    let path = format!("/v1/guest/session/{guest}");
    site.client.get(&path).await
}

async fn listed(site: &Site, guest: &str) -> Vec<Value> {
    let document = session(site, guest).await.ok();
    document["messages"].as_array().unwrap().clone()
}

pub(crate) async fn the_list_is_exactly_what_was_appended(site: &Site) {
    site.client.say("g1", "one").await;
    let second = guestbook_testkit::http_harness::client::said("assistant", "two");
    site.client.message("g1", &second).await.ok();
    let list = json!([
        {"role": "user", "content": "one", "timestamp": SENT_AT},
        {"role": "assistant", "content": "two", "timestamp": SENT_AT},
    ]);
    let document = session(site, "g1").await.ok();
    assert_eq!(document["messages"], list);
    assert_eq!(document["key"], "guest:g1");
    assert_eq!(document["source"], site.stores()[0]);
}

pub(crate) async fn the_ttl_runs_with_the_clock(site: &Site) {
    site.client.say("g1", "one").await;
    assert_eq!(session(site, "g1").await.ok()["ttl"], 86_400);
    site.clock.advance(HOUR);
    assert_eq!(session(site, "g1").await.ok()["ttl"], 82_800);
}

pub(crate) async fn every_message_prolongs_the_list(site: &Site) {
    site.client.say("g1", "one").await;
    site.clock.advance(TTL - SECOND);
    site.client.say("g1", "two").await;
    assert_eq!(session(site, "g1").await.ok()["ttl"], 86_400);
    site.clock.advance(TTL - SECOND);
    assert_eq!(contents(&listed(site, "g1").await), ["one", "two"]);
}

pub(crate) async fn reading_does_not_prolong_the_list(site: &Site) {
    site.client.say("g1", "one").await;
    site.clock.advance(TTL - SECOND);
    site.client.history("g1").await;
    session(site, "g1").await.ok();
    site.clock.advance(SECOND);
    session(site, "g1").await.problem(404);
}

pub(crate) async fn an_expired_list_is_a_404_and_the_history_stays(site: &Site) {
    site.client.say("g1", "one").await;
    site.clock.advance(TTL - Duration::from_millis(1));
    session(site, "g1").await.ok();
    site.clock.advance(Duration::from_millis(1));
    session(site, "g1").await.problem(404);
    assert_eq!(site.client.history("g1").await.len(), 1);
}

pub(crate) async fn a_message_after_the_expiry_begins_the_list_anew(site: &Site) {
    site.client.say("g1", "one").await;
    site.clock.advance(TTL);
    let answer = site.client.say("g1", "two").await;
    assert_eq!(answer["sequence"], 1);
    assert_eq!(answer["receipt"]["conversation"], "updated");
    assert_eq!(contents(&listed(site, "g1").await), ["two"]);
    assert_eq!(contents(&site.client.history("g1").await), ["one", "two"]);
}

pub(crate) async fn a_replay_after_the_expiry_says_that_the_list_is_gone(site: &Site) {
    let message = guestbook_testkit::http_harness::client::said("user", "one");
    let first = site
        .client
        .post_keyed(&chat("g1"), "k", &message)
        .await
        .ok();
    site.clock.advance(TTL);
    let again = site
        .client
        .post_keyed(&chat("g1"), "k", &message)
        .await
        .ok();
    assert_eq!(again["message_id"], first["message_id"]);
    assert_eq!(again["receipt"]["list"], "expired");
    assert_eq!(again["stored_in"], json!([site.stores()[1]]));
    session(site, "g1").await.problem(404);
}

pub(crate) async fn an_unknown_guest_has_no_list(site: &Site) {
    session(site, "nobody").await.problem(404);
}

pub(crate) async fn a_lost_list_is_mended_when_it_is_read(site: &Site) {
    site.client.say("g1", "one").await;
    site.client.say("g1", "two").await;
    let guest = guestbook::core::GuestId::parse("g1").unwrap();
    site.service
        .parts()
        .lists
        .remove(vec![guest])
        .await
        .unwrap();
    assert_eq!(contents(&listed(site, "g1").await), ["one", "two"]);
}

pub(crate) async fn without_the_list_store_messages_are_stored_and_the_receipt_says_so(
    site: &Site,
) {
    site.expect_damage();
    site.client.say("g1", "one").await;
    site.service.parts().lists.close().await.unwrap();
    let answer = site.client.say("g1", "two").await;
    assert_eq!(answer["receipt"]["list"], "pending");
    assert_eq!(answer["stored_in"], json!([site.stores()[1]]));
    assert_eq!(contents(&listed(site, "g1").await), ["one", "two"]);
    assert_eq!(session(site, "g1").await.ok()["source"], site.stores()[1]);
    let ready = site.client.get("/readyz").await.ok();
    assert_eq!(ready["status"], "degraded");
    let report = site.client.verify(None).await;
    assert_eq!(report["ok"], false);
    assert!(
        !guestbook_testkit::http_harness::client::reasons(&report, "guest:{id} lists").is_empty()
    );
}
