//! A failure at each call of a workload in turn.

use crate::stage::control::When;
use crate::stage::{Plan, Stage};
use crate::workload::{self, GUESTS};
use futures_util::future::join_all;
use guestbook::error::ErrorKind;

/// Runs side by side, because each mostly waits for the back-off of the mending.
const TOGETHER: usize = 16;
const KINDS: [ErrorKind; 5] = [
    ErrorKind::Unavailable,
    ErrorKind::Full,
    ErrorKind::Busy,
    ErrorKind::Corrupt,
    ErrorKind::Internal,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Store {
    Tables,
    Lists,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    store: Store,
    nth: usize,
    when: When,
    /// From the nth call on everything fails until the workload is over; otherwise this one call does.
    lasting: bool,
}

/// Runs the workload with one failure, and checks what was promised.
async fn run(plan: Plan, failure: Option<Failure>) -> Stage {
    let stage = plan.start();
    if let Some(failure) = failure {
        let kind = KINDS[failure.nth % KINDS.len()];
        let control = match failure.store {
            Store::Tables => &stage.tables,
            Store::Lists => &stage.lists,
        };
        match failure.lasting {
            true => control.fail_from(failure.nth, kind, failure.when),
            false => control.fail_nth(failure.nth, kind, failure.when),
        }
    }
    let mut ledger = workload::run(&stage).await;
    let context = format!("{failure:?}");
    stage.tables.lift();
    stage.lists.lift();
    if failure.is_none_or(|failure| failure.store == Store::Lists) {
        assert!(
            ledger.failures.is_empty(),
            "{context}: {:?}",
            ledger.failures
        );
    }
    if failure.is_none_or(|failure| failure.when == When::Before) {
        ledger.assert_refused_is_absent(&stage, &context).await;
    }
    ledger.retry(&stage, &context).await;
    stage.service.sweep().await.unwrap();
    ledger.assert_kept(&stage, &context).await;
    stage.mended().await;
    for name in GUESTS {
        let listed = stage.listed(name).await.unwrap_or_default();
        assert_eq!(
            listed,
            stage.texts(name).await,
            "{context}: the list of {name}"
        );
    }
    let report = stage.verify().await;
    assert!(report.ok, "{context}: {report:#?}");
    stage
}

/// Every call in turn; `stride` 1 takes each.
async fn sweep(
    make: impl Fn() -> (Option<tempfile::TempDir>, Plan),
    store: Store,
    when: When,
    lasting: bool,
) {
    let make = &make;
    let (guard, plan) = make();
    let clean = run(plan, None).await;
    let calls = match store {
        Store::Tables => clean.tables.calls(),
        Store::Lists => clean.lists.calls(),
    };
    clean.stop().await;
    drop(guard);
    assert!(calls > 10, "the workload has calls to fail");
    let all: Vec<usize> = (0..calls).collect();
    for part in all.chunks(TOGETHER) {
        join_all(part.iter().map(|&nth| async move {
            let (_guard, plan) = make();
            let failure = Failure {
                store,
                nth,
                when,
                lasting,
            };
            run(plan, Some(failure)).await.stop().await;
        }))
        .await;
    }
}

fn memory() -> (Option<tempfile::TempDir>, Plan) {
    (None, workload::plan(Plan::memory()))
}

fn sqlite_sled() -> (Option<tempfile::TempDir>, Plan) {
    let folder = tempfile::tempdir().unwrap();
    let plan = workload::plan(Plan::folder(&folder));
    (Some(folder), plan)
}

/// One test per line: name, stores, what fails, on which side of the effect, and whether it goes on failing.
macro_rules! sweeps {
    ($($name:ident: $make:ident, $store:ident, $when:ident, $lasting:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            sweep($make, Store::$store, When::$when, $lasting).await;
        }
    )*};
}

sweeps! {
    a_failure_of_the_tables_at_any_call_loses_and_doubles_nothing_memory: memory, Tables, Before, false;
    a_failure_of_the_tables_at_any_call_loses_and_doubles_nothing_sqlite_sled: sqlite_sled, Tables, Before, false;
    an_unknown_outcome_at_any_call_of_the_tables_loses_and_doubles_nothing_memory: memory, Tables, After, false;
    an_unknown_outcome_at_any_call_of_the_tables_loses_and_doubles_nothing_sqlite_sled: sqlite_sled, Tables, After, false;
    a_failure_of_the_lists_at_any_call_fails_no_request_memory: memory, Lists, Before, false;
    a_failure_of_the_lists_at_any_call_fails_no_request_sqlite_sled: sqlite_sled, Lists, Before, false;
    an_unknown_outcome_at_any_call_of_the_lists_fails_no_request_memory: memory, Lists, After, false;
    an_unknown_outcome_at_any_call_of_the_lists_fails_no_request_sqlite_sled: sqlite_sled, Lists, After, false;
    tables_that_fail_from_any_call_on_lose_and_double_nothing_memory: memory, Tables, Before, true;
    tables_that_fail_from_any_call_on_lose_and_double_nothing_sqlite_sled: sqlite_sled, Tables, Before, true;
    lists_that_fail_from_any_call_on_fail_no_request_memory: memory, Lists, Before, true;
    lists_that_fail_from_any_call_on_fail_no_request_sqlite_sled: sqlite_sled, Lists, Before, true;
}
