//! A bit of everything that the service does.

use crate::faults::expected_state::ExpectedState;
use guestbook::core::NewMessage;
use guestbook_testkit::service_harness::words::{DAY, HOUR, guest, says, user};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};

/// The guests whose lists are looked at in the end.
pub(crate) const GUESTS: [&str; 6] = ["ada", "bob", "cyd", "eve", "mig", "old"];

/// A week of retention, so that a part of the workload can outlive it.
pub(crate) fn plan(mut plan: Plan) -> Plan {
    plan.retention = Some(7 * DAY);
    plan
}

/// Runs it; failures are noted, not fatal.
pub(crate) async fn run(harness: &ServiceHarness) -> ExpectedState {
    let mut oracle = ExpectedState::default();
    speak(
        harness,
        &mut oracle,
        &[("old", "long ago"), ("old", "and again")],
    )
    .await;
    harness.clock.advance(8 * DAY);
    oracle.erased(&guest("old"), Ok(())); // by retention

    let first = says("ada", "the first");
    store(harness, &mut oracle, vec![first.clone()]).await;
    let all = ["ada", "bob", "cyd", "eve", "mig"].map(|name| (name, "hello"));
    speak(harness, &mut oracle, &all).await;
    speak(
        harness,
        &mut oracle,
        &[("eve", "to be erased"), ("mig", "to be taken along")],
    )
    .await;
    store(harness, &mut oracle, vec![first]).await; // the same again
    session(harness, &mut oracle, "ada").await;
    let _ = harness.service.mark_synced().await;

    let erased = harness.service.delete(guest("eve")).await;
    oracle.erased(
        &guest("eve"),
        erased.map(drop).map_err(|cause| cause.to_string()),
    );
    speak(harness, &mut oracle, &[("eve", "back again")]).await;
    let migrated = harness.service.migrate(guest("mig"), user("member")).await;
    if let Err(cause) = migrated {
        oracle.failures.push(format!("migrate: {cause}"));
    }
    speak(
        harness,
        &mut oracle,
        &[("mig", "a new life"), ("ada", "more")],
    )
    .await;

    harness.clock.advance(2 * HOUR);
    let _ = harness.service.sweep().await;
    speak(
        harness,
        &mut oracle,
        &[("bob", "later"), ("bob", "and later")],
    )
    .await;
    session(harness, &mut oracle, "bob").await;
    session(harness, &mut oracle, "nobody").await;
    let _ = harness.service.mark_synced().await;
    oracle
}

/// One request, with a group for each message.
async fn speak(harness: &ServiceHarness, oracle: &mut ExpectedState, words: &[(&str, &str)]) {
    let messages = words.iter().map(|(name, text)| says(name, text)).collect();
    store(harness, oracle, messages).await;
}

async fn store(harness: &ServiceHarness, oracle: &mut ExpectedState, messages: Vec<NewMessage>) {
    let groups = messages
        .iter()
        .map(|message| vec![message.clone()])
        .collect();
    let answers = harness.service.store(groups).await;
    oracle.answered(messages, answers);
}

/// Whoever answers, the list store or the tables: the words are those of the tables.
async fn session(harness: &ServiceHarness, oracle: &mut ExpectedState, name: &str) {
    match harness.try_session(name).await {
        Err(cause) => oracle.failures.push(format!("session: {cause}")),
        Ok(session) => {
            let items = session.map(|(items, _)| items).unwrap_or_default();
            assert_eq!(items, harness.texts(name).await, "the session of {name}");
        }
    }
}
