//! How the laws here go: a healthy store, a damage, what verify says of it, and what a repair leaves.

use guestbook::core::Role;
use guestbook::service::verify::{AuditedTable, Difference, VerifyMode, VerifyReport, VerifyScope};
use guestbook_testkit::service_harness::model::Inline;
use guestbook_testkit::service_harness::words::{guest, says};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use rusqlite::Connection;
use std::sync::Arc;
use tempfile::TempDir;

/// What a repair makes of a damage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Then {
    /// All is well again.
    Mended,
    /// It cannot be mended, and is still named.
    Named,
}

/// What verify must say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) place: AuditedTable,
    pub(crate) owner: Option<&'static str>,
    pub(crate) sequence: Option<u64>,
    pub(crate) reason: &'static str,
}

/// A store that is well: `ada` with three messages and `bob` with one, all marked as synced, closed.
pub(crate) struct Ground {
    folder: TempDir,
    plan: Plan,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut plan = Plan::folder(&folder);
        plan.embedder = Some(Arc::new(Inline::new()));
        let harness = plan.start().ready().await;
        let mut answer = says("ada", "two words");
        answer.role = Role::Assistant;
        harness
            .store(vec![vec![
                says("ada", "one"),
                answer,
                says("ada", "now three words"),
            ]])
            .await;
        harness.say("bob", "hello").await;
        harness.mended().await;
        harness.assert_well().await;
        harness.stop().await;
        Self { folder, plan }
    }

    /// Changes the tables behind everyone's back; rules of the schema are no hindrance.
    pub(crate) fn change(&self, statements: &str) {
        let file = Connection::open(self.folder.path().join("guestbook.db")).unwrap();
        file.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;")
            .unwrap();
        file.execute_batch(statements).unwrap();
    }

    /// Every message, as text.
    pub(crate) fn messages(&self) -> Vec<String> {
        let file = Connection::open(self.folder.path().join("guestbook.db")).unwrap();
        let mut rows = file
            .prepare("SELECT id || conversation_id || role || sequence || content || message_hash FROM message_cache ORDER BY id")
            .unwrap();
        rows.query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    pub(crate) fn start(&self) -> ServiceHarness {
        self.plan.start()
    }
}

/// The whole law for a damage of the tables.
pub(crate) async fn law(statements: &str, expected: Expected, then: Then) {
    let ground = Ground::new().await;
    ground.change(statements);
    let harness = ground.start();
    judge(&ground, harness, expected, then).await;
}

/// Verify names it, a repair does what it can and says so, and no message is touched.
pub(crate) async fn judge(
    ground: &Ground,
    harness: ServiceHarness,
    expected: Expected,
    then: Then,
) {
    let messages = ground.messages();
    let found = harness.verify().await;
    assert_named(&found, expected);
    if let Some(owner) = expected.owner.filter(|owner| *owner != "ghost") {
        let scope = VerifyScope::Guest(guest(owner));
        let of_guest = harness
            .service
            .verify(&scope, VerifyMode::Look)
            .await
            .unwrap();
        assert_named(&of_guest, expected);
        let scope = VerifyScope::Guest(guest(if owner == "ada" { "bob" } else { "ada" }));
        let of_other = harness
            .service
            .verify(&scope, VerifyMode::Look)
            .await
            .unwrap();
        assert!(of_other.ok, "{of_other:#?}");
    }
    let repaired = harness
        .service
        .verify(&VerifyScope::All, VerifyMode::Repair)
        .await
        .unwrap();
    let again = harness.verify().await;
    match then {
        Then::Mended => {
            assert!(!repaired.repaired.is_empty(), "a repair says what it did");
            assert!(repaired.ok, "{repaired:#?}");
            assert!(again.ok, "{again:#?}");
            let nothing = harness
                .service
                .verify(&VerifyScope::All, VerifyMode::Repair)
                .await
                .unwrap();
            assert!(nothing.repaired.is_empty(), "{nothing:#?}");
        }
        Then::Named => assert_named(&again, expected),
    }
    assert_eq!(ground.messages(), messages, "a repair touches no message");
    let asked = harness.lists.count("heads");
    assert!(asked < 300, "the mending was kept busy: {asked} times");
    harness.stop().await;
}

fn assert_named(report: &VerifyReport, expected: Expected) {
    assert!(!report.ok);
    let table = report.table(expected.place);
    let is_it = |difference: &&Difference| {
        difference.owner.as_deref() == expected.owner
            && difference.sequence == expected.sequence
            && difference.reason.contains(expected.reason)
    };
    assert!(
        table.differences.iter().any(|it| is_it(&it)),
        "{expected:?} is not named in {report:#?}"
    );
}
