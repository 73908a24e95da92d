//! `POST /v1/guest/chat/{guest_id}/batch`: all or nothing.

use crate::api::input::nothing_stored;
use guestbook_testkit::http_harness::client::{Answer, contents, said, sequences, with};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};

const PATH: &str = "/v1/guest/chat/g1/batch";

fn numbered(count: usize) -> Vec<Value> {
    (0..count)
        .map(|number| said("user", &format!("message {number}")))
        .collect()
}

async fn post(site: &Site, messages: &[Value]) -> Answer {
    let body = json!({ "messages": messages });
    site.client.post(PATH, &body).await
}

async fn post_keyed(site: &Site, key: &str, messages: &[Value]) -> Answer {
    let body = json!({ "messages": messages });
    site.client.post_keyed(PATH, key, &body).await
}

pub(crate) async fn there_is_one_answer_per_message_in_order(site: &Site) {
    let answers = post(site, &numbered(5)).await.list();
    assert_eq!(sequences(&answers), [0, 1, 2, 3, 4]);
    let history = site.client.history("g1").await;
    for (answer, message) in answers.iter().zip(&history) {
        assert_eq!(answer["message_id"], message["id"]);
        assert_eq!(answer["status"], "saved");
        assert_eq!(answer["receipt"]["list"], "stored");
    }
    assert_eq!(contents(&history)[4], "message 4");
}

pub(crate) async fn only_the_first_of_a_new_guest_creates(site: &Site) {
    let answers = post(site, &numbered(3)).await.list();
    let rows: Vec<_> = answers
        .iter()
        .map(|answer| &answer["receipt"]["conversation"])
        .collect();
    assert_eq!(rows, ["created", "updated", "updated"]);
}

pub(crate) async fn one_bad_message_refuses_all_and_is_named(site: &Site) {
    let faults = [
        ("role", json!("bot")),
        ("content", json!(" ")),
        ("timestamp", json!("x")),
    ];
    for (field, wrong) in faults {
        let mut messages = numbered(4);
        messages[2] = with(messages[2].clone(), field, wrong);
        let answer = post(site, &messages).await;
        answer.refuses(&format!("messages[2].{field}"));
        nothing_stored(site, "g1").await;
    }
}

pub(crate) async fn an_element_that_is_no_object_is_named(site: &Site) {
    for wrong in [json!(1), json!("text"), Value::Null] {
        let answer = post(site, &[said("user", "Hello"), wrong]).await;
        answer.refuses("messages[1]");
    }
    nothing_stored(site, "g1").await;
}

pub(crate) async fn a_thousand_are_taken_and_one_more_is_refused(site: &Site) {
    post(site, &numbered(1001)).await.refuses("messages");
    nothing_stored(site, "g1").await;
    let answers = post(site, &numbered(1000)).await.list();
    assert_eq!(sequences(&answers), (0..1000).collect::<Vec<_>>());
    assert_eq!(site.client.history("g1").await.len(), 1000);
}

pub(crate) async fn messages_must_be_an_array_that_is_not_empty(site: &Site) {
    let wrong = [
        json!({}),
        json!({"messages": null}),
        json!({"messages": []}),
        json!({"messages": {}}),
        json!({"messages": "text"}),
    ];
    for body in wrong {
        site.client.post(PATH, &body).await.refuses("messages");
    }
    nothing_stored(site, "g1").await;
}

pub(crate) async fn a_batch_is_replayed_by_its_key(site: &Site) {
    let first = post_keyed(site, "k", &numbered(3)).await.list();
    let again = post_keyed(site, "k", &numbered(3)).await.list();
    let replayed: Vec<_> = first
        .into_iter()
        .map(|answer| with(answer, "replayed", json!(true)))
        .collect();
    assert_eq!(again, replayed);
    assert_eq!(site.client.stored().await, 3);
}

pub(crate) async fn a_batch_with_other_content_under_its_key_is_a_409_and_stores_nothing(
    site: &Site,
) {
    post_keyed(site, "k", &numbered(3)).await.list();
    let mut other = numbered(4);
    other[1] = said("user", "other");
    let problem = post_keyed(site, "k", &other).await.problem(409);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("messages[1]"), "{detail}");
    assert_eq!(site.client.stored().await, 3);
}

pub(crate) async fn a_batch_with_more_messages_under_its_key_is_a_409_and_stores_nothing(
    site: &Site,
) {
    post_keyed(site, "k", &numbered(3)).await.list();
    for count in [4, 5] {
        let problem = post_keyed(site, "k", &numbered(count)).await.problem(409);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("messages[3]"), "{detail}");
        assert!(detail.contains("Idempotency-Key"), "{detail}");
    }
    assert_eq!(site.client.stored().await, 3);
    let again = post_keyed(site, "k", &numbered(3)).await.list();
    assert!(again.iter().all(|answer| answer["replayed"] == true));
    assert_eq!(post_keyed(site, "l", &numbered(4)).await.list().len(), 4);
}

pub(crate) async fn a_conflict_in_a_batch_of_one_is_named_as_in_any_other(site: &Site) {
    post_keyed(site, "k", &numbered(1)).await.list();
    let other = [said("user", "other")];
    let problem = post_keyed(site, "k", &other).await.problem(409);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("messages[0]"), "{detail}");
}

pub(crate) async fn a_batch_may_carry_ids(site: &Site) {
    let id = "0192f0c1-2345-7000-8000-0123456789ab";
    let messages = [
        with(said("user", "one"), "id", json!(id)),
        said("user", "two"),
    ];
    let first = post(site, &messages).await.list();
    assert_eq!(first[0]["message_id"], id);
    let again = post(site, &messages).await.list();
    assert_eq!(again[0], with(first[0].clone(), "replayed", json!(true)));
    assert_eq!(again[1]["sequence"], 2); // it has no id, so it is a new message
}

pub(crate) async fn batches_at_once_do_not_mix(site: &Site) {
    let posts = (0..8).map(|writer| {
        let client = site.client.clone();
        let messages: Vec<_> = (0..20)
            .map(|number| said("user", &format!("{writer}/{number}")))
            .collect();
        tokio::spawn(async move {
            client
                .post(PATH, &json!({"messages": messages}))
                .await
                .list()
        })
    });
    for post in posts.collect::<Vec<_>>() {
        let got = sequences(&post.await.unwrap());
        let first = got[0];
        assert_eq!(got, (first..first + 20).collect::<Vec<_>>());
    }
    let history = site.client.history("g1").await;
    assert_eq!(sequences(&history), (0..160).collect::<Vec<_>>());
}
