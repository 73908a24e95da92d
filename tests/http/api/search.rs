//! Searching within a guest's chat and a user's conversations, and the context for a model.

use guestbook::embed::openai::OpenAiOptions;
use guestbook::embedder::open;
use guestbook_testkit::http_harness::client::{Answer, chat, contents, said, sequences};
use guestbook_testkit::http_harness::server::{Plan, Site};
use serde_json::{Value, json};
use std::net::TcpListener;

const MODEL: &str = "static-256-i8:256:6355d7a0";

pub(crate) fn without_a_model() -> Plan {
    Plan {
        embedder: None,
        ..Plan::default()
    }
}

/// A path with a query, its values written as they must be.
fn path(start: &str, query: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        let bytes = text.bytes();
        bytes.map(|byte| format!("%{byte:02X}")).collect()
    };
    let pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    format!("{start}?{}", pairs.join("&"))
}

async fn search(site: &Site, query: &[(&str, &str)]) -> Answer {
    let start = format!("{}/search", chat("g1"));
    site.client.get(&path(&start, query)).await
}

async fn context(site: &Site, query: &[(&str, &str)]) -> Answer {
    let start = format!("{}/context", chat("g1"));
    site.client.get(&path(&start, query)).await
}

fn hits(found: &Value) -> Vec<&str> {
    contents(found["hits"].as_array().unwrap())
}

async fn holiday(site: &Site) {
    for content in [
        "When does the museum open on Sunday?",
        "I would like to book a hotel room for two nights",
        "Thank you very much",
        "The parcel with number AX-17 has not arrived",
    ] {
        site.client.say("g1", content).await;
    }
}

pub(crate) async fn a_search_by_meaning_has_exactly_these_fields(site: &Site) {
    holiday(site).await;
    let stored = &site.client.history("g1").await[1];
    let found = search(site, &[("q", "reserve accommodation"), ("k", "1")]).await;
    let found = found.ok();
    let score = found["hits"][0]["score"].as_f64().unwrap();
    assert!(0.2 < score && score < 1.0, "{score}");
    let mut saved = found["hits"][0].clone();
    let conversation = saved["conversation_id"].take();
    assert_eq!(conversation.as_str().unwrap().len(), 36);
    assert_eq!(
        saved,
        json!({
            "message_id": stored["id"], "conversation_id": null, "sequence": 1, "role": "user",
            "content": "I would like to book a hotel room for two nights",
            "timestamp": "2025-12-21T12:00:00Z", "score": found["hits"][0]["score"],
        })
    );
    assert_eq!(
        found,
        json!({"mode": "meaning", "model": MODEL, "searched": 4, "of": 4, "hits": found["hits"]})
    );
}

pub(crate) async fn a_search_by_words_takes_them_literally_the_newest_first(site: &Site) {
    holiday(site).await;
    site.client.say("g1", "is ax-17 lost?").await;
    let found = search(site, &[("q", "AX-17"), ("mode", "text")]).await.ok();
    let expected = [
        "is ax-17 lost?",
        "The parcel with number AX-17 has not arrived",
    ];
    assert_eq!(hits(&found), expected);
    assert_eq!(found["hits"][0]["score"], 1.0);
    assert_eq!(
        found,
        json!({"mode": "text", "searched": 5, "of": 5, "hits": found["hits"]})
    );
    let none = search(site, &[("q", "AX-18"), ("mode", "text")]).await.ok();
    assert_eq!(none["hits"], json!([]));
}

pub(crate) async fn ten_hits_come_unless_told(site: &Site) {
    for number in 0..12 {
        site.client.say("g1", &format!("ticket {number}")).await;
    }
    for mode in ["meaning", "text"] {
        let query = [("q", "ticket"), ("mode", mode)];
        assert_eq!(hits(&search(site, &query).await.ok()).len(), 10);
        let query = [("q", "ticket"), ("mode", mode), ("k", "100")];
        assert_eq!(hits(&search(site, &query).await.ok()).len(), 12);
    }
}

