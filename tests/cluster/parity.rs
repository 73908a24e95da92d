//! The same load gives the same numbers, whatever the stores.

use crate::harness::{ClusterHarness, stopped};
use guestbook_testkit::client::{Client, chat, said, with};
use guestbook_testkit::process::{Place, finish, stderr, stdout};
use serde_json::{Value, json};
use uuid::Uuid;

/// What the SQL of old asks.
const COUNTS: [&str; 16] = [
    "SELECT count(*) FROM conversation_cache",
    "SELECT count(*) FROM conversation_cache WHERE platform = 'guest'",
    "SELECT count(*) FROM conversation_cache WHERE platform = 'authenticated'",
    "SELECT sum(message_count) FROM conversation_cache",
    "SELECT sum(total_tokens) FROM conversation_cache",
    "SELECT count(*) FROM message_cache",
    "SELECT count(*) FROM message_cache WHERE role = 'assistant'",
    "SELECT count(*) FROM cache_embeddings",
    "SELECT count(*) FROM usage_metrics WHERE tier = 'guest'",
    "SELECT count(*) FROM usage_metrics WHERE tier = 'free'",
    "SELECT sum(total_requests) FROM usage_metrics",
    "SELECT sum(total_input_tokens) + sum(total_output_tokens) FROM usage_metrics",
    "SELECT count(*) FROM cache_content_mapping WHERE cache_type = 'message'",
    "SELECT count(*) FROM cache_content_mapping WHERE is_synced",
    "SELECT max(total_entries) FROM cache_metrics",
    "SELECT count(*) FROM cache_migrations WHERE status = 'completed'",
];

/// A bit of everything, the same each time; every answer without what must differ.
async fn load(client: &Client) -> Vec<Value> {
    let mut answers = Vec::new();
    for step in 0..60_usize {
        let guest = format!("guest-{}", step % 7);
        let role = ["user", "assistant", "system", "tool"][step % 4];
        let id = Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0000 + step as u128);
        let message = said(role, &format!("message {step} — \"quoted\" 🌊"));
        let message = with(message, "id", id.to_string().into());
        answers.push(client.message(&guest, &message).await.ok());
        if step % 5 == 0 {
            answers.push(client.message(&guest, &message).await.ok()); // the same again
        }
    }
    let batch =
        json!({"messages": [said("user", "first of two"), said("assistant", "second of two")]});
    answers.push(
        client
            .post(&format!("{}/batch", chat("guest-1")), &batch)
            .await
            .ok(),
    );
    answers.push(client.delete(&chat("guest-2")).await.ok());
    answers.push(client.delete(&chat("nobody")).await.ok());
    for (guest, user) in [
        ("guest-3", "member"),
        ("guest-4", "member"),
        ("guest-4", "member"),
    ] {
        let body = json!({ "authenticated_user_id": user });
        answers.push(
            client
                .post(&format!("/v1/guest/migrate/{guest}"), &body)
                .await
                .ok(),
        );
    }
    answers.push(client.say("guest-3", "back again").await);
    for guest in ["guest-0", "guest-3", "nobody"] {
        answers.push(client.get(&chat(guest)).await.ok());
    }
    answers.push(client.get("/v1/guest/session/guest-0").await.ok());
    answers.into_iter().map(comparable).collect()
}

/// Without ids that are made by chance, times, and the names of the stores.
fn comparable(answer: Value) -> Value {
    match answer {
        Value::Array(all) => all.into_iter().map(comparable).collect(),
        Value::Object(fields) => {
            let chance = [
                "id",
                "message_id",
                "conversation_id",
                "stored_in",
                "deleted_from",
                "source",
                "ttl",
            ];
            let kept = fields
                .into_iter()
                .filter(|(name, _)| !chance.contains(&name.as_str()));
            kept.map(|(name, value)| (name, comparable(value)))
                .collect()
        }
        other => other,
    }
}

/// Until every guest's message is noted as listed.
async fn wait_until_synced(client: &Client, count: impl Fn(&str) -> String) {
    let unsynced =
        "SELECT count(*) FROM cache_content_mapping p JOIN usage_metrics u ON u.user_id = p.user_id
        WHERE u.tier = 'guest' AND NOT p.is_synced";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while count(unsynced) != "0" {
        assert!(
            std::time::Instant::now() < deadline,
            "the lists never settle"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(client.verify(None).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_load_gives_the_same_numbers_on_every_store() {
    let place = Place::new();
    let harness = ClusterHarness::fast().await;
    let (small, large) = (place.serve(), harness.node());
    let (on_files, on_servers) = (load(&small.client).await, load(&large.client).await);
    for (file, server) in on_files.iter().zip(&on_servers) {
        assert_eq!(file, server);
    }
    let ask = |command: std::process::Command| {
        let output = tokio::task::block_in_place(|| finish(command));
        let said = stdout(&output);
        assert!(output.status.success(), "{}", stderr(&output));
        said.lines().nth(1).unwrap_or_default().to_owned()
    };
    let in_file = |sql: &str| ask(place.command(&["sql", sql]));
    let on_server = |sql: &str| {
        let mut command = guestbook_testkit::process::guestbook(&["sql", sql]);
        command.args(["--database-url", &harness.database_url()]);
        ask(command)
    };
    wait_until_synced(&small.client, in_file).await;
    wait_until_synced(&large.client, on_server).await;
    let mut differing = Vec::new();
    for sql in COUNTS {
        let told = [in_file(sql), on_server(sql), harness.psql(sql).await];
        if told[0] != told[1] || told[1] != told[2] {
            differing.push(format!("{sql}: {told:?}"));
        }
    }
    assert!(
        differing.is_empty(),
        "SQLite, PostgreSQL, psql: {differing:#?}"
    );
    stopped(small);
    stopped(large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_on_a_server_holds_no_more_of_a_huge_result_than_a_part() {
    use std::io::Read;
    let harness = ClusterHarness::fast().await;
    let huge = "SELECT i, repeat(chr(27), 1000) FROM generate_series(1, 200000) AS i";
    let mut command = guestbook_testkit::process::guestbook(&["sql", huge]);
    command.args(["--database-url", &harness.database_url()]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut buffer) = (child.stdout.take().unwrap(), vec![0; 1 << 20]);
    let (mut bytes, mut highest) = (0, 0);
    // Each byte is shown as six. The last part stays in the pipe until it is read, so the process is there when it is asked.
    while bytes < 1_200_000_000 {
        bytes += out.read(&mut buffer).unwrap();
        assert!(!buffer.contains(&27), "an escape sequence is sent");
        highest = highest.max(guestbook_testkit::process::peak_memory(child.id()));
    }
    out.read_to_end(&mut Vec::new()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(highest < 150_000, "{highest} kB");
}
