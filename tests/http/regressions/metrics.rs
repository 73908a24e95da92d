//! Usage was not counted for guests whose id was no UUID, and the mean response time counted rows instead of times.

use crate::regressions::{column, open, row, value};
use guestbook_testkit::http_harness::client::said;
use guestbook_testkit::http_harness::server::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_counted_for_every_guest_id_of_the_contract() {
    let site = open().await;
    let long = "g".repeat(128);
    let guests = [
        "test-guest-001",
        "a:b@c.d~e_f",
        "0",
        "0192f0c1-2345-7000-8000-0123456789ab",
        &long,
    ];
    for guest in guests {
        site.client.say(guest, "one two").await;
        site.client
            .message(guest, &said("assistant", "three"))
            .await
            .ok();
        let usage = row(
            &site,
            &format!("SELECT * FROM usage_metrics WHERE user_id = '{guest}'"),
        );
        let expected = [
            ("total_requests", "2"),
            ("cache_hits", "0"),
            ("cache_misses", "2"),
            ("total_input_tokens", "2"),
            ("total_output_tokens", "1"),
            ("total_tokens", "3"),
            ("tier", "guest"),
            ("monthly_request_limit", "100"),
            ("monthly_requests_used", "2"),
        ];
        for (name, value) in expected {
            assert_eq!(usage[name], value, "{name} of {guest}");
        }
    }
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_has_its_mapping_and_it_is_synced_once_the_list_has_it() {
    let site = open().await;
    let answer = site.client.say("g1", "one").await;
    site.service.mark_synced().await.unwrap();
    let mapping = row(&site, "SELECT * FROM cache_content_mapping");
    assert_eq!(mapping["cache_id"], answer["message_id"]);
    let expected = [
        ("cache_type", "message"),
        ("user_id", "g1"),
        ("cache_backend", "sled"),
        ("content_backend", "sqlite"),
        ("is_synced", "1"),
    ];
    for (name, value) in expected {
        assert_eq!(mapping[name], value, "{name}");
    }
    assert!(mapping["last_synced_at"].is_string());
    site.finish().await;
}

/// The mean is over what was timed, and as many are timed as there were requests: a row made by an old message count
/// would pull it towards 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mean_response_time_is_over_timed_requests_only() {
    let site = open().await;
    let batch: Vec<_> = (0..100).map(|n| said("user", &n.to_string())).collect();
    let body = serde_json::json!({ "messages": batch });
    site.client
        .post("/v1/guest/chat/g1/batch", &body)
        .await
        .list();
    site.client.history("g1").await;
    site.client.history("nobody").await;
    let timed = "SELECT timed_requests FROM cache_metrics";
    site.client.say("g2", "Hello").await; // gives the counters a batch to ride on, and is timed itself
    eventually("the counters are written", || async {
        (column(&site, timed) == ["4"]).then_some(())
    })
    .await;
    let metrics = row(&site, "SELECT * FROM cache_metrics");
    assert_eq!(metrics["cache_hits"], "1");
    assert_eq!(metrics["total_entries"], "101");
    let mean: f64 = metrics["avg_response_time"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(mean > 0.0, "{metrics:?}");
    let owner = row(&site, "SELECT * FROM usage_metrics WHERE user_id = 'g1'");
    assert_eq!(
        (&owner["total_requests"], &owner["timed_requests"]),
        (&"100".into(), &"1".into())
    );
    let mean: f64 = owner["average_response_time_ms"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(mean > 0.0, "{owner:?}");
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_one_row_of_metrics_per_utc_hour() {
    let site = open().await;
    for _ in 0..3 {
        site.client.say("g1", "one").await;
        site.clock.advance(std::time::Duration::from_secs(1800));
    }
    let hours = column(
        &site,
        "SELECT recorded_at FROM cache_metrics ORDER BY recorded_at",
    );
    assert_eq!(
        hours,
        ["2026-01-15T12:00:00.000Z", "2026-01-15T13:00:00.000Z"]
    );
    let entries = "SELECT total_entries FROM cache_metrics ORDER BY recorded_at DESC LIMIT 1";
    assert_eq!(value(&site, entries), "3");
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_writes_no_transaction_of_its_own() {
    let site = open().await;
    site.client.say("g1", "one").await;
    site.service.mark_synced().await.unwrap();
    // The file's change counter, as another connection sees it.
    let reader = rusqlite::Connection::open(site.file()).unwrap();
    let version = || -> i64 {
        reader
            .query_row("PRAGMA data_version", [], |row| row.get(0))
            .unwrap()
    };
    let before = version();
    for _ in 0..500 {
        site.client.history("g1").await;
    }
    let written = version() - before;
    assert!(written < 50, "{written} commits for 500 reads");
    site.finish().await;
}
