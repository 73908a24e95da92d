//! A migration carried two of the counters over, in several transactions, and left no trace when it failed.

use crate::regressions::{column, open, row, value};
use guestbook_testkit::http_harness::client::{Answer, said};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Map, Value, json};

/// Every column that counts.
const COUNTERS: [&str; 10] = [
    "total_requests",
    "cache_hits",
    "cache_misses",
    "total_input_tokens",
    "total_output_tokens",
    "total_tokens",
    "timed_requests",
    "total_cost",
    "cache_cost",
    "monthly_requests_used",
];

async fn migrate(site: &Site, guest: &str) -> Answer {
    let path = format!("/v1/guest/migrate/{guest}");
    let body = json!({"authenticated_user_id": "u1"});
    site.client.post(&path, &body).await
}

fn usage(site: &Site, owner: &str) -> Map<String, Value> {
    row(
        site,
        &format!("SELECT * FROM usage_metrics WHERE user_id = '{owner}'"),
    )
}

fn number(row: &Map<String, Value>, name: &str) -> f64 {
    row[name].as_str().unwrap().parse().unwrap()
}

/// Writes to the tables behind the server's back.
fn meddle(site: &Site, statements: &str) {
    let connection = rusqlite::Connection::open(site.file()).unwrap();
    connection.execute_batch(statements).unwrap();
}

async fn two_guests(site: &Site) {
    for guest in ["g1", "g2"] {
        site.client.say(guest, "one two three").await;
        site.client
            .message(guest, &said("assistant", "four"))
            .await
            .ok();
    }
    // What no request counts yet must not be lost either.
    meddle(
        site,
        "UPDATE usage_metrics SET total_requests = total_requests + 5, cache_hits = 5, total_cost = 1.5, cache_cost = 0.25",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_counter_of_every_guest_is_summed_into_the_users() {
    let site = open().await;
    two_guests(&site).await;
    site.service.mark_synced().await.unwrap();
    let (one, two) = (usage(&site, "g1"), usage(&site, "g2"));
    migrate(&site, "g1").await.ok();
    migrate(&site, "g2").await.ok();
    let user = usage(&site, "u1");
    for name in COUNTERS {
        let sum = number(&one, name) + number(&two, name);
        assert_eq!(number(&user, name), sum, "{name}");
    }
    assert_eq!(column(&site, "SELECT user_id FROM usage_metrics"), ["u1"]);
    assert_ne!(user["tier"], "guest");
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mapping_changes_its_owner() {
    let site = open().await;
    site.client.say("g1", "one").await;
    site.client.say("g1", "two").await;
    migrate(&site, "g1").await.ok();
    let owners = column(&site, "SELECT user_id FROM cache_content_mapping");
    assert_eq!(owners, ["u1", "u1"]);
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_leaves_a_row_about_itself() {
    let site = open().await;
    site.client.say("g1", "one").await;
    migrate(&site, "g1").await.ok();
    let noted = row(&site, "SELECT * FROM cache_migrations");
    assert_eq!(noted["status"], "completed");
    assert_eq!(noted["records_migrated"], "1");
    assert_eq!(noted["records_failed"], "0");
    assert!(noted["source"].as_str().unwrap().contains("g1"));
    assert!(noted["destination"].as_str().unwrap().contains("u1"));
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_fails_moves_nothing_and_leaves_a_row_as_well() {
    let site = open().await;
    site.client.say("g1", "one").await;
    site.client.say("g1", "two").await;
    let before = usage(&site, "g1");
    meddle(
        &site,
        "CREATE TRIGGER fail BEFORE UPDATE OF user_id ON cache_content_mapping
         BEGIN SELECT RAISE(ABORT, 'the last step fails'); END",
    );
    let answer = migrate(&site, "g1").await;
    assert!(answer.status >= 400, "{}", answer.text());
    assert!(!answer.text().contains("the last step fails"));
    meddle(&site, "DROP TRIGGER fail");
    assert_eq!(
        usage(&site, "g1")["total_requests"],
        before["total_requests"]
    );
    assert_eq!(
        value(
            &site,
            "SELECT count(*) FROM usage_metrics WHERE user_id = 'u1'"
        ),
        "0"
    );
    assert_eq!(site.client.history("g1").await.len(), 2);
    let noted = row(&site, "SELECT * FROM cache_migrations");
    assert_eq!(noted["status"], "failed");
    assert!(
        noted["notes"]
            .as_str()
            .unwrap()
            .contains("the last step fails")
    );
    migrate(&site, "g1").await.ok();
    assert_eq!(site.client.conversations("u1").await.len(), 1);
    site.finish().await;
}
