//! `POST /v1/guest/migrate/{guest_id}`, and where migrated chats are read.

use crate::api::paging::next_link;
use guestbook::core::{OwnerId, Usage};
use guestbook_testkit::http_harness::client::{Answer, chat, contents, said, sequences};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};

async fn migrate(site: &Site, guest: &str, user: &str) -> Answer {
    let path = format!("/v1/guest/migrate/{guest}");
    let body = json!({"authenticated_user_id": user});
    site.client.post(&path, &body).await
}

async fn usage(site: &Site, owner: &str) -> Option<Usage> {
    let owner = OwnerId::from_stored(owner);
    let audit = site
        .service
        .parts()
        .database
        .audit
        .usage_audit(&owner)
        .await;
    audit.unwrap().row
}

async fn conversation(site: &Site, id: &Value) -> Value {
    let path = format!("/v1/conversation/{}", id.as_str().unwrap());
    site.client.get(&path).await.ok()
}

fn counters(usage: &Usage) -> [u64; 5] {
    [
        usage.total_requests,
        usage.cache_misses,
        usage.total_input_tokens,
        usage.total_output_tokens,
        usage.monthly_requests_used,
    ]
}

pub(crate) async fn a_migration_says_what_it_moved(site: &Site) {
    site.client.say("g1", "one").await;
    site.client.say("g1", "two").await;
    let answer = migrate(site, "g1", "u1").await.ok();
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["guest_id"], "g1");
    assert_eq!(answer["user_id"], "u1");
    assert_eq!(answer["conversations_migrated"], 1);
    assert_eq!(answer["messages_migrated"], 2);
    assert!(answer["message"].is_string());
    assert_eq!(answer.as_object().unwrap().len(), 6, "{answer}");
}

pub(crate) async fn a_migration_repeated_is_zeros(site: &Site) {
    site.client.say("g1", "one").await;
    migrate(site, "g1", "u1").await.ok();
    let again = migrate(site, "g1", "u1").await.ok();
    assert_eq!(again["conversations_migrated"], 0);
    assert_eq!(again["messages_migrated"], 0);
}

pub(crate) async fn a_migration_of_an_unknown_guest_is_zeros(site: &Site) {
    let answer = migrate(site, "nobody", "u1").await.ok();
    assert_eq!(answer["conversations_migrated"], 0);
    assert_eq!(answer["messages_migrated"], 0);
}

pub(crate) async fn a_migrated_guest_has_no_chat_and_no_list(site: &Site) {
    site.client.say("g1", "one").await;
    migrate(site, "g1", "u1").await.ok();
    assert_eq!(site.client.history("g1").await, [] as [Value; 0]);
    site.client.get("/v1/guest/session/g1").await.problem(404);
}

pub(crate) async fn every_counter_is_summed_into_the_users(site: &Site) {
    for (guest, words) in [("g1", "one two three"), ("g2", "four five")] {
        site.client.say(guest, words).await;
        let reply = said("assistant", "a reply");
        site.client.message(guest, &reply).await.ok();
    }
    migrate(site, "g1", "u1").await.ok();
    let first = usage(site, "u1").await.unwrap();
    assert_eq!(counters(&first), [2, 2, 3, 2, 2]);
    migrate(site, "g2", "u1").await.ok();
    let both = usage(site, "u1").await.unwrap();
    assert_eq!(counters(&both), [4, 4, 5, 4, 4]);
    assert_eq!(usage(site, "g1").await, None);
    assert_eq!(usage(site, "g2").await, None);
}

pub(crate) async fn a_users_conversations_come_with_everything_but_messages(site: &Site) {
    let saved = site.client.say("g1", "Hello there").await;
    migrate(site, "g1", "u1").await.ok();
    let found = site.client.conversations("u1").await;
    assert_eq!(found.len(), 1);
    let one = &found[0];
    assert_eq!(one["id"], saved["conversation_id"]);
    assert_eq!(one["user_id"], "u1");
    assert_eq!(one["session_id"], "g1");
    assert_eq!(one["title"], "Hello there");
    assert_eq!(one["message_count"], 1);
    assert_eq!(one["total_tokens"], 2);
    assert_eq!(one["platform"], "authenticated");
    assert_eq!(one["conversation_hash"].as_str().unwrap().len(), 64);
    assert_eq!(one.get("messages"), None);
}

