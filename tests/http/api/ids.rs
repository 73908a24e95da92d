//! Section 1: ids are a guest's own, and any short text is one.

use guestbook::core::{GuestId, IdempotencyKey};
use guestbook_testkit::http_harness::client::{Answer, chat, contents, said, with, without};
use guestbook_testkit::http_harness::server::{Pair, Plan, Site};
use serde_json::{Value, json};

const UUID: &str = "0192f0c1-2345-7000-8000-0123456789ab";
const TEXTS: [&str; 5] = [
    "m1",
    "V1StGXR8_Z5jdHi6B-myT",
    "a/b c?d#e",
    "\u{1F600}é",
    " ",
];

fn named(id: &str, content: &str) -> Value {
    with(said("user", content), "id", json!(id))
}

fn detail(problem: &Value) -> &str {
    problem["detail"].as_str().unwrap()
}

/// What a sender takes for the message's id.
fn id_of(answer: &Value) -> Value {
    let named = answer.get("id");
    named.unwrap_or(&answer["message_id"]).clone()
}

async fn ids(site: &Site, guest: &str) -> Vec<Value> {
    let history = site.client.history(guest).await;
    history.into_iter().map(|mut it| it["id"].take()).collect()
}

async fn migrate(site: &Site, guest: &str) {
    let path = format!("/v1/guest/migrate/{guest}");
    let body = json!({"authenticated_user_id": "u1"});
    site.client.post(&path, &body).await.ok();
}

async fn post_lines(site: &Site, lines: &[Value]) -> Vec<Value> {
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    let request = site.client.request("POST", "/v1/messages/batch");
    let request = request.header("Content-Type", "application/x-ndjson");
    Answer::of(request.body(lines.join("\n"))).await.lines()
}

pub(crate) async fn any_short_text_is_an_id_and_comes_back_as_it_was_sent(site: &Site) {
    for text in TEXTS {
        let first = site.client.message("g1", &named(text, "Hello")).await.ok();
        assert_eq!(first["id"], text);
        assert_ne!(first["message_id"], text);
        let again = site.client.message("g1", &named(text, "Hello")).await.ok();
        assert_eq!(again, with(first, "replayed", json!(true)));
        let other = site.client.message("g1", &named(text, "Other")).await;
        let problem = other.problem(409);
        assert_eq!(problem["id"], text);
        assert!(detail(&problem).contains(text), "{problem}");
    }
    assert_eq!(ids(site, "g1").await, TEXTS);
    assert_eq!(site.client.verify(None).await["ok"], true);
}

pub(crate) async fn what_is_no_id_is_refused(site: &Site) {
    let long = "é".repeat(129);
    for id in [
        "", "last", ".", "..", "a\nb", "a\u{7f}", "\u{85}", "a\0", &long,
    ] {
        let answer = site.client.message("g1", &named(id, "Hello")).await;
        answer.refuses("id");
    }
    assert_eq!(site.client.stored().await, 0);
    let longest = "é".repeat(128);
    site.client
        .message("g1", &named(&longest, "Hello"))
        .await
        .ok();
    assert_eq!(ids(site, "g1").await, [longest]);
}

pub(crate) async fn two_guests_may_use_the_same_id(site: &Site) {
    for id in [UUID, "m1"] {
        for guest in ["g1", "g2"] {
            let answer = site.client.message(guest, &named(id, guest)).await.ok();
            assert_eq!(answer.get("replayed"), None);
            assert_eq!(id_of(&answer), id);
        }
    }
    for guest in ["g1", "g2"] {
        assert_eq!(ids(site, guest).await, [UUID, "m1"]);
        let again = site.client.message(guest, &named(UUID, guest)).await.ok();
        assert_eq!(
            (&again["replayed"], &id_of(&again)),
            (&json!(true), &json!(UUID))
        );
        let other = site.client.message(guest, &named(UUID, "other")).await;
        other.problem(409);
    }
    assert_eq!(site.client.stored().await, 4);
    assert_eq!(site.client.verify(None).await["ok"], true);
}

pub(crate) async fn a_planted_id_does_not_block_another_guests_key(site: &Site) {
    let key = IdempotencyKey::parse("order-17").unwrap();
    let victim = GuestId::parse("g1").unwrap();
    for planted in [key.message_id(&victim), key.of_part(0).message_id(&victim)] {
        let planted = named(&planted.to_string(), "planted");
        site.client.message("mallory", &planted).await.ok();
    }
    let path = chat("g1");
    let send = || site.client.post_keyed(&path, "order-17", &UNTIMED);
    let first = send().await.ok();
    assert_eq!(first.get("replayed"), None);
    assert_eq!(send().await.ok()["message_id"], first["message_id"]);
    assert_eq!(ids(site, "g1").await, [id_of(&first)]);
    let (batch, body) = (
        format!("{path}/batch"),
        json!({"messages": [said("user", "a")]}),
    );
    for replayed in [None, Some(&json!(true))] {
        let answer = site
            .client
            .post_keyed(&batch, "order-18", &body)
            .await
            .list();
        assert_eq!(answer[0].get("replayed"), replayed);
    }
}

