//! Verification and health.

use guestbook::core::GuestId;
use guestbook::http::HttpSettings;
use guestbook_testkit::http_harness::client::{found, reasons, table};
use guestbook_testkit::http_harness::server::{Pair, Plan, Site};
use serde_json::{Value, json};
use std::time::Duration;

const TABLES: [&str; 7] = [
    "guest:{id} lists",
    "conversation_cache",
    "message_cache",
    "cache_embeddings",
    "usage_metrics",
    "cache_content_mapping",
    "cache_metrics",
];

fn names(report: &Value) -> Vec<&str> {
    let tables = report["tables"].as_array().unwrap();
    tables
        .iter()
        .map(|table| table["table"].as_str().unwrap())
        .collect()
}

async fn lose_the_list(site: &Site, guest: &str) {
    // What is in flight is noted first, so that the loss is a loss and not a message on its way.
    site.service.mark_synced().await.unwrap();
    let guest = GuestId::parse(guest).unwrap();
    site.service
        .parts()
        .lists
        .remove(vec![guest])
        .await
        .unwrap();
    site.clock.advance(std::time::Duration::from_secs(1));
}

pub(crate) async fn an_empty_store_is_well(site: &Site) {
    let report = site.client.verify(None).await;
    assert_eq!(report["ok"], true);
    assert_eq!(report["guest"], Value::Null);
    assert_eq!(report["repaired"], json!([]));
    assert_eq!(names(&report), TABLES);
}

pub(crate) async fn a_report_counts_expected_and_found_per_table(site: &Site) {
    site.client.say("g1", "one").await;
    site.client.say("g1", "two").await;
    site.client.say("g2", "three").await;
    let report = site.client.verify(None).await;
    let counts = [3, 2, 3, 3, 2, 3, 1];
    for (name, count) in TABLES.into_iter().zip(counts) {
        let table = table(&report, name);
        assert_eq!(
            (&table["expected"], &table["found"]),
            (&json!(count), &json!(count)),
            "{name}"
        );
        assert_eq!(table["differences"], json!([]));
    }
}

pub(crate) async fn a_guests_report_counts_only_the_guests_rows(site: &Site) {
    site.client.say("g1", "one").await;
    site.client.say("g2", "two").await;
    let report = site.client.verify(Some("g1")).await;
    assert_eq!(report["guest"], "g1");
    assert_eq!(found(&report, "message_cache"), 1);
    assert_eq!(found(&report, "conversation_cache"), 1);
    assert_eq!(report["ok"], true, "{report:#}");
}

pub(crate) async fn a_report_of_an_unknown_guest_is_zeros_and_well(site: &Site) {
    let report = site.client.verify(Some("nobody")).await;
    assert_eq!(
        (&report["ok"], found(&report, "message_cache")),
        (&json!(true), 0)
    );
}

pub(crate) async fn a_lost_list_is_told_with_guest_and_reason_and_looking_mends_nothing(
    site: &Site,
) {
    site.client.say("g1", "one").await;
    lose_the_list(site, "g1").await;
    for _ in 0..2 {
        let report = site.client.verify(Some("g1")).await;
        assert_eq!(report["ok"], false);
        assert_eq!(reasons(&report, TABLES[0]), ["there is no list"]);
        assert_eq!(table(&report, TABLES[0])["differences"][0]["owner"], "g1");
    }
    site.client.post("/v1/verify", &json!({})).await.ok();
}

pub(crate) async fn a_repair_mends_a_lost_list_and_says_so(site: &Site) {
    site.client.say("g1", "one").await;
    let mut repaired = Vec::new();
    // The look at all session lists that comes with every start may have found the first loss before.
    for _ in 0..2 {
        lose_the_list(site, "g1").await;
        let none = json!({});
        let report = site.client.post("/v1/guest/verify/g1", &none).await.ok();
        assert_eq!(report["ok"], true, "{report:#}");
        repaired = report["repaired"].as_array().unwrap().clone();
        if !repaired.is_empty() {
            break;
        }
    }
    assert!(!repaired.is_empty());
    let report = site.client.verify(Some("g1")).await;
    assert_eq!(
        (&report["ok"], &report["repaired"]),
        (&json!(true), &json!([]))
    );
}