pub(crate) async fn a_user_may_own_several_conversations_paged_by_links(site: &Site) {
    for number in 0..5 {
        let guest = format!("g{number}");
        site.client.say(&guest, "Hello").await;
        migrate(site, &guest, "u1").await.ok();
    }
    let mut sessions = Vec::new();
    let mut next = Some("/v1/user/u1/conversations?limit=2".to_owned());
    while let Some(path) = next {
        let answer = site.client.get(&path).await;
        sessions.extend(answer.list().iter().map(|one| one["session_id"].clone()));
        next = next_link(answer.header("link"))
            .map(|query| format!("/v1/user/u1/conversations{query}"));
    }
    assert_eq!(sessions, ["g4", "g3", "g2", "g1", "g0"]);
}

pub(crate) async fn a_user_without_chats_has_an_empty_list(site: &Site) {
    site.client.say("g1", "Hello").await;
    assert_eq!(site.client.conversations("u1").await, [] as [Value; 0]);
    // A guest's chat is not a user's, even of the same id.
    assert_eq!(site.client.conversations("g1").await, [] as [Value; 0]);
}

pub(crate) async fn a_conversation_is_read_with_its_messages_and_pages(site: &Site) {
    let saved = site.client.say("g1", "one").await;
    site.client.say("g1", "two").await;
    site.client.say("g1", "three").await;
    migrate(site, "g1", "u1").await.ok();
    let document = conversation(site, &saved["conversation_id"]).await;
    let messages = document["messages"].as_array().unwrap();
    assert_eq!(contents(messages), ["one", "two", "three"]);
    assert_eq!(document["user_id"], "u1");
    let path = format!("/v1/conversation/{}", document["id"].as_str().unwrap());
    let page = site.client.get(&format!("{path}?limit=2")).await;
    assert_eq!(sequences(page.ok()["messages"].as_array().unwrap()), [0, 1]);
    let next = next_link(page.header("link")).unwrap();
    let rest = site.client.get(&next).await.ok();
    assert_eq!(sequences(rest["messages"].as_array().unwrap()), [2]);
}

pub(crate) async fn an_unknown_conversation_is_a_404_and_a_wrong_id_a_422(site: &Site) {
    let unknown = "/v1/conversation/0192f0c1-2345-7000-8000-0123456789ab";
    site.client.get(unknown).await.problem(404);
    site.client.get("/v1/conversation/7").await.refuses("id");
}

pub(crate) async fn any_user_id_of_text_can_be_migrated_to_and_read(site: &Site) {
    let users = [
        ("auth0|123", "auth0%7C123"),
        ("a/b c", "a%2Fb%20c"),
        ("é🦀", "%C3%A9%F0%9F%A6%80"),
    ];
    for (number, (user, encoded)) in users.into_iter().enumerate() {
        let guest = format!("g{number}");
        site.client.say(&guest, "Hello").await;
        assert_eq!(migrate(site, &guest, user).await.ok()["user_id"], user);
        let found = site.client.conversations(encoded).await;
        assert_eq!(found[0]["user_id"], user);
    }
}

pub(crate) async fn a_user_must_be_named(site: &Site) {
    site.client.say("g1", "one").await;
    let wrong = [
        json!({}),
        json!({"authenticated_user_id": null}),
        json!({"authenticated_user_id": 7}),
        json!({"authenticated_user_id": " "}),
        json!({"authenticated_user_id": "a\nb"}),
        json!({"authenticated_user_id": "u".repeat(129)}),
    ];
    for body in wrong {
        let answer = site.client.post("/v1/guest/migrate/g1", &body).await;
        answer.refuses("authenticated_user_id");
    }
    assert_eq!(site.client.history("g1").await.len(), 1);
}

pub(crate) async fn a_guest_begins_anew_after_a_migration(site: &Site) {
    let before = site.client.say("g1", "one").await;
    migrate(site, "g1", "u1").await.ok();
    let after = site.client.say("g1", "two").await;
    assert_eq!(after["sequence"], 0);
    assert_ne!(after["conversation_id"], before["conversation_id"]);
    let kept = conversation(site, &before["conversation_id"]).await;
    assert_eq!(kept["message_count"], 1);
}

pub(crate) async fn deleting_the_guest_spares_what_has_become_a_users(site: &Site) {
    site.client.say("g1", "one").await;
    migrate(site, "g1", "u1").await.ok();
    let answer = site.client.delete(&chat("g1")).await.ok();
    assert_eq!(answer["deleted"]["messages"], 0);
    assert_eq!(site.client.conversations("u1").await[0]["message_count"], 1);
}