pub(crate) async fn what_cannot_be_looked_for_is_refused_and_named(site: &Site) {
    holiday(site).await;
    let long = "x".repeat(4097);
    for q in ["", "  ", "a\0b", &long] {
        search(site, &[("q", q)]).await.refuses("q");
    }
    search(site, &[]).await.refuses("q");
    search(site, &[("q", "a"), ("mode", "Text")])
        .await
        .refuses("mode");
    for k in ["0", "101", "-1", "1.5", "", "99999999999999999999"] {
        search(site, &[("q", "a"), ("k", k)]).await.refuses("k");
    }
    search(site, &[("q", "?!"), ("mode", "text")])
        .await
        .refuses("q");
    let unknown = search(site, &[("q", "🎉🎉")]).await;
    unknown.refuses("q");
    assert!(unknown.text().contains("mode=text"), "{}", unknown.text());
}

pub(crate) async fn an_unknown_guest_or_user_has_no_hits(site: &Site) {
    let nothing = json!({"mode": "meaning", "model": MODEL, "searched": 0, "of": 0, "hits": []});
    assert_eq!(search(site, &[("q", "museum")]).await.ok(), nothing);
    let of_user = path("/v1/user/u1/search", &[("q", "museum")]);
    assert_eq!(site.client.get(&of_user).await.ok(), nothing);
}

pub(crate) async fn a_message_without_a_vector_is_told_by_the_counts(site: &Site) {
    holiday(site).await;
    site.client.say("g1", "🎉").await;
    let found = search(site, &[("q", "museum")]).await.ok();
    assert_eq!((&found["searched"], &found["of"]), (&json!(4), &json!(5)));
}

pub(crate) async fn a_deleted_message_is_not_found_in_the_moment_after(site: &Site) {
    holiday(site).await;
    site.client.delete(&chat("g1")).await.ok();
    for mode in ["meaning", "text"] {
        let found = search(site, &[("q", "museum"), ("mode", mode)]).await.ok();
        assert_eq!((&found["hits"], &found["of"]), (&json!([]), &json!(0)));
    }
}

pub(crate) async fn a_user_finds_what_all_of_its_guests_said(site: &Site) {
    holiday(site).await;
    site.client
        .say("g2", "Is there a hotel with breakfast?")
        .await;
    let user = "Ü 1/2";
    for guest in ["g1", "g2"] {
        let path = format!("/v1/guest/migrate/{guest}");
        let body = json!({"authenticated_user_id": user});
        site.client.post(&path, &body).await.ok();
    }
    let start = "/v1/user/%C3%9C%201%2F2/search";
    let path = path(start, &[("q", "hotel"), ("k", "2")]);
    let found = site.client.get(&path).await.ok();
    let mut contents = hits(&found);
    contents.sort_unstable();
    assert_eq!(
        contents,
        [
            "I would like to book a hotel room for two nights",
            "Is there a hotel with breakfast?"
        ]
    );
    assert_eq!(found["of"], 5);
    assert_eq!(search(site, &[("q", "hotel")]).await.ok()["of"], 0);
}

pub(crate) async fn without_a_model_words_are_found_and_meaning_says_what_to_do(site: &Site) {
    holiday(site).await;
    let refused = search(site, &[("q", "museum")]).await;
    refused.refuses("mode");
    assert!(refused.text().contains("--embedder"), "{}", refused.text());
    let refused = context(site, &[("max_tokens", "99"), ("q", "museum")]).await;
    refused.refuses("mode");
    let found = search(site, &[("q", "museum"), ("mode", "text")])
        .await
        .ok();
    assert_eq!(hits(&found), ["When does the museum open on Sunday?"]);
    context(site, &[("max_tokens", "99")]).await.ok();
}

