//! A list store that is another one than last time, or has lost some of what it had.

use crate::stage::words::{guest, until};
use crate::stage::{Plan, Stage};
use guestbook::storage::list_cache::{Append, ListCache};
use guestbook::storage::memory::MemoryLists;
use std::sync::Arc;

async fn chat(stage: &Stage) {
    for text in ["one", "two", "three"] {
        stage.say("ada", text).await;
    }
    stage.say("bob", "hello").await;
    stage.mended().await;
}

/// A service on the tables of `plan`, and empty lists.
async fn with_new_lists(plan: &Plan) -> Stage {
    let (database, _) = plan.stores();
    plan.start_on((database, Arc::new(MemoryLists::new())))
}

#[tokio::test]
async fn an_empty_list_store_is_filled_from_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let stage = plan.start().ready().await;
    chat(&stage).await;
    stage.stop().await;
    let stage = with_new_lists(&plan).await;
    until("the lists are rebuilt", || async {
        stage
            .listed("ada")
            .await
            .is_some_and(|list| list.len() == 3)
            && stage.listed("bob").await.is_some()
    })
    .await;
    assert_eq!(stage.listed("ada").await.unwrap(), ["one", "two", "three"]);
    until("the new store is known", || async {
        stage.tables.count("set_lists_incarnation") == 1
    })
    .await;
    stage.mended().await;
    stage.assert_well().await;
    stage.stop().await;
}

/// Otherwise a power cut could take the rebuilt lists, and nobody would know that they are owed.
#[tokio::test]
async fn rebuilt_lists_are_durable_before_the_new_store_is_taken_for_known() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::folder(&folder);
    let stage = plan.start().ready().await;
    chat(&stage).await;
    stage.stop().await;
    let stage = with_new_lists(&plan).await;
    until("the new store is known", || async {
        stage.tables.count("set_lists_incarnation") == 1
    })
    .await;
    let log = stage.log.lock().unwrap().clone();
    let place = |call| log.iter().rposition(|found| *found == call).unwrap();
    let known = place(("tables", "set_lists_incarnation"));
    let rebuilt = log[..known]
        .iter()
        .rposition(|found| *found == ("lists", "replace"))
        .unwrap();
    let flushed = log[rebuilt..known].contains(&("lists", "flush"));
    assert!(flushed, "{:?}", &log[rebuilt..=known]);
    stage.stop().await;
}

#[tokio::test]
async fn a_list_that_lost_its_tail_is_rebuilt_with_the_next_message() {
    let stage = Plan::memory().start().ready().await;
    chat(&stage).await;
    shorten(stage.cache.as_ref()).await;
    stage.say("ada", "four").await;
    stage.mended().await;
    assert_eq!(
        stage.listed("ada").await.unwrap(),
        ["one", "two", "three", "four"]
    );
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_list_that_was_lost_whole_is_rebuilt_with_the_next_message() {
    let stage = Plan::memory().start().ready().await;
    chat(&stage).await;
    stage.cache.remove(vec![guest("ada")]).await.unwrap();
    stage.say("ada", "four").await;
    stage.mended().await;
    assert_eq!(
        stage.listed("ada").await.unwrap(),
        ["one", "two", "three", "four"]
    );
    stage.assert_well().await;
    stage.stop().await;
}

/// Cuts the list of `ada` to its first item.
async fn shorten(cache: &dyn ListCache) {
    let name = guest("ada");
    let list = cache
        .range(&name, crate::stage::words::noon())
        .await
        .unwrap()
        .unwrap();
    cache.remove(vec![name.clone()]).await.unwrap();
    let shorter = Append {
        guest: name,
        origin: list.head.origin,
        from: 0,
        first: 0,
        items: list.items[..1].to_vec(),
        expires_at: list.head.expires_at,
    };
    cache.replace(shorter).await.unwrap();
}
