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

/// More than are read at once.
const LONG: usize = 1_200;

async fn speak(site: &Site, guest: &str, count: usize) {
    let path = format!("{}/batch", chat(guest));
    let say = |n: usize| guestbook_testkit::http_harness::client::said("user", &n.to_string());
    let said: Vec<_> = (0..count).map(say).collect();
    for part in said.chunks(600) {
        let body = json!({ "messages": part });
        site.client.post(&path, &body).await.list();
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

pub(crate) async fn a_long_list_is_sent_whole_and_in_chunks(site: &Site) {
    speak(site, "g1", LONG).await;
    let answer = session(site, "g1").await;
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.header("link"), None);
    let document = answer.ok();
    assert_eq!(document["first"], 0);
    let messages = document["messages"].as_array().unwrap();
    assert_eq!(contents(messages), numbers(0..LONG));
    site.service.parts().lists.close().await.unwrap();
    site.expect_damage();
    let document = session(site, "g1").await.ok();
    assert_eq!(document["source"], site.stores()[1]);
    let messages = document["messages"].as_array().unwrap();
    assert_eq!(contents(messages), numbers(0..LONG));
}

pub(crate) async fn a_list_is_read_page_by_page_in_both_directions(site: &Site) {
    speak(site, "g1", 25).await;
    for (query, expected) in [
        ("limit=10", [0..10, 10..20, 20..25]),
        ("last=10", [15..25, 5..15, 0..5]),
        ("limit=10&before=25", [15..25, 5..15, 0..5]),
        ("limit=10&after=-1", [0..10, 10..20, 20..25]),
    ] {
        let mut path = format!("/v1/guest/session/g1?{query}");
        if query.contains("-1") {
            site.client.get(&path).await.problem(422);
            continue;
        }
        for (at, expected) in expected.into_iter().enumerate() {
            let answer = site.client.get(&path).await;
            let next = answer.header("link").map(|link| {
                let end = link.find('>').unwrap();
                link[1..end].to_owned()
            });
            let document = answer.ok();
            assert_eq!(document["first"], expected.start);
            let messages = document["messages"].as_array().unwrap();
            assert_eq!(contents(messages), numbers(expected));
            assert_eq!(next.is_some(), at < 2, "{path}");
            path = next.unwrap_or_default();
        }
    }
    let past = "/v1/guest/session/g1?after=24";
    let document = site.client.get(past).await.ok();
    assert_eq!(
        (&document["first"], &document["messages"]),
        (&json!(25), &json!([]))
    );
}

/// What came before the silence is no part of the list, whatever is asked for.
pub(crate) async fn pages_of_a_list_begun_anew_have_nothing_older(site: &Site) {
    speak(site, "g1", 5).await;
    site.clock.advance(TTL);
    site.client.say("g1", "5").await;
    site.client.say("g1", "6").await;
    for query in ["", "?limit=10&after=1", "?before=7", "?last=7"] {
        let path = format!("/v1/guest/session/g1{query}");
        let answer = site.client.get(&path).await;
        assert_eq!(answer.header("link"), None, "{query}");
        let document = answer.ok();
        assert_eq!(document["first"], 5);
        let messages = document["messages"].as_array().unwrap();
        assert_eq!(contents(messages), numbers(5..7));
    }
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
