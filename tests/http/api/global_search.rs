//! `POST /v1/search`: over all conversations.

use guestbook::service::IndexMode;
use guestbook_testkit::http_harness::client::said;
use guestbook_testkit::http_harness::server::{Pair, Plan, Site, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/v1/search";
/// What four guests say; each is about something of its own.
const SAID: [(&str, &str); 4] = [
    ("g1", "where is my order, the parcel has not arrived"),
    ("g2", "how do I reset my password"),
    ("g3", "the dog eats a banana in the garden"),
    ("g4", "please send the invoice by mail"),
];

async fn told(site: &Site) {
    for (guest, content) in SAID {
        site.client.say(guest, content).await;
    }
}

async fn search(site: &Site, body: &Value) -> Value {
    site.client.post(PATH, body).await.ok()
}

fn contents(answer: &Value) -> Vec<&str> {
    let hits = answer["hits"].as_array().unwrap();
    hits.iter()
        .map(|hit| hit["content"].as_str().unwrap())
        .collect()
}

async fn found(site: &Site, mut narrowed: Value) -> usize {
    narrowed["q"] = json!("parcel order password banana invoice");
    contents(&search(site, &narrowed).await).len()
}

pub(crate) async fn the_nearest_message_of_all_guests_comes_first(site: &Site) {
    told(site).await;
    let answer = search(site, &json!({"q": "forgot password", "k": 2})).await;
    assert_eq!(contents(&answer).len(), 2);
    let saved = site.client.history("g2").await;
    let hit = &answer["hits"][0];
    assert_eq!(
        (&hit["message_id"], &hit["content"], &hit["sequence"]),
        (&saved[0]["id"], &json!(SAID[1].1), &json!(0))
    );
    assert_eq!(
        (&hit["role"], &hit["timestamp"]),
        (&saved[0]["role"], &saved[0]["timestamp"])
    );
    let scores: Vec<_> = answer["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["score"].as_f64())
        .collect();
    assert!(
        scores[0] > scores[1] && scores[0] <= Some(1.0),
        "{scores:?}"
    );
    assert_eq!(
        (&answer["index"], &answer["mode"], &answer["model"]),
        (
            &json!("ready"),
            &json!("meaning"),
            &json!("static-256-i8:256:6355d7a0")
        )
    );
    assert_eq!((&answer["searched"], &answer["of"]), (&json!(4), &json!(4)));
}

pub(crate) async fn what_was_answered_as_saved_is_found_at_once(site: &Site) {
    search(site, &json!({"q": "hello"})).await; // wakes the index
    for number in 0..20 {
        let content = format!("the blue whale number {number} sings");
        site.client.say(&format!("g{number}"), &content).await;
        let answer = search(site, &json!({"q": content, "k": 1})).await;
        assert_eq!(contents(&answer), [content]);
    }
}

pub(crate) async fn a_deleted_message_is_not_found_any_more(site: &Site) {
    told(site).await;
    let asked = json!({"q": SAID[0].1});
    assert_eq!(contents(&search(site, &asked).await)[0], SAID[0].1);
    site.client.delete("/v1/guest/chat/g1").await.ok();
    assert!(!contents(&search(site, &asked).await).contains(&SAID[0].1));
}

pub(crate) async fn a_search_is_narrowed_by_role_platform_time_and_score(site: &Site) {
    told(site).await;
    let answered = json!({"role": "assistant", "content": "the parcel is on its way", "timestamp": "2026-01-10T00:00:00Z"});
    site.client.message("g1", &answered).await.ok();
    let body = json!({"authenticated_user_id": "u1"});
    site.client.post("/v1/guest/migrate/g2", &body).await.ok();
    assert_eq!(found(site, json!({})).await, 5);
    assert_eq!(found(site, json!({"role": "assistant"})).await, 1);
    assert_eq!(found(site, json!({"role": "tool"})).await, 0);
    assert_eq!(found(site, json!({"platform": "authenticated"})).await, 1);
    assert_eq!(found(site, json!({"platform": "guest"})).await, 4);
    assert_eq!(
        found(site, json!({"from": "2026-01-10T00:00:00Z"})).await,
        1
    );
    assert_eq!(found(site, json!({"to": "2026-01-10T00:00:00Z"})).await, 4);
    assert_eq!(found(site, json!({"minimum_score": 1})).await, 0);
    assert_eq!(found(site, json!({"minimum_score": -1, "k": 3})).await, 3);
    assert_eq!(found(site, json!({"role": null, "k": null})).await, 5);
}

pub(crate) async fn a_rare_platform_is_found_below_any_number_of_others(site: &Site) {
    let nearer: Vec<_> = (0..200).map(|_| said("user", "a lost parcel")).collect();
    let body = json!({"messages": nearer});
    site.client
        .post("/v1/guest/chat/g1/batch", &body)
        .await
        .ok();
    site.client.say("g2", "something else entirely").await;
    let body = json!({"authenticated_user_id": "u1"});
    site.client.post("/v1/guest/migrate/g2", &body).await.ok();
    let asked = json!({"q": "a lost parcel", "platform": "authenticated", "k": 1});
    assert_eq!(
        contents(&search(site, &asked).await),
        ["something else entirely"]
    );
}

pub(crate) async fn a_fault_of_a_search_is_told_with_its_field(site: &Site) {
    let cases = [
        (json!({}), "q"),
        (json!({"q": " "}), "q"),
        (json!({"q": 7}), "q"),
        (json!({"q": "x", "k": 0}), "k"),
        (json!({"q": "x", "k": 101}), "k"),
        (json!({"q": "x", "k": "ten"}), "k"),
        (json!({"q": "x", "mode": "magic"}), "mode"),
        (json!({"q": "x", "role": "robot"}), "role"),
        (json!({"q": "x", "platform": "mars"}), "platform"),
        (json!({"q": "x", "from": "yesterday"}), "from"),
        (json!({"q": "x", "to": 5}), "to"),
        (json!({"q": "x", "minimum_score": 2}), "minimum_score"),
        (json!({"q": "x", "minimum_score": "high"}), "minimum_score"),
    ];
    for (body, field) in cases {
        let problem = site.client.post(PATH, &body).await.problem(422);
        assert_eq!(problem["field"], field, "{body}");
    }
    site.client.post_text(PATH, "{").await.problem(400);
    site.client.post_text(PATH, "[]").await.problem(422);
}

pub(crate) async fn readiness_says_how_far_the_index_is(site: &Site) {
    told(site).await;
    let index = |ready: Value| ready["search_index"].clone();
    let before = index(site.client.get("/readyz").await.ok());
    assert_eq!(before, json!({"state": "lazy", "searched": 0, "of": 0}));
    search(site, &json!({"q": "hello"})).await;
    let after = index(site.client.get("/readyz").await.ok());
    assert_eq!(after, json!({"state": "ready", "searched": 4, "of": 4}));
}

/// What was erased leaves the memory, too.
pub(crate) async fn a_search_lets_go_of_what_it_did_not_find_any_more(site: &Site) {
    told(site).await;
    search(site, &json!({"q": "hello"})).await;
    site.client.delete("/v1/guest/chat/g1").await.ok();
    eventually("the index forgets what is gone", || async {
        let answer = search(site, &json!({"q": SAID[0].1})).await;
        (answer["searched"] == 3 && answer["of"] == 3).then_some(())
    })
    .await;
}

pub(crate) fn with_words() -> Plan {
    Plan {
        text_index: true,
        ..Plan::default()
    }
}

pub(crate) async fn words_are_found_in_what_all_guests_said(site: &Site) {
    for (guest, content) in SAID {
        site.client.say(guest, content).await;
        site.clock.advance(Duration::from_secs(1)); // so that each is newer than the one before
    }
    let answer = search(site, &json!({"q": "THE order", "mode": "text"})).await;
    let saved = site.client.history("g1").await;
    let hit = json!({
        "message_id": saved[0]["id"], "conversation_id": answer["hits"][0]["conversation_id"], "sequence": 0,
        "role": "user", "content": SAID[0].1, "timestamp": saved[0]["timestamp"], "score": 1.0,
    });
    let expected = json!({"mode": "text", "searched": 4, "of": 4, "hits": [hit]});
    assert_eq!(answer, expected);
    let newest = search(site, &json!({"q": "the", "mode": "text", "k": 2})).await;
    assert_eq!(contents(&newest), [SAID[3].1, SAID[2].1]);
    let none = search(site, &json!({"q": "the", "mode": "text", "role": "tool"})).await;
    assert_eq!(contents(&none), [""; 0]);
    let problem = site
        .client
        .post(PATH, &json!({"q": "?!", "mode": "text"}))
        .await
        .problem(422);
    assert_eq!(problem["field"], "q");
}

pub(crate) async fn deleted_words_are_not_found_any_more(site: &Site) {
    told(site).await;
    let asked = json!({"q": "parcel", "mode": "text"});
    assert_eq!(contents(&search(site, &asked).await), [SAID[0].1]);
    site.client.delete("/v1/guest/chat/g1").await.ok();
    assert_eq!(contents(&search(site, &asked).await), [""; 0]);
}

pub(crate) async fn without_an_index_over_words_the_answer_says_how_to_have_one(site: &Site) {
    told(site).await;
    let body = json!({"q": "order", "mode": "text"});
    let problem = site.client.post(PATH, &body).await.problem(409);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("--text-index on"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_index_the_answer_says_how_to_have_one() {
    let plan = Plan {
        indexing: IndexMode::Off,
        ..Plan::default()
    };
    let site = Site::open(Pair::Memory, plan).await;
    let problem = site
        .client
        .post(PATH, &json!({"q": "hello"}))
        .await
        .problem(409);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("--search-index"),
        "{problem}"
    );
    let ready = site.client.get("/readyz").await.ok();
    assert_eq!(ready["search_index"]["state"], "off");
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_is_made_from_what_is_there_at_the_start() {
    let plan = || Plan {
        indexing: IndexMode::On,
        ..Plan::default()
    };
    let site = Site::open(Pair::SqliteSled, plan()).await;
    told(&site).await;
    let site = site.reopen(plan()).await;
    eventually("the index is ready without a search", || async {
        let ready = site.client.get("/readyz").await.ok();
        (ready["search_index"] == json!({"state": "ready", "searched": 4, "of": 4})).then_some(())
    })
    .await;
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_indexed_from_what_is_there_at_the_start() {
    let site = Site::open(Pair::SqliteSled, Plan::default()).await;
    told(&site).await;
    let site = site.reopen(with_words()).await;
    let asked = json!({"q": "password", "mode": "text"});
    assert_eq!(contents(&search(&site, &asked).await), [SAID[1].1]);
    let site = site.reopen(Plan::default()).await;
    site.client.post(PATH, &asked).await.problem(409);
    site.finish().await;
}