static UNTIMED: std::sync::LazyLock<Value> =
    std::sync::LazyLock::new(|| without(said("user", "Hello"), "timestamp"));

pub(crate) async fn one_id_for_many_guests_in_lines_is_stored_for_each(site: &Site) {
    let guests: Vec<_> = (0..10).map(|n| format!("g{n}")).collect();
    let line = |guest: &String| with(named(UUID, guest), "guest_id", json!(guest));
    let lines: Vec<_> = guests.iter().chain(&guests).map(line).collect();
    let answers = post_lines(site, &lines).await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(id_of(answer), UUID, "{answer}");
        assert_eq!(answer.get("replayed").is_some(), n >= guests.len());
    }
    for guest in &guests {
        assert_eq!(ids(site, guest).await, [UUID]);
    }
}

pub(crate) async fn one_id_sent_by_many_guests_at_once_is_stored_for_each(site: &Site) {
    let sends = (0..32).map(|n| {
        let client = site.client.clone();
        let guest = format!("g{}", n / 2);
        tokio::spawn(async move { client.message(&guest, &named(UUID, "Hello")).await.ok() })
    });
    let mut first = 0;
    for send in sends.collect::<Vec<_>>() {
        let answer = send.await.unwrap();
        assert_eq!(
            (id_of(&answer), &answer["sequence"]),
            (json!(UUID), &json!(0))
        );
        first += u32::from(answer.get("replayed").is_none());
    }
    assert_eq!((first, site.client.stored().await), (16, 16));
    assert_eq!(site.client.verify(None).await["ok"], true);
}