/// A server of a model that takes requests and never answers one.
pub(crate) fn with_a_model_that_hangs() -> Plan {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            taken.push(stream);
        }
    });
    let spec = format!("openai:http://{address}/v1").parse().unwrap();
    Plan {
        embedder: open(&spec, OpenAiOptions::default()).unwrap(),
        ..Plan::default()
    }
}

pub(crate) async fn a_model_that_hangs_is_a_503_that_says_so_and_holds_up_nothing_else(
    site: &Site,
) {
    site.expect_damage(); // the vectors stay pending
    holiday(site).await;
    let asked = [("q", "museum")];
    let (refused, found) = tokio::join!(search(site, &asked), async {
        search(site, &[("q", "museum"), ("mode", "text")])
            .await
            .ok()
    });
    let problem = refused.problem(503);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("the model does not answer"), "{detail}");
    assert!(detail.contains("mode=text"), "{detail}");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(hits(&found), ["When does the museum open on Sunday?"]);
}

async fn talk(site: &Site) {
    for (question, answer) in [
        (
            "When does the museum open?",
            "At ten in the morning, every day.",
        ),
        ("I need a hotel room.", "We have one with two beds."),
        ("What does the ticket cost?", "It is free for children."),
        ("Thank you.", "You are welcome."),
    ] {
        site.client
            .message("g1", &said("user", question))
            .await
            .ok();
        site.client
            .message("g1", &said("assistant", answer))
            .await
            .ok();
    }
}

fn messages(context: &Value) -> &[Value] {
    context["messages"].as_array().unwrap()
}

pub(crate) async fn a_context_has_exactly_these_fields(site: &Site) {
    talk(site).await;
    let stored = site.client.history("g1").await;
    let found = context(site, &[("max_tokens", "7")]).await.ok();
    let message = |at: usize, tokens: u64| {
        let mut message = stored[at].clone();
        message["tokens"] = tokens.into();
        message["why"] = "recent".into();
        message
    };
    assert_eq!(
        found,
        json!({"guest_id": "g1", "max_tokens": 7, "tokens": 5, "messages": [message(6, 2), message(7, 3)]})
    );
}

pub(crate) async fn a_context_with_a_question_has_what_is_relevant_before_what_is_recent(
    site: &Site,
) {
    talk(site).await;
    let query = [
        ("max_tokens", "18"),
        ("recent", "2"),
        ("q", "opening hours of the museum"),
    ];
    let found = context(site, &query).await.ok();
    let whole = messages(&found);
    assert_eq!(sequences(whole), [0, 1, 6, 7]);
    let why: Vec<_> = whole.iter().map(|message| &message["why"]).collect();
    assert_eq!(why, ["relevant", "relevant", "recent", "recent"]);
    assert!(whole[0]["score"].as_f64().unwrap() > 0.3, "{found}");
    assert_eq!(whole[0]["score"], whole[1]["score"]);
    assert_eq!(whole[3].get("score"), None);
    assert_eq!(
        found["compared"],
        json!({"model": MODEL, "searched": 8, "of": 8})
    );
    assert_eq!(found["tokens"], 17);
}

pub(crate) async fn a_context_of_an_unknown_guest_is_empty(site: &Site) {
    let found = context(site, &[("max_tokens", "9")]).await.ok();
    let nothing = json!({"guest_id": "g1", "max_tokens": 9, "tokens": 0, "messages": []});
    assert_eq!(found, nothing);
}

pub(crate) async fn a_budget_that_is_none_is_refused_and_named(site: &Site) {
    context(site, &[]).await.refuses("max_tokens");
    for tokens in ["0", "1000001", "many", ""] {
        context(site, &[("max_tokens", tokens)])
            .await
            .refuses("max_tokens");
    }
    let query = [("max_tokens", "9"), ("recent", "10001")];
    context(site, &query).await.refuses("recent");
    context(site, &[("max_tokens", "9"), ("q", " ")])
        .await
        .refuses("q");
}
