//! A failure at each call of a workload in turn.

use crate::faults::workload::{self, GUESTS};
use futures_util::future::join_all;
use guestbook::core::error::ErrorKind;
#[cfg(any(feature = "postgres", feature = "redis"))]
use guestbook::storage::database::TableSettings;
#[cfg(any(feature = "postgres", feature = "redis"))]
use guestbook_testkit::fixture::{self, Fixture};
#[cfg(any(feature = "postgres", feature = "redis"))]
use guestbook_testkit::service_harness::Pair;
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::until;
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use std::any::Any;

/// Runs side by side, because each mostly waits for the back-off of the mending.
const TOGETHER: usize = 16;
const KINDS: [ErrorKind; 5] = [
    ErrorKind::Unavailable,
    ErrorKind::Full,
    ErrorKind::Busy,
    ErrorKind::Corrupt,
    ErrorKind::Internal,
];

/// Whatever must live as long as the stores.
type Guard = Box<dyn Any + Send>;

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
async fn run(plan: Plan, failure: Option<Failure>) -> ServiceHarness {
    let harness = plan.start();
    if let Some(failure) = failure {
        let kind = KINDS[failure.nth % KINDS.len()];
        let control = match failure.store {
            Store::Tables => &harness.tables,
            Store::Lists => &harness.lists,
        };
        match failure.lasting {
            true => control.fail_from(failure.nth, kind, failure.when),
            false => control.fail_nth(failure.nth, kind, failure.when),
        }
    }
    let mut oracle = workload::run(&harness).await;
    let context = format!("{failure:?}");
    harness.tables.lift();
    harness.lists.lift();
    if failure.is_none_or(|failure| failure.store == Store::Lists) {
        assert!(
            oracle.failures.is_empty(),
            "{context}: {:?}",
            oracle.failures
        );
    }
    if failure.is_none_or(|failure| failure.when == When::Before) {
        oracle.assert_refused_is_absent(&harness, &context).await;
    }
    oracle.retry(&harness, &context).await;
    harness.service.sweep().await.unwrap();
    oracle.assert_kept(&harness, &context).await;
    harness.mended().await;
    for name in GUESTS {
        // A look at the lists that failed is repeated after a wait, and may be rebuilding this one.
        until(
            &format!("the list of {name} is what the tables say, after {context}"),
            || async {
                harness.listed(name).await.unwrap_or_default() == harness.texts(name).await
            },
        )
        .await;
    }
    let report = harness.verify().await;
    assert!(report.ok, "{context}: {report:#?}");
    harness
}

/// Calls that a sweep over servers passes over: each run has a database of its own there, which takes its time.
/// `GUESTBOOK_SWEEP_STRIDE` says otherwise; 1 takes every call.
#[cfg(any(feature = "postgres", feature = "redis"))]
const SERVER_STRIDE: usize = 6;

/// Every call in turn, or one of each `stride`.
async fn sweep<Made: Future<Output = (Guard, Plan)>>(
    make: impl Fn() -> Made,
    stride: usize,
    store: Store,
    when: When,
    lasting: bool,
) {
    let make = &make;
    let (guard, plan) = make().await;
    let clean = run(plan, None).await;
    let calls = match store {
        Store::Tables => clean.tables.calls(),
        Store::Lists => clean.lists.calls(),
    };
    clean.stop().await;
    drop(guard);
    assert!(calls > 10, "the workload has calls to fail");
    let all: Vec<usize> = (0..calls).step_by(stride).collect();
    for part in all.chunks(TOGETHER) {
        join_all(part.iter().map(|&nth| async move {
            let (_guard, plan) = make().await;
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

async fn memory() -> (Guard, Plan) {
    (Box::new(()), workload::plan(Plan::memory()))
}

async fn sqlite_sled() -> (Guard, Plan) {
    let folder = tempfile::tempdir().unwrap();
    let plan = workload::plan(Plan::folder(&folder));
    (Box::new(folder), plan)
}

/// A plan on the stores of a fixture.
#[cfg(any(feature = "postgres", feature = "redis"))]
async fn on<Opened: Future<Output = (Guard, Fixture)>>(
    open: impl Fn(TableSettings) -> Opened,
) -> (Guard, Plan) {
    let mut plan = workload::plan(Plan::memory());
    let (guard, stores) = open(plan.tables()).await;
    plan.pair = Pair::Open(stores.database, stores.lists);
    (guard, plan)
}

#[cfg(feature = "redis")]
async fn sqlite_redis() -> (Guard, Plan) {
    on(fixture::open_sqlite_redis).await
}

#[cfg(feature = "postgres")]
async fn postgres_sled() -> (Guard, Plan) {
    on(fixture::open_postgres_sled).await
}

#[cfg(all(feature = "postgres", feature = "redis"))]
async fn postgres_redis() -> (Guard, Plan) {
    on(fixture::open_postgres_redis).await
}

#[cfg(any(feature = "postgres", feature = "redis"))]
fn server_stride() -> usize {
    let given = std::env::var("GUESTBOOK_SWEEP_STRIDE");
    given.map_or(SERVER_STRIDE, |text| text.parse().unwrap())
}

/// Every sweep on one pair. What fails, on which side of the effect, and whether it goes on failing, is in the names.
macro_rules! sweeps {
    ($pair:ident, $stride:expr) => {
        mod $pair {
            use super::{Store, When, sweep};

            sweeps! { $pair, $stride;
                a_failure_of_the_tables_at_any_call_loses_and_doubles_nothing: Tables, Before, false;
                an_unknown_outcome_at_any_call_of_the_tables_loses_and_doubles_nothing: Tables, After, false;
                a_failure_of_the_lists_at_any_call_fails_no_request: Lists, Before, false;
                an_unknown_outcome_at_any_call_of_the_lists_fails_no_request: Lists, After, false;
                tables_that_fail_from_any_call_on_lose_and_double_nothing: Tables, Before, true;
                lists_that_fail_from_any_call_on_fail_no_request: Lists, Before, true;
            }
        }
    };
    ($pair:ident, $stride:expr; $($name:ident: $store:ident, $when:ident, $lasting:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            sweep(super::$pair, $stride, Store::$store, When::$when, $lasting).await;
        }
    )*};
}

sweeps!(memory, 1);
sweeps!(sqlite_sled, 1);
#[cfg(feature = "redis")]
sweeps!(sqlite_redis, super::server_stride());
#[cfg(feature = "postgres")]
sweeps!(postgres_sled, super::server_stride());
#[cfg(all(feature = "postgres", feature = "redis"))]
sweeps!(postgres_redis, super::server_stride());
