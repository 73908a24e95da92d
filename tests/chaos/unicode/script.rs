//! What is sent, the same to every pair of stores; and what must come back.

use crate::unicode::words::{GUESTS, KEYS, USERS, kept, refused};
use guestbook_testkit::client::{Answer, Client, chat, said, with};
use serde_json::{Value, json};

/// Sends everything and checks what can be checked without looking elsewhere; every answer, without what chance decides.
pub(crate) async fn run(client: &Client) -> Vec<(String, u16, Value)> {
    let mut answers = Vec::new();
    contents(client, &mut answers).await;
    refusals(client, &mut answers).await;
    batches(client, &mut answers).await;
    keys(client, &mut answers).await;
    metadata(client, &mut answers).await;
    guests(client, &mut answers).await;
    users(client, &mut answers).await;
    paths(client, &mut answers).await;
    answers
}

type Answers = Vec<(String, u16, Value)>;

fn note(answers: &mut Answers, what: &str, answer: &Answer) {
    let body = comparable(serde_json::from_slice(&answer.body).unwrap_or_default());
    assert!(answer.status < 500, "{what}: {}", answer.text());
    answers.push((what.to_owned(), answer.status, body));
}

/// Without ids that are made by chance, times, and the names of the stores.
fn comparable(answer: Value) -> Value {
    let chance = [
        "id",
        "message_id",
        "conversation_id",
        "stored_in",
        "deleted_from",
        "ttl",
        "ttl_seconds",
        "source",
        "accessed_at",
        "conversation_hash",
        "created_at",
        "updated_at",
    ];
    match answer {
        Value::Array(all) => all.into_iter().map(comparable).collect(),
        Value::Object(fields) => {
            let kept = fields
                .into_iter()
                .filter(|(name, _)| !chance.contains(&name.as_str()));
            kept.map(|(name, value)| (name, comparable(value)))
                .collect()
        }
        other => other,
    }
}

/// Every content alone: it comes back from history and session.
async fn contents(client: &Client, answers: &mut Answers) {
    for (n, word) in kept().into_iter().enumerate() {
        let guest = format!("word-{n}");
        let answer = client.message(&guest, &said("user", &word.1)).await;
        assert_eq!(answer.status, 200, "{}: {}", word.0, answer.text());
        note(answers, word.0, &answer);
        let history = client.get(&chat(&guest)).await;
        assert_eq!(history.list()[0]["content"], word.1.as_str(), "{}", word.0);
        note(answers, word.0, &history);
        let session = client.get(&format!("/v1/guest/session/{guest}")).await;
        assert_eq!(
            session.ok()["messages"][0]["content"],
            word.1.as_str(),
            "{}",
            word.0
        );
        note(answers, word.0, &session);
    }
}

async fn refusals(client: &Client, answers: &mut Answers) {
    for (what, body) in refused() {
        let answer = client.post_text(&chat("refused"), body).await;
        assert!(
            [400, 422].contains(&answer.status),
            "{what}: {}",
            answer.text()
        );
        note(answers, what, &answer);
    }
    assert!(client.history("refused").await.is_empty());
}

/// All contents in one batch of each form, which must not mix them up.
async fn batches(client: &Client, answers: &mut Answers) {
    let all: Vec<_> = kept().into_iter().map(|word| word.1).collect();
    let messages: Vec<_> = all
        .iter()
        .map(|content| said("assistant", content))
        .collect();
    let batch = client
        .post(
            &format!("{}/batch", chat("batch")),
            &json!({"messages": messages}),
        )
        .await;
    assert_eq!(batch.status, 200, "{}", batch.text());
    note(answers, "a guest's batch", &batch);
    let named = |message: Value| with(message, "guest_id", "lines".into());
    let lines: Vec<_> = messages
        .into_iter()
        .map(|message| named(message).to_string())
        .collect();
    let request = client
        .request("POST", "/v1/messages/batch")
        .header("Content-Type", "application/x-ndjson");
    let answer = Answer::of(request.body(lines.join("\n"))).await;
    assert!(answer.lines().iter().all(|line| line["status"] == "saved"));
    for guest in ["batch", "lines"] {
        let history = client.history(guest).await;
        let found: Vec<_> = history
            .iter()
            .map(|message| message["content"].as_str().unwrap())
            .collect();
        assert_eq!(found, all);
        note(
            answers,
            guest,
            &client.get(&format!("/v1/guest/session/{guest}")).await,
        );
    }
}

/// Each key is one message, and the same again is the same.
async fn keys(client: &Client, answers: &mut Answers) {
    for key in KEYS {
        for _ in 0..2 {
            let answer = client
                .post_keyed(
                    &chat("keys"),
                    key,
                    &said("user", &format!("said with {key}")),
                )
                .await;
            note(answers, key, &answer);
        }
    }
    assert_eq!(client.history("keys").await.len(), KEYS.len());
    note(answers, "the keys", &client.get(&chat("keys")).await);
}