pub(crate) async fn other_metadata_or_another_time_under_an_id_is_a_409(site: &Site) {
    let tagged = |json: Value| with(named("m1", "Hello"), "metadata", json);
    let first = tagged(json!({"a": 1, "b": [2]}));
    site.client.message("g1", &first).await.ok();
    let later = with(first.clone(), "timestamp", json!("2026-01-01T00:00:00Z"));
    let others = [
        tagged(json!({"a": 2, "b": [2]})),
        tagged(json!({})),
        without(first.clone(), "metadata"),
        later,
    ];
    for other in others {
        site.client.message("g1", &other).await.problem(409);
    }
    // The same in other words.
    let text = first
        .to_string()
        .replace(r#"{"a":1,"b":[2]}"#, r#"{ "b":[2], "a":1 }"#);
    assert_ne!(text, first.to_string());
    let again = site.client.post_text(&chat("g1"), text).await.ok();
    assert_eq!(again["replayed"], true);
    let same = with(first, "timestamp", json!("2025-12-21T13:00:00+01:00"));
    let again = site.client.message("g1", &same).await.ok();
    assert_eq!(again["replayed"], true);
    assert_eq!(site.client.stored().await, 1);
}

pub(crate) async fn without_a_timestamp_the_time_is_ours_and_a_repetition_is_one(site: &Site) {
    let untimed = without(named("m1", "Hello"), "timestamp");
    for absent in [
        untimed.clone(),
        with(untimed.clone(), "timestamp", Value::Null),
    ] {
        site.client.message("g1", &absent).await.ok();
    }
    let timed = site.client.message("g1", &named("m1", "Hello")).await;
    timed.problem(409); // whoever says another time speaks of another message
    let history = site.client.history("g1").await;
    assert_eq!(history.len(), 1);
    let sent = guestbook::core::Timestamp::parse(history[0]["timestamp"].as_str().unwrap());
    let now = site.service.parts().clock.now();
    assert!(sent.unwrap().until(now) < std::time::Duration::from_secs(3600));
}

pub(crate) async fn a_batch_under_its_key_is_exactly_the_same_or_a_409(site: &Site) {
    let path = format!("{}/batch", chat("g1"));
    let messages = |all: &[&str]| {
        let all: Vec<_> = all.iter().map(|text| said("user", text)).collect();
        json!({"messages": all})
    };
    let send = |body: Value| {
        let path = path.clone();
        async move { site.client.post_keyed(&path, "k", &body).await }
    };
    let whole = || messages(&["a", "b", "a"]);
    let first = send(whole()).await.list();
    let others = [
        (messages(&["a", "b"]), 2),
        (messages(&["a"]), 1),
        (messages(&["b", "a", "a"]), 0),
        (messages(&["a", "a", "b"]), 1),
        (messages(&["a", "b", "a", "c"]), 3),
        (messages(&["x", "y"]), 0),
    ];
    for (other, index) in others {
        let problem = send(other).await.problem(409);
        assert_eq!(problem["index"], index, "{problem}");
        assert!(detail(&problem).contains(&format!("messages[{index}]")));
        assert!(detail(&problem).contains("Idempotency-Key"));
    }
    let alone = site
        .client
        .post_keyed(&chat("g1"), "k", &said("user", "a"))
        .await;
    alone.problem(409);
    let again = send(whole()).await.list();
    let replayed = |one: Value| with(one, "replayed", json!(true));
    assert_eq!(again, first.into_iter().map(replayed).collect::<Vec<_>>());
    assert_eq!(site.client.stored().await, 3);
    // After an erasure the key is as good as new.
    site.client.delete(&chat("g1")).await.ok();
    let fewer = send(messages(&["a", "b"])).await.list();
    assert!(fewer.iter().all(|one| one.get("replayed").is_none()));
}

pub(crate) async fn a_batch_under_the_key_of_one_message_is_a_409(site: &Site) {
    let one = said("user", "a");
    site.client.post_keyed(&chat("g1"), "k", &one).await.ok();
    let path = format!("{}/batch", chat("g1"));
    for body in [json!({"messages": [one]}), json!({"messages": [one, one]})] {
        let problem = site.client.post_keyed(&path, "k", &body).await.problem(409);
        assert!(detail(&problem).contains("Idempotency-Key"), "{problem}");
    }
    assert_eq!(site.client.stored().await, 1);
}

pub(crate) async fn an_id_is_the_same_message_after_signing_up(site: &Site) {
    site.client
        .message("other", &named(UUID, "in the way"))
        .await
        .ok();
    for id in [UUID, "m1"] {
        site.client.message("g1", &named(id, "Hello")).await.ok();
    }
    migrate(site, "g1").await;
    for id in [UUID, "m1"] {
        let again = site.client.message("g1", &named(id, "Hello")).await.ok();
        assert_eq!(
            (&again["replayed"], &id_of(&again)),
            (&json!(true), &json!(id))
        );
    }
    assert_eq!(site.client.history("g1").await, [] as [Value; 0]);
    let conversations = site.client.conversations("u1").await;
    let path = format!(
        "/v1/conversation/{}",
        conversations[0]["id"].as_str().unwrap()
    );
    let read = site.client.get(&path).await.ok();
    let shown: Vec<_> = read["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["id"])
        .collect();
    assert_eq!(shown, [UUID, "m1"]);
    // A new chat has ids of its own.
    let new = site
        .client
        .message("g1", &named("m1", "Something else"))
        .await
        .ok();
    assert_eq!((new.get("replayed"), &new["sequence"]), (None, &json!(0)));
}

pub(crate) async fn searches_and_contexts_show_the_id_that_was_sent(site: &Site) {
    let sent = site
        .client
        .message("g1", &named("m1", "where is the station"))
        .await
        .ok();
    site.client.say("g1", "another station").await;
    let found = site
        .client
        .get("/v1/guest/chat/g1/search?q=station&mode=text")
        .await
        .ok();
    let hits = found["hits"].as_array().unwrap();
    assert_eq!(hits[1]["id"], "m1");
    assert_eq!(hits[1]["message_id"], sent["message_id"]);
    assert_eq!(hits[0].get("id"), None);
    let context = site
        .client
        .get("/v1/guest/chat/g1/context?max_tokens=99")
        .await
        .ok();
    assert_eq!(context["messages"][0]["id"], "m1");
    assert_eq!(context["messages"][1]["id"], hits[0]["message_id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_remembered_over_a_restart() {
    let site = Site::open(Pair::SqliteSled, Plan::default()).await;
    for guest in ["g1", "g2"] {
        for id in [UUID, "m1"] {
            site.client.message(guest, &named(id, guest)).await.ok();
        }
    }
    let site = site.reopen(Plan::default()).await;
    for guest in ["g1", "g2"] {
        for id in [UUID, "m1"] {
            let again = site.client.message(guest, &named(id, guest)).await.ok();
            assert_eq!(
                (&again["replayed"], &id_of(&again)),
                (&json!(true), &json!(id))
            );
            let other = site.client.message(guest, &named(id, "other")).await;
            other.problem(409);
        }
        let history = site.client.history(guest).await;
        assert_eq!(contents(&history), [guest, guest]);
    }
    site.finish().await;
}
