//! A list store that is another one than last time, or has lost some of what it had.

use guestbook::core::{Content, ConversationId, Role};
use guestbook::storage::list_cache::{Append, Item, ListCache, Origin};
use guestbook::storage::memory::MemoryLists;
use guestbook_storage_contract::words::WHOLE;
use guestbook_testkit::service_harness::words::{DAY, guest, noon, until};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

async fn chat(harness: &ServiceHarness) {
    for text in ["one", "two", "three"] {
        harness.say("ada", text).await;
    }
    harness.say("bob", "hello").await;
    harness.mended().await;
}

/// A service on the tables of `plan`, and empty lists.
async fn with_new_lists(plan: &Plan) -> ServiceHarness {
    let (database, _) = plan.stores();
    plan.start_on((database, Arc::new(MemoryLists::new())))
}

#[tokio::test]
async fn an_empty_list_store_is_filled_from_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let harness = plan.start().ready().await;
    chat(&harness).await;
    harness.stop().await;
    let harness = with_new_lists(&plan).await;
    until("the lists are rebuilt", || async {
        harness
            .listed("ada")
            .await
            .is_some_and(|list| list.len() == 3)
            && harness.listed("bob").await.is_some()
    })
    .await;
    assert_eq!(
        harness.listed("ada").await.unwrap(),
        ["one", "two", "three"]
    );
    until("the new store is known", || async {
        harness.tables.count("set_lists_incarnation") == 1
    })
    .await;
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

/// Otherwise a power cut could take the rebuilt lists, and nobody would know that they are owed.
#[tokio::test]
async fn rebuilt_lists_are_durable_before_the_new_store_is_taken_for_known() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let harness = plan.start().ready().await;
    chat(&harness).await;
    harness.stop().await;
    let harness = with_new_lists(&plan).await;
    until("the new store is known", || async {
        harness.tables.count("set_lists_incarnation") == 1
    })
    .await;
    let log = harness.log.lock().unwrap().clone();
    let place = |call| log.iter().rposition(|found| *found == call).unwrap();
    let known = place(("tables", "set_lists_incarnation"));
    let rebuilt = log[..known]
        .iter()
        .rposition(|found| *found == ("lists", "replace"))
        .unwrap();
    let flushed = log[rebuilt..known].contains(&("lists", "flush"));
    assert!(flushed, "{:?}", &log[rebuilt..=known]);
    harness.stop().await;
}

#[tokio::test]
async fn a_list_that_lost_its_tail_is_rebuilt_with_the_next_message() {
    let harness = Plan::memory().start().ready().await;
    chat(&harness).await;
    shorten(harness.cache.as_ref()).await;
    harness.say("ada", "four").await;
    harness.mended().await;
    assert_eq!(
        harness.listed("ada").await.unwrap(),
        ["one", "two", "three", "four"]
    );
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_list_that_was_lost_whole_is_rebuilt_with_the_next_message() {
    let harness = Plan::memory().start().ready().await;
    chat(&harness).await;
    harness.cache.remove(vec![guest("ada")]).await.unwrap();
    harness.say("ada", "four").await;
    harness.mended().await;
    assert_eq!(
        harness.listed("ada").await.unwrap(),
        ["one", "two", "three", "four"]
    );
    harness.assert_well().await;
    harness.stop().await;
}

/// As when older tables, or others, are put beside the lists.
#[tokio::test]
async fn a_list_of_a_guest_that_the_tables_do_not_know_is_removed_from_an_unknown_store() {
    let lists = Arc::new(MemoryLists::new());
    let list = Append {
        guest: guest("eve"),
        origin: Origin {
            epoch: Uuid::new_v4(),
            conversation: ConversationId(Uuid::new_v4()),
        },
        from: 0,
        first: 0,
        items: vec![Item {
            role: Role::User,
            content: Content::parse("of another history", 100).unwrap(),
            timestamp: noon(),
        }],
        expires_at: noon().plus(DAY),
        at: noon(),
    };
    lists.replace(list).await.unwrap();
    let (database, _) = Plan::memory().stores();
    let harness = Plan::memory().start_on((database, lists.clone()));
    harness.say("ada", "one").await;
    until("the list is removed", || async {
        let guests = lists.guests(None, 10).await.unwrap();
        guests == [guest("ada")]
    })
    .await;
    harness.stop().await;
}

/// Cuts the list of `ada` to its first item.
async fn shorten(cache: &dyn ListCache) {
    let name = guest("ada");
    let list = cache.range(&name, WHOLE, noon()).await.unwrap().unwrap();
    cache.remove(vec![name.clone()]).await.unwrap();
    let shorter = Append {
        guest: name,
        origin: list.head.origin,
        from: 0,
        first: 0,
        items: list.items[..1].to_vec(),
        expires_at: list.head.expires_at,
        at: noon(),
    };
    cache.replace(shorter).await.unwrap();
}

/// Two messages, a copy of the tables, two more, and the copy put back: the lists know of a history that is gone.
async fn put_back_an_older_copy(plan: &Plan, folder: &Path) {
    let (tables, copy) = (folder.join("guestbook.db"), folder.join("copy.db"));
    let harness = plan.start().ready().await;
    harness.say("ada", "one").await;
    harness.say("ada", "two").await;
    harness.stop().await;
    std::fs::copy(&tables, &copy).unwrap();
    let harness = plan.start().ready().await;
    harness.say("ada", "three").await;
    harness.say("ada", "four").await;
    harness.stop().await;
    std::fs::copy(&copy, &tables).unwrap();
}

#[tokio::test]
async fn a_list_that_knows_more_than_the_tables_is_rebuilt_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    put_back_an_older_copy(&plan, folder.path()).await;
    let harness = plan.start();
    until("the list is what the tables say", || async {
        harness
            .listed("ada")
            .await
            .is_some_and(|list| list == ["one", "two"])
    })
    .await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn a_message_after_an_older_copy_was_put_back_is_in_the_list_and_the_lost_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    put_back_an_older_copy(&plan, folder.path()).await;
    // At once: the comparison at the start may come before or after.
    let harness = plan.start();
    harness.say("ada", "another three").await;
    until("the list is what the tables say", || async {
        harness
            .listed("ada")
            .await
            .is_some_and(|list| list == ["one", "two", "another three"])
    })
    .await;
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn verify_names_a_list_that_knows_more_than_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    put_back_an_older_copy(&plan, folder.path()).await;
    let (database, lists) = plan.stores();
    let parts = guestbook::service::ServiceParts {
        database,
        lists,
        embedder: None,
        clock: plan.clock.clone(),
    };
    // Without the upkeep, which would mend it first.
    let service = guestbook::service::Service::inspect(parts, plan.settings);
    let scope = guestbook::service::verify::VerifyScope::All;
    let look = guestbook::service::verify::VerifyMode::Look;
    let report = service.verify(&scope, look).await.unwrap();
    assert!(!report.ok);
    let reason = &report.tables[0].differences[0].reason;
    assert!(reason.contains("more messages than the chat"), "{reason}");
    service.stop().await.unwrap();
}
