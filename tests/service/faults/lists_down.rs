//! While the list store is down, everything else goes on, and says what it could not do.

use guestbook::core::ListState;
use guestbook::core::error::ErrorKind;
use guestbook::http::{HttpSettings, router};
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::{HOUR, WHOLE_CHAT, guest, says};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use serde_json::{Value, json};

/// Everything that touches a list; the flush alone still works.
const TOUCHING: &[&str] = &[
    "apply",
    "replace",
    "remove",
    "heads",
    "range",
    "health",
    "incarnation",
];

async fn down() -> ServiceHarness {
    let harness = Plan::memory().start().ready().await;
    harness
        .lists
        .fail_from(0, ErrorKind::Unavailable, When::Before);
    harness
}

#[tokio::test]
async fn a_message_is_saved_and_its_list_pending() {
    let harness = down().await;
    let saved = harness.say("ada", "hello").await;
    assert_eq!(saved.receipt.list, ListState::Pending);
    assert_eq!(harness.texts("ada").await, ["hello"]);
    assert_eq!(harness.listed("ada").await, None);
    harness.lists.lift();
    harness.mended().await;
    assert_eq!(harness.listed("ada").await.unwrap(), ["hello"]);
    assert_eq!(
        harness.say("ada", "more").await.receipt.list,
        ListState::Stored
    );
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn the_answer_names_only_the_stores_that_have_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/guest/chat/ada", server.local_addr().unwrap());
    let app = router(harness.service.clone(), HttpSettings::default());
    let serving = tokio::spawn(async move { axum::serve(server, app).await });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let post = async || -> Value {
        let body = json!({"role": "user", "content": "hello", "timestamp": "2100-06-15T12:00:00Z"});
        let sent = client
            .post(&url)
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    };
    let well = post().await;
    assert_eq!(well["stored_in"], json!(["sled", "sqlite"]));
    assert_eq!(well["receipt"]["list"], "stored");
    harness
        .lists
        .fail_from(0, ErrorKind::Unavailable, When::Before);
    let ill = post().await;
    assert_eq!(ill["stored_in"], json!(["sqlite"]));
    assert_eq!(ill["receipt"]["list"], "pending");
    assert_eq!(ill["status"], "saved");
    serving.abort();
    harness.stop().await;
}

#[tokio::test]
async fn a_deletion_says_that_the_list_is_left_and_takes_it_away_later() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "hello").await;
    harness
        .lists
        .fail_from(0, ErrorKind::Unavailable, When::Before);
    let deleted = harness.service.delete(guest("ada")).await.unwrap();
    assert_eq!(deleted.deleted_from, ["memory"]); // of two stores, both called memory
    assert!(harness.listed("ada").await.is_some());
    harness.lists.lift();
    harness.mended().await;
    assert_eq!(harness.listed("ada").await, None);
    harness.assert_well().await;
    harness.stop().await;
}

/// The outbox entry of a removal may only be struck out once the list is gone, though a flush succeeds meanwhile.
#[tokio::test]
async fn a_removal_stays_owed_while_only_the_flush_works() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "hello").await;
    harness
        .lists
        .fail_methods(&["remove"], ErrorKind::Unavailable, When::Before);
    harness.service.delete(guest("ada")).await.unwrap();
    let tried = harness.lists.count("remove");
    guestbook_testkit::service_harness::words::until("the removal is tried again", || async {
        harness.service.mark_synced().await.unwrap();
        harness.lists.count("remove") > tried + 1
    })
    .await;
    assert!(
        harness.owes().await,
        "the removal is no longer owed, and the list still there"
    );
    harness.lists.lift();
    harness.mended().await;
    assert_eq!(harness.listed("ada").await, None);
    harness.stop().await;
}

#[tokio::test]
async fn a_new_chat_of_an_erased_guest_survives_the_late_removal() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "old words").await;
    harness
        .lists
        .fail_methods(TOUCHING, ErrorKind::Unavailable, When::Before);
    harness.service.delete(guest("ada")).await.unwrap();
    assert_eq!(
        harness.say("ada", "new words").await.receipt.list,
        ListState::Pending
    );
    assert_eq!(harness.listed("ada").await.unwrap(), ["old words"]);
    harness.lists.lift();
    harness.mended().await;
    assert_eq!(harness.listed("ada").await.unwrap(), ["new words"]);
    assert_eq!(harness.texts("ada").await, ["new words"]);
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_session_comes_from_the_tables_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    harness.say("ada", "one").await;
    harness.clock.advance(HOUR);
    harness
        .lists
        .fail_from(0, ErrorKind::Unavailable, When::Before);
    harness.say("ada", "two").await;
    let (items, source) = harness.session("ada").await.unwrap();
    assert_eq!(
        (items, source),
        (vec!["one".into(), "two".into()], "sqlite")
    );
    let page = harness.service.session(&guest("ada"), WHOLE_CHAT).await;
    assert_eq!(page.unwrap().unwrap().ttl, harness.list_ttl);
    harness.stop().await;
}

#[tokio::test]
async fn a_replay_while_lists_are_down_says_pending_and_stored_later() {
    let harness = down().await;
    let message = says("ada", "hello");
    harness.ask(message.clone()).await;
    let answer = harness.ask(message.clone()).await;
    assert_eq!(
        guestbook_testkit::service_harness::words::saved(&answer)[0]
            .receipt
            .list,
        ListState::Pending
    );
    harness.lists.lift();
    harness.mended().await;
    let answer = harness.ask(message).await;
    assert_eq!(
        guestbook_testkit::service_harness::words::saved(&answer)[0]
            .receipt
            .list,
        ListState::Stored
    );
    assert_eq!(harness.texts("ada").await, ["hello"]);
    harness.stop().await;
}
