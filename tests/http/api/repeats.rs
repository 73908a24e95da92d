//! Section 1: the same id or key again is the same message.

use guestbook_testkit::http_harness::client::{Client, chat, said, with};
use guestbook_testkit::http_harness::server::{Pair, Plan, Site};
use serde_json::{Value, json};

const ID: &str = "0192f0c1-2345-7000-8000-0123456789ab";

fn identified(content: &str) -> Value {
    with(said("user", content), "id", json!(ID))
}

/// The answer to a message that was stored before with this answer.
fn replay_of(answer: &Value) -> Value {
    with(answer.clone(), "replayed", json!(true))
}

async fn keyed(client: &Client, guest: &str, content: &str) -> Value {
    let path = chat(guest);
    let answer = client
        .post_keyed(&path, "key-1", &said("user", content))
        .await;
    answer.ok()
}

pub(crate) async fn an_id_chosen_by_the_client_is_the_messages_id(site: &Site) {
    let answer = site.client.message("g1", &identified("Hello")).await.ok();
    assert_eq!(answer["message_id"], ID);
    assert_eq!(site.client.history("g1").await[0]["id"], ID);
}

pub(crate) async fn an_id_again_gives_the_first_answer_and_stores_nothing(site: &Site) {
    let first = site.client.message("g1", &identified("Hello")).await.ok();
    site.client.say("g1", "in between").await;
    let again = site.client.message("g1", &identified("Hello")).await.ok();
    assert_eq!(again, replay_of(&first));
    assert_eq!(site.client.stored().await, 2);
}

pub(crate) async fn an_id_in_another_spelling_is_the_same_id(site: &Site) {
    let first = site.client.message("g1", &identified("Hello")).await.ok();
    let upper = with(said("user", "Hello"), "id", json!(ID.to_uppercase()));
    let again = site.client.message("g1", &upper).await.ok();
    assert_eq!(again, replay_of(&first));
}

pub(crate) async fn a_key_again_gives_the_first_answer_and_stores_nothing(site: &Site) {
    let first = keyed(&site.client, "g1", "Hello").await;
    let again = keyed(&site.client, "g1", "Hello").await;
    assert_eq!(again, replay_of(&first));
    assert_eq!(site.client.stored().await, 1);
}

pub(crate) async fn a_replay_counts_no_usage(site: &Site) {
    for _ in 0..3 {
        keyed(&site.client, "g1", "Hello").await;
    }
    let report = site.client.verify(Some("g1")).await;
    assert_eq!(report["ok"], true, "{report:#}");
}

pub(crate) async fn a_key_with_other_content_is_a_409_and_stores_nothing(site: &Site) {
    keyed(&site.client, "g1", "Hello").await;
    let path = chat("g1");
    let others = [said("user", "Other"), said("assistant", "Hello")];
    for other in others {
        let answer = site.client.post_keyed(&path, "key-1", &other).await;
        answer.problem(409);
    }
    assert_eq!(site.client.stored().await, 1);
}

pub(crate) async fn an_id_with_other_content_is_a_409(site: &Site) {
    site.client.message("g1", &identified("Hello")).await.ok();
    let other = site.client.message("g1", &identified("Other")).await;
    let problem = other.problem(409);
    assert_eq!(problem["id"], ID);
    assert_eq!(site.client.stored().await, 1);
}

pub(crate) async fn a_key_of_another_guest_is_another_message(site: &Site) {
    let one = keyed(&site.client, "g1", "Hello").await;
    let other = keyed(&site.client, "g2", "Other").await;
    assert_ne!(one["message_id"], other["message_id"]);
    assert_eq!(other.get("replayed"), None);
}

pub(crate) async fn an_id_beside_a_key_is_refused(site: &Site) {
    let path = chat("g1");
    let answer = site
        .client
        .post_keyed(&path, "key-1", &identified("Hello"))
        .await;
    answer.refuses("Idempotency-Key");
}

pub(crate) async fn a_key_sent_64_times_at_once_is_one_message(site: &Site) {
    let sends = (0..64).map(|_| {
        let client = site.client.clone();
        tokio::spawn(async move { keyed(&client, "g1", "Hello").await })
    });
    let mut first = 0;
    for send in sends.collect::<Vec<_>>() {
        let answer = send.await.unwrap();
        assert_eq!(answer["sequence"], 0);
        first += u32::from(answer.get("replayed").is_none());
    }
    assert_eq!((first, site.client.stored().await), (1, 1));
}

pub(crate) async fn of_two_contents_racing_under_one_key_one_is_stored(site: &Site) {
    let path = chat("g1");
    let sends: Vec<_> = (0..16)
        .map(|number| {
            let (client, path) = (site.client.clone(), path.clone());
            let message = said("user", &format!("content {number}"));
            tokio::spawn(async move { client.post_keyed(&path, "key-1", &message).await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for send in sends {
        statuses.push(send.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![409; 15]].concat());
    assert_eq!(site.client.stored().await, 1);
}

pub(crate) async fn a_deleted_message_may_be_sent_again(site: &Site) {
    keyed(&site.client, "g1", "Hello").await;
    site.client.delete(&chat("g1")).await.ok();
    let again = keyed(&site.client, "g1", "Hello").await;
    assert_eq!(again.get("replayed"), None);
    assert_eq!(site.client.stored().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_remembered_over_a_restart() {
    let site = Site::open(Pair::SqliteSled, Plan::default()).await;
    let by_key = keyed(&site.client, "g1", "Hello").await;
    let by_id = site.client.message("g1", &identified("Hello")).await.ok();
    let site = site.reopen(Plan::default()).await;
    let again = keyed(&site.client, "g1", "Hello").await;
    assert_eq!(again, replay_of(&by_key));
    let again = site.client.message("g1", &identified("Hello")).await.ok();
    assert_eq!(again, replay_of(&by_id));
    let other = site.client.message("g1", &identified("Other")).await;
    other.problem(409);
    assert_eq!(site.client.stored().await, 2);
    site.finish().await;
}