/// Who waits for longer than this is turned away.
const HURRY: Duration = Duration::from_millis(50);

pub(crate) fn hurried() -> Plan {
    Plan {
        http: HttpSettings {
            request_timeout: HURRY,
            ..HttpSettings::default()
        },
        ..Plan::default()
    }
}

/// A lost list is looked at four times, with a wait before each: longer than anyone waits for a turn here.
pub(crate) async fn everything_is_recounted_by_one_at_a_time(site: &Site) {
    site.client.say("g1", "one").await;
    lose_the_list(site, "g1").await;
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let client = site.client.clone();
            tokio::spawn(async move { client.get("/v1/verify").await })
        })
        .collect();
    let mut turned_away = 0;
    for answer in asking {
        let answer = answer.await.unwrap();
        if answer.status != 200 {
            answer.problem(503);
            assert_eq!(answer.header("retry-after"), Some("1"));
            turned_away += 1;
        }
    }
    assert!((1..8).contains(&turned_away), "{turned_away} of 8");
    site.client.post("/v1/verify", &json!({})).await.ok();
}

pub(crate) async fn a_repair_of_what_is_well_does_nothing(site: &Site) {
    site.client.say("g1", "one").await;
    for path in ["/v1/verify", "/v1/guest/verify/g1"] {
        let report = site.client.post(path, &json!({})).await.ok();
        assert_eq!(
            (&report["ok"], &report["repaired"]),
            (&json!(true), &json!([])),
            "{path}"
        );
    }
}

pub(crate) async fn an_expired_list_is_no_difference(site: &Site) {
    site.client.say("g1", "one").await;
    site.service.mark_synced().await.unwrap();
    site.clock
        .advance(guestbook_testkit::http_harness::server::TTL);
    let report = site.client.verify(None).await;
    assert_eq!(report["ok"], true, "{report:#}");
    site.service.sweep().await.unwrap();
    let report = site.client.verify(None).await;
    assert_eq!(report["ok"], true, "{report:#}");
}

pub(crate) async fn verification_is_well_while_messages_come_in(site: &Site) {
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let client = site.client.clone();
            tokio::spawn(async move {
                for number in 0..40 {
                    client
                        .say(&format!("g{}", (writer + number) % 3), "Hello")
                        .await;
                }
            })
        })
        .collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let report = site.client.verify(None).await;
        assert_eq!(report["ok"], true, "{report:#}");
        site.clock.advance(std::time::Duration::from_millis(3));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(site.client.stored().await, 160);
}

pub(crate) async fn health_is_of_the_process(site: &Site) {
    let health = site.client.get("/health").await.ok();
    assert_eq!(health["status"], "ok");
}

pub(crate) async fn readiness_names_each_backend(site: &Site) {
    let ready = site.client.get("/readyz").await.ok();
    let [lists, database] = site.stores();
    assert_eq!(ready["status"], "ready");
    let durability = match database {
        "memory" => "none",
        "sqlite" => "full",
        _ => ready["database"]["durability"].as_str().unwrap(), // as the server is set
    };
    assert_eq!(
        ready["database"],
        json!({"backend": database, "ok": true, "durability": durability})
    );
    assert_eq!(ready["lists"], json!({"backend": lists, "ok": true}));
    assert_eq!(ready["embedder"], "static-256-i8:256:6355d7a0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_well_after_a_restart() {
    let site = Site::open(Pair::SqliteSled, Plan::default()).await;
    site.client.say("g1", "one").await;
    site.client.say("g2", "two").await;
    let site = site.reopen(Plan::default()).await;
    assert_eq!(site.client.stored().await, 2);
    assert_eq!(site.client.say("g1", "three").await["sequence"], 1);
    site.finish().await;
}
