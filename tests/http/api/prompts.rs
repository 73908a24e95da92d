//! `/v1/cache`: an answer is given again where the prompt is the same, and nowhere else.

use guestbook::storage::database::NewCacheEntry;
use guestbook_testkit::http_harness::client::{Answer, chat, json_body};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};
use std::time::Duration;

const LOOKUP: &str = "/v1/cache/lookup";

/// The least that a prompt is asked with.
fn asked(prompt: &str) -> Value {
    json!({"scope": "tenant:acme", "model": "m1", "temperature": 0.2, "max_tokens": 64, "context": "be brief", "prompt": prompt})
}

/// The same with some fields in the place of others.
fn with(mut body: Value, fields: Value) -> Value {
    let fields = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

async fn put(site: &Site, body: &Value) -> Answer {
    Answer::of(json_body(
        site.client.request("PUT", "/v1/cache"),
        body.to_string(),
    ))
    .await
}

async fn keep(site: &Site, asked: Value, response: &str) -> Value {
    let body = with(
        asked,
        json!({"response": response, "generation_time": 1200, "input_tokens": 10, "output_tokens": 5}),
    );
    put(site, &body).await.ok()
}

async fn lookup(site: &Site, body: &Value) -> Value {
    site.client.post(LOOKUP, body).await.ok()
}

async fn assert_none(site: &Site, body: &Value) {
    assert_eq!(lookup(site, body).await, json!({"match": "none"}), "{body}");
}

/// Statistics once so many lookups have been written.
async fn counted(site: &Site, lookups: u64) -> Value {
    for _ in 0..600 {
        let stats = site.client.get("/v1/cache").await.ok();
        let number = |name: &str| stats[name].as_u64().unwrap();
        if number("cache_hits") + number("cache_misses") == lookups {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{lookups} lookups were never counted");
}

pub(crate) async fn an_answer_comes_back_with_exactly_these_fields(site: &Site) {
    assert_none(site, &asked("What is it?")).await;
    let kept = keep(site, asked("What is it?"), "This.").await;
    let id = kept["id"].clone();
    assert_eq!(kept["status"], "kept");
    assert_eq!(
        (&kept["scope"], &kept["semantic"]),
        (&json!("tenant:acme"), &json!(false))
    );
    let found = lookup(site, &asked("What is it?")).await;
    let expected = json!({
        "match": "exact", "id": id, "prompt": "What is it?", "response": "This.", "generation_time": 1200.0,
        "input_tokens": 10, "output_tokens": 5, "hits": 0, "created_at": found["created_at"], "expires_at": kept["expires_at"],
    });
    assert_eq!(found, expected);
    assert_ne!(found["created_at"], kept["expires_at"]);
}

pub(crate) async fn white_space_does_not_count_and_case_does(site: &Site) {
    keep(site, asked("What is  it?\n"), "This.").await;
    assert_eq!(lookup(site, &asked(" What is it?")).await["match"], "exact");
    assert_none(site, &asked("what is it?")).await;
}

pub(crate) async fn an_answer_stays_in_its_scope_and_its_setting(site: &Site) {
    keep(site, asked("What is it?"), "This.").await;
    for other in [
        json!({"scope": "tenant:acm"}),
        json!({"scope": "guest:acme"}),
        json!({"model": "m2"}),
        json!({"temperature": 0.3}),
        json!({"temperature": null}),
        json!({"max_tokens": 65}),
        json!({"max_tokens": null}),
        json!({"context": "be long"}),
        json!({"context": null}),
    ] {
        let body = with(asked("What is it?"), other);
        assert_none(site, &body).await;
        assert_none(site, &with(body, json!({"semantic": true}))).await;
    }
}

pub(crate) async fn a_context_may_be_sent_as_its_hash(site: &Site) {
    let kept = keep(site, asked("What is it?"), "This.").await;
    let mut body = asked("What is it?");
    body.as_object_mut().unwrap().remove("context");
    let body = with(body, json!({"context_hash": kept["context_hash"]}));
    assert_eq!(lookup(site, &body).await["match"], "exact");
}

pub(crate) async fn a_prompt_in_other_words_is_answered_only_where_both_sides_ask_for_it(
    site: &Site,
) {
    let (one, other) = (
        "What's your refund policy?",
        "What is your policy on refunds?",
    );
    let semantic = |prompt| with(asked(prompt), json!({"semantic": true}));
    keep(site, asked(one), "30 days.").await;
    assert_none(site, &semantic(other)).await;
    let kept = keep(site, semantic(one), "30 days.").await;
    assert_eq!(kept["semantic"], true);
    assert_none(site, &asked(other)).await;
    let found = lookup(site, &semantic(other)).await;
    assert_eq!(
        (&found["match"], &found["prompt"]),
        (&json!("semantic"), &json!(one))
    );
    assert_eq!(found["response"], "30 days.");
    let score = found["score"].as_f64().unwrap();
    assert!((0.8..1.0).contains(&score), "{score}");
    let exact = lookup(site, &semantic(one)).await;
    assert_eq!(
        (&exact["match"], &exact["score"]),
        (&json!("exact"), &Value::Null)
    );
}

pub(crate) async fn what_only_looks_alike_is_not_answered(site: &Site) {
    let semantic = |prompt| with(asked(prompt), json!({"semantic": true}));
    for (kept, prompt) in [
        ("cancel my order", "don't cancel my order"),
        ("what is 17 times 24", "what is 17 times 25"),
        (
            "flight from Berlin to Madrid",
            "flight from Madrid to Berlin",
        ),
        ("increase the font size", "decrease the font size"),
        ("как отменить заказ", "как отменить заказы"),
    ] {
        keep(site, semantic(kept), "Done.").await;
        assert_none(site, &semantic(prompt)).await;
    }
}

pub(crate) async fn an_answer_ends_with_its_ttl(site: &Site) {
    keep(site, with(asked("short"), json!({"ttl": 60})), "1").await;
    // More than the server allows is as much as it allows.
    keep(site, with(asked("long"), json!({"ttl": 999_999_999})), "2").await;
    site.clock.advance(Duration::from_secs(59));
    assert_eq!(lookup(site, &asked("short")).await["match"], "exact");
    site.clock.advance(Duration::from_secs(1));
    assert_none(site, &asked("short")).await;
    assert_eq!(lookup(site, &asked("long")).await["match"], "exact");
    site.clock.advance(Duration::from_secs(86_400 - 60));
    assert_none(site, &asked("long")).await;
    site.service.sweep().await.unwrap();
    let stats = site.client.get("/v1/cache").await.ok();
    assert_eq!(
        (&stats["entries"], &stats["expired"]),
        (&json!(0), &json!(0))
    );
}

pub(crate) async fn a_later_answer_takes_the_place(site: &Site) {
    keep(site, asked("What is it?"), "This.").await;
    keep(site, asked("What  is it?"), "That.").await;
    assert_eq!(
        lookup(site, &asked("What is it?")).await["response"],
        "That."
    );
    assert_eq!(site.client.get("/v1/cache").await.ok()["entries"], 1);
}

pub(crate) async fn answers_kept_at_once_are_all_there(site: &Site) {
    let keep_all =
        (0..100).map(|n| async move { keep(site, asked(&format!("prompt {n}")), "yes").await });
    for (n, _) in futures_util::future::join_all(keep_all)
        .await
        .iter()
        .enumerate()
    {
        assert_eq!(
            lookup(site, &asked(&format!("prompt {n}"))).await["match"],
            "exact"
        );
    }
}

pub(crate) async fn a_scope_is_removed_and_no_other(site: &Site) {
    let other = with(asked("a"), json!({"scope": "tenant:other"}));
    keep(site, asked("a"), "1").await;
    keep(site, other.clone(), "1").await;
    let gone = site.client.delete("/v1/cache?scope=tenant:acme").await.ok();
    assert_eq!(
        gone,
        json!({"status": "deleted", "scope": "tenant:acme", "deleted": 1})
    );
    assert_none(site, &asked("a")).await;
    assert_eq!(lookup(site, &other).await["match"], "exact");
    let again = site.client.delete("/v1/cache?scope=tenant:acme").await.ok();
    assert_eq!(again["deleted"], 0);
    assert_eq!(
        site.client.delete("/v1/cache?scope=*").await.ok()["deleted"],
        1
    );
    assert_none(site, &other).await;
    site.client.delete("/v1/cache").await.refuses("scope");
    site.client
        .delete("/v1/cache?scope=acme")
        .await
        .refuses("scope");
}

pub(crate) async fn a_guest_that_is_erased_leaves_no_answer(site: &Site) {
    let own = with(asked("a"), json!({"scope": "guest:g1"}));
    keep(site, own.clone(), "1").await;
    keep(site, asked("a"), "1").await;
    site.client.say("g1", "Hello").await;
    let erased = site.client.delete(&chat("g1")).await.ok();
    assert_eq!(erased["deleted"]["prompts"], 1);
    assert_none(site, &own).await;
    assert_eq!(lookup(site, &asked("a")).await["match"], "exact");
}

pub(crate) async fn lookups_of_a_guest_are_counted_and_everything_still_agrees(site: &Site) {
    site.client.say("g1", "Hello there").await;
    keep(site, asked("a"), "1").await;
    let of_guest = |prompt| with(asked(prompt), json!({"guest_id": "g1"}));
    for _ in 0..3 {
        lookup(site, &of_guest("a")).await;
    }
    lookup(site, &of_guest("b")).await;
    lookup(site, &asked("a")).await;
    let stats = counted(site, 5).await;
    let question = asked("a");
    let named = |field: &str| question[field].as_str().unwrap().len();
    // The prompt and its answer are a letter each.
    let bytes = NewCacheEntry::OVERHEAD + 2 * named("scope") + named("model") + 2;
    let expected = json!({
        "entries": 1, "expired": 0, "scopes": 1, "semantic": 0, "bytes": bytes, "cache_hits": 4, "cache_misses": 1,
        "hit_rate": 0.8, "tokens_saved": 60, "generation_time_saved": 4800.0,
    });
    assert_eq!(stats, expected);
    assert_eq!(lookup(site, &asked("a")).await["hits"], 4);
    let report = site.client.verify(Some("g1")).await;
    assert_eq!(report["ok"], true, "{report:#}");
    // A message after them, and a migration, keep the sums right; the end of every law recounts them.
    site.client.say("g1", "More").await;
    let user = json!({"authenticated_user_id": "u1"});
    site.client.post("/v1/guest/migrate/g1", &user).await.ok();
}

pub(crate) async fn a_guest_is_never_given_an_answer_of_another(site: &Site) {
    let own = with(asked("a"), json!({"scope": "guest:g1"}));
    keep(site, own.clone(), "1").await;
    let foreign = with(own.clone(), json!({"guest_id": "g2"}));
    site.client.post(LOOKUP, &foreign).await.refuses("guest_id");
    let same = with(own, json!({"guest_id": "g1"}));
    assert_eq!(lookup(site, &same).await["match"], "exact");
}

pub(crate) async fn a_fault_names_its_field(site: &Site) {
    let long = "x".repeat(65_537);
    for (field, value) in [
        ("scope", json!("acme")),
        ("scope", json!("tenant:")),
        ("scope", json!(null)),
        ("model", json!("")),
        ("model", json!(null)),
        ("temperature", json!("warm")),
        ("temperature", json!(-1)),
        ("max_tokens", json!(1.5)),
        ("max_tokens", json!(-1)),
        ("context", json!(["be brief"])),
        ("context_hash", json!("abc")),
        ("prompt", json!(" ")),
        ("prompt", json!(long)),
        ("prompt", json!("a\0b")),
        ("guest_id", json!("a b")),
        ("semantic", json!("yes")),
    ] {
        let mut body = with(asked("a"), json!({ field: value }));
        if field == "context_hash" {
            body.as_object_mut().unwrap().remove("context");
        }
        site.client.post(LOOKUP, &body).await.refuses(field);
        put(site, &with(body, json!({"response": "1"})))
            .await
            .refuses(field);
    }
    for (field, value) in [
        ("response", json!(null)),
        ("response", json!("")),
        ("generation_time", json!(-1)),
        ("generation_time", json!("fast")),
        ("input_tokens", json!(-1)),
        ("output_tokens", json!("few")),
        ("ttl", json!(0)),
        ("ttl", json!(1.5)),
    ] {
        let body = with(asked("a"), json!({"response": "1"}));
        put(site, &with(body, json!({ field: value })))
            .await
            .refuses(field);
    }
    let both = with(asked("a"), json!({"context_hash": "0".repeat(64)}));
    site.client
        .post(LOOKUP, &both)
        .await
        .refuses("context_hash");
    site.client.post(LOOKUP, &json!([1])).await.refuses("body");
    assert_eq!(site.client.get("/v1/cache").await.ok()["entries"], 0);
}

pub(crate) fn without_a_model() -> guestbook_testkit::http_harness::server::Plan {
    guestbook_testkit::http_harness::server::Plan {
        embedder: None,
        ..guestbook_testkit::http_harness::server::Plan::default()
    }
}

pub(crate) async fn without_a_model_similar_prompts_are_refused_and_equal_ones_found(site: &Site) {
    keep(site, asked("a"), "1").await;
    assert_eq!(lookup(site, &asked("a")).await["match"], "exact");
    let semantic = with(asked("a"), json!({"semantic": true}));
    let problem = site.client.post(LOOKUP, &semantic).await.problem(422);
    assert!(
        problem["detail"].as_str().unwrap().contains("--embedder"),
        "{problem}"
    );
}