async fn metadata(client: &Client, answers: &mut Answers) {
    for word in kept().into_iter().filter(|word| word.1.len() < 1000) {
        let metadata = json!({ word.1.clone(): word.1, "in": [{"deep": word.1}] });
        let message = with(said("user", "with data"), "metadata", metadata.clone());
        note(answers, word.0, &client.message("data", &message).await);
        let last = client.history("data").await.pop().unwrap();
        assert_eq!(last["metadata"], metadata, "{}", word.0);
    }
    for (what, metadata) in [
        ("a NUL in the data", r#"{"a":"\u0000"}"#),
        ("half of a character in the data", r#"{"a":"\ud800"}"#),
        ("half of a character as the name of data", r#"{"\udc00":1}"#),
        ("a number beyond all numbers", r#"{"a":1e999}"#),
        ("names twice", r#"{"a":1,"a":2}"#),
    ] {
        let body = said("user", "with odd data").to_string();
        let body = format!("{},\"metadata\":{metadata}}}", &body[..body.len() - 1]);
        note(
            answers,
            what,
            &client.post_text(&chat("odd-data"), body).await,
        );
    }
    let history = client.get(&chat("odd-data")).await;
    answers.push((
        "odd data".into(),
        history.status,
        history.text().matches("metadata").count().into(),
    ));
}

/// What is done to one guest is not done to another, however alike their names are to a pattern.
async fn guests(client: &Client, answers: &mut Answers) {
    for guest in GUESTS {
        note(
            answers,
            guest,
            &client
                .message(guest, &said("user", &format!("I am {guest}")))
                .await,
        );
    }
    for (n, guest) in GUESTS.iter().enumerate() {
        let path = chat(guest);
        let before = client.get(&path).await;
        assert_eq!(before.list().len(), 1, "{guest}");
        note(answers, guest, &client.delete(&path).await);
        for other in &GUESTS[n + 1..] {
            let left = client.get(&chat(other)).await;
            assert_eq!(left.list().len(), 1, "{other} went with {guest}");
        }
    }
    for guest in [
        "a b",
        "a%b",
        "a*b",
        "a'b",
        "a/b",
        "a\\b",
        "é",
        "a\0",
        "a\r\nb",
        "",
        "<a>",
        "{a}",
        "a\u{ff0e}b",
    ] {
        let escaped: String = guest.bytes().map(|byte| format!("%{byte:02X}")).collect();
        note(
            answers,
            guest,
            &client
                .post_text(&chat(&escaped), said("user", "x").to_string())
                .await,
        );
        let line = with(said("user", "x"), "guest_id", guest.into());
        note(
            answers,
            guest,
            &client.post("/v1/messages/batch", &json!([line])).await,
        );
    }
}

/// Each user has what its own guest had, and nothing of another.
async fn users(client: &Client, answers: &mut Answers) {
    for (n, user) in USERS.iter().enumerate() {
        let guest = format!("becomes-{n}");
        client.say(&guest, &format!("I become {user}")).await;
        let migration = json!({ "authenticated_user_id": user });
        let answer = client
            .post(&format!("/v1/guest/migrate/{guest}"), &migration)
            .await;
        assert_eq!(answer.ok()["messages_migrated"], 1, "{user}");
        note(answers, user, &answer);
    }
    for user in USERS {
        let escaped: String = user.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = client
            .get(&format!("/v1/user/{escaped}/conversations"))
            .await;
        let owned = answer.list();
        assert_eq!(owned.len(), 1, "{user}: {owned:?}");
        // A title has one blank for any white space.
        let said = format!("I become {user}");
        let title = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(owned[0]["title"], title, "{user}");
        note(answers, user, &answer);
    }
    for user in ["", " ", "\0", "a\nb", "\u{85}", &"é".repeat(65)] {
        let body = json!({ "authenticated_user_id": user });
        note(
            answers,
            user,
            &client.post("/v1/guest/migrate/nobody", &body).await,
        );
    }
    let half = r#"{"authenticated_user_id":"\ud800"}"#;
    note(
        answers,
        "half of a user",
        &client.post_text("/v1/guest/migrate/nobody", half).await,
    );
}

/// Paths and queries that name no text, and those that name no place.
async fn paths(client: &Client, answers: &mut Answers) {
    for path in [
        "/v1/guest/chat/%FF",
        "/v1/guest/chat/%00",
        "/v1/guest/chat/..%2F..%2Fhealth",
        "/v1/user/%ED%A0%80/conversations",
        "/v1/user/%0D%0AX:y/conversations",
        "/v1/conversation/'%20OR%201=1",
        "/v1/guest/chat/word-0?limit=%00",
        "/v1/guest/chat/word-0?before='",
        "/v1/guest/verify/%25",
        "/v1/%0d%0aevil",
        "/%3Cscript%3E",
    ] {
        note(answers, path, &client.get(path).await);
    }
}
