//! A bit of everything that the service does.

use crate::faults::ledger::Ledger;
use guestbook::core::NewMessage;
use guestbook_testkit::service_harness::words::{DAY, HOUR, guest, says, user};
use guestbook_testkit::service_harness::{Plan, Stage};

/// The guests whose lists are looked at in the end.
pub(crate) const GUESTS: [&str; 6] = ["ada", "bob", "cyd", "eve", "mig", "old"];

/// A week of retention, so that a part of the workload can outlive it.
pub(crate) fn plan(mut plan: Plan) -> Plan {
    plan.retention = Some(7 * DAY);
    plan
}

/// Runs it; failures are noted, not fatal.
pub(crate) async fn run(stage: &Stage) -> Ledger {
    let mut ledger = Ledger::default();
    speak(
        stage,
        &mut ledger,
        &[("old", "long ago"), ("old", "and again")],
    )
    .await;
    stage.clock.advance(8 * DAY);
    ledger.erased(&guest("old"), Ok(())); // by retention

    let first = says("ada", "the first");
    store(stage, &mut ledger, vec![first.clone()]).await;
    let all = ["ada", "bob", "cyd", "eve", "mig"].map(|name| (name, "hello"));
    speak(stage, &mut ledger, &all).await;
    speak(
        stage,
        &mut ledger,
        &[("eve", "to be erased"), ("mig", "to be taken along")],
    )
    .await;
    store(stage, &mut ledger, vec![first]).await; // the same again
    session(stage, &mut ledger, "ada").await;
    let _ = stage.service.settle().await;

    let erased = stage.service.delete(guest("eve")).await;
    ledger.erased(
        &guest("eve"),
        erased.map(drop).map_err(|cause| cause.to_string()),
    );
    speak(stage, &mut ledger, &[("eve", "back again")]).await;
    let migrated = stage.service.migrate(guest("mig"), user("member")).await;
    if let Err(cause) = migrated {
        ledger.failures.push(format!("migrate: {cause}"));
    }
    speak(
        stage,
        &mut ledger,
        &[("mig", "a new life"), ("ada", "more")],
    )
    .await;

    stage.clock.advance(2 * HOUR);
    let _ = stage.service.sweep().await;
    speak(
        stage,
        &mut ledger,
        &[("bob", "later"), ("bob", "and later")],
    )
    .await;
    session(stage, &mut ledger, "bob").await;
    session(stage, &mut ledger, "nobody").await;
    let _ = stage.service.settle().await;
    ledger
}

/// One request, with a group for each message.
async fn speak(stage: &Stage, ledger: &mut Ledger, words: &[(&str, &str)]) {
    let messages = words.iter().map(|(name, text)| says(name, text)).collect();
    store(stage, ledger, messages).await;
}

async fn store(stage: &Stage, ledger: &mut Ledger, messages: Vec<NewMessage>) {
    let groups = messages
        .iter()
        .map(|message| vec![message.clone()])
        .collect();
    let answers = stage.service.store(groups).await;
    ledger.answered(messages, answers);
}

/// Whoever answers, the list store or the tables: the words are those of the tables.
async fn session(stage: &Stage, ledger: &mut Ledger, name: &str) {
    match stage.service.session(&guest(name)).await {
        Err(cause) => ledger.failures.push(format!("session: {cause}")),
        Ok(session) => {
            let items = session.map(|session| session.items).unwrap_or_default();
            let items: Vec<_> = items
                .iter()
                .map(guestbook_testkit::service_harness::text_of)
                .collect();
            assert_eq!(items, stage.texts(name).await, "the session of {name}");
        }
    }
}
