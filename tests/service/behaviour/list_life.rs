//! A service that is started with another life of the lists: it holds for every list at once, verify finds nothing wrong, and
//! what had expired stays so.

use guestbook::core::{Timestamp, Ttl};
use guestbook::service::verify::{VerifyMode, VerifyScope};
use guestbook::service::{ServiceParts, carry_out};
use guestbook_testkit::service_harness::words::{HOUR, SECOND, WHOLE_CHAT, guest};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use std::sync::Arc;
use std::time::Duration;

/// Starts it as the binary does: what a flag changes is carried out before anything is served.
async fn started(plan: &Plan, list_ttl: Duration) -> ServiceHarness {
    let plan = Plan {
        list_ttl: Ttl(list_ttl),
        ..plan.clone()
    };
    let (database, lists) = plan.stores();
    let parts = ServiceParts {
        database: database.clone(),
        lists: Arc::clone(&lists),
        embedder: None,
        clock: plan.clock.clone(),
    };
    carry_out(&parts, || true).await.unwrap();
    plan.start_on((database, lists)).ready().await
}

/// When a list goes, as its own store has it.
async fn goes(harness: &ServiceHarness, name: &str) -> Option<Timestamp> {
    let heads = harness.cache.heads(vec![guest(name)]).await.unwrap();
    heads[0].map(|head| head.expires_at)
}

async fn ttl(harness: &ServiceHarness, name: &str) -> Option<Duration> {
    let session = harness.service.session(&guest(name), WHOLE_CHAT).await;
    session.unwrap().map(|session| session.ttl)
}

/// Nothing is wrong, and a repair finds nothing to do.
async fn assert_well(harness: &ServiceHarness) {
    let report = harness
        .service
        .verify(&VerifyScope::All, VerifyMode::Repair)
        .await;
    let report = report.unwrap();
    assert!(report.ok && report.repaired.is_empty(), "{report:#?}");
}

#[tokio::test]
async fn a_longer_life_holds_from_the_start_on_and_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let harness = started(&plan, HOUR * 24).await;
    harness.say("gone", "long ago").await;
    harness.clock.advance(HOUR * 23);
    harness.say("ada", "one").await;
    harness.clock.advance(HOUR * 2);
    harness.say("ada", "two").await;
    harness.mended().await;
    harness.stop().await;
    let harness = started(&plan, HOUR * 72).await;
    assert_eq!(ttl(&harness, "ada").await, Some(HOUR * 72));
    assert_eq!(
        goes(&harness, "ada").await,
        Some(plan.clock_now().plus(HOUR * 72))
    );
    assert_eq!(ttl(&harness, "gone").await, None);
    assert_well(&harness).await;
    harness.clock.advance(HOUR * 50);
    assert_eq!(harness.listed("ada").await.unwrap(), ["one", "two"]);
    harness.say("ada", "three").await;
    harness.say("gone", "again").await;
    assert_eq!(harness.listed("ada").await.unwrap().len(), 3);
    assert_eq!(harness.listed("gone").await.unwrap(), ["again"]);
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_shorter_life_ends_what_is_older_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let harness = started(&plan, HOUR * 24).await;
    harness.say("old", "one").await;
    harness.clock.advance(HOUR * 3);
    harness.say("young", "two").await;
    harness.mended().await;
    harness.stop().await;
    let harness = started(&plan, HOUR * 2).await;
    assert_eq!(ttl(&harness, "old").await, None);
    assert_eq!(harness.listed("old").await, None);
    assert_eq!(ttl(&harness, "young").await, Some(HOUR * 2));
    assert_well(&harness).await;
    harness.say("old", "three").await;
    assert_eq!(harness.listed("old").await.unwrap(), ["three"]);
    harness.service.sweep().await.unwrap();
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
    // And back again: what the shorter life has ended stays ended.
    let harness = started(&plan, HOUR * 24).await;
    assert_eq!(harness.listed("old").await.unwrap(), ["three"]);
    // It looked for a second whether all was well.
    assert_eq!(ttl(&harness, "young").await, Some(HOUR * 24 - SECOND));
    assert_well(&harness).await;
    harness.stop().await;
}

/// A verify of another process may look in the middle.
#[tokio::test]
async fn lists_that_wait_for_their_new_life_are_not_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let harness = started(&plan, HOUR * 24).await;
    for name in ["ada", "bob", "eve"] {
        harness.say(name, "one").await;
    }
    harness.mended().await;
    harness.stop().await;
    let other = Plan {
        list_ttl: Ttl(HOUR * 6),
        ..plan.clone()
    };
    let (database, lists) = other.stores();
    let now = other.clock_now();
    let page = database
        .settings
        .lists_to_retime(now, 1)
        .await
        .unwrap()
        .unwrap();
    database.settings.note_retimed(page).await.unwrap();
    let parts = ServiceParts {
        database,
        lists,
        embedder: None,
        clock: other.clock.clone(),
    };
    let looking = guestbook::service::Service::inspect(parts, other.settings);
    let report = looking
        .verify(&VerifyScope::All, VerifyMode::Look)
        .await
        .unwrap();
    assert!(report.ok, "{report:#?}");
    looking.stop().await.unwrap();
}

/// Only what was said before a change is judged by less.
#[tokio::test]
async fn a_wrong_window_is_still_found_after_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let harness = started(&plan, HOUR * 24).await;
    harness.say("ada", "before").await;
    harness.mended().await;
    harness.stop().await;
    let harness = started(&plan, HOUR * 48).await;
    harness.clock.advance(HOUR);
    harness.say("ada", "after").await;
    for _ in 0..3 {
        harness.say("bob", "after").await;
    }
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
    let connection = rusqlite::Connection::open(folder.path().join("guestbook.db")).unwrap();
    let damage = "UPDATE conversation_cache SET list_from = 1 WHERE user_id = 'bob';
        UPDATE conversation_cache SET list_expires_at = '2190-01-01T00:00:00.000Z' WHERE user_id = 'ada'";
    connection.execute_batch(damage).unwrap();
    drop(connection);
    let harness = started(&plan, HOUR * 48).await;
    let report = harness.verify().await;
    let named = format!("{report:?}");
    assert!(
        !report.ok && named.contains("ada") && named.contains("bob"),
        "{report:#?}"
    );
    harness.stop().await;
}
