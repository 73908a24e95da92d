//! The live list: where it comes from, and when it ends.

use guestbook::core::error::ErrorKind;
use guestbook::storage::list_cache::Append;
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::{HOUR, SECOND, guest, noon};
use guestbook_testkit::service_harness::{Plan, Stage, text_of};

async fn session(stage: &Stage, name: &str) -> Option<(Vec<String>, &'static str)> {
    let session = stage.service.session(&guest(name)).await.unwrap()?;
    Some((session.items.iter().map(text_of).collect(), session.source))
}

fn words(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn it_comes_from_the_list_with_its_remaining_life() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Plan::folder(&folder).start().ready().await;
    stage.say("ada", "one").await;
    stage.clock.advance(HOUR);
    stage.say("ada", "two").await;
    stage.clock.advance(SECOND);
    assert_eq!(
        session(&stage, "ada").await,
        Some((words(&["one", "two"]), "sled"))
    );
    let ttl = stage
        .service
        .session(&guest("ada"))
        .await
        .unwrap()
        .unwrap()
        .ttl;
    assert_eq!(ttl, stage.list_ttl - SECOND);
    assert_eq!(session(&stage, "nobody").await, None);
    stage.stop().await;
}

#[tokio::test]
async fn it_comes_from_the_tables_while_the_list_store_fails() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Plan::folder(&folder).start().ready().await;
    stage.say("ada", "one").await;
    stage
        .lists
        .fail_methods(&["range"], ErrorKind::Unavailable, When::Before);
    assert_eq!(
        session(&stage, "ada").await,
        Some((words(&["one"]), "sqlite"))
    );
    stage.lists.lift();
    stage.stop().await;
}

#[tokio::test]
async fn a_list_that_is_behind_is_mended_before_it_is_shown() {
    let stage = Plan::memory().start().ready().await;
    for text in ["one", "two", "three"] {
        stage.say("ada", text).await;
    }
    stage.service.settle().await.unwrap();
    let name = guest("ada");
    // The store loses everything after the first item, as one does whose last second was never written.
    let list = stage.cache.range(&name, noon()).await.unwrap().unwrap();
    stage.cache.remove(vec![name.clone()]).await.unwrap();
    let shorter = Append {
        guest: name.clone(),
        origin: list.head.origin,
        from: 0,
        first: 0,
        items: list.items[..1].to_vec(),
        expires_at: list.head.expires_at,
        at: noon(),
    };
    stage.cache.replace(shorter).await.unwrap();
    assert_eq!(stage.listed("ada").await.unwrap(), ["one"]);
    assert_eq!(
        session(&stage, "ada").await.unwrap().0,
        ["one", "two", "three"]
    );
    assert_eq!(stage.listed("ada").await.unwrap(), ["one", "two", "three"]);
    stage.assert_well().await;
    stage.stop().await;
}

#[tokio::test]
async fn an_expired_session_is_none_in_the_very_millisecond() {
    let stage = Plan::memory().start().ready().await;
    stage.say("ada", "one").await;
    let ttl = stage.list_ttl;
    stage
        .clock
        .advance(ttl - std::time::Duration::from_millis(1));
    assert!(session(&stage, "ada").await.is_some());
    stage.clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(session(&stage, "ada").await, None);
    assert_eq!(stage.texts("ada").await, ["one"], "the tables keep it");
    stage.assert_well().await; // before the sweep …
    stage.service.sweep().await.unwrap();
    assert!(stage.cache.guests(None, 10).await.unwrap().is_empty());
    stage.assert_well().await; // … and after it
    stage.stop().await;
}

#[tokio::test]
async fn after_a_silence_the_list_begins_anew_and_the_history_goes_on() {
    for swept in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let stage = Plan::folder(&folder).start().ready().await;
        stage.say("ada", "one").await;
        stage.say("ada", "two").await;
        stage.service.settle().await.unwrap();
        stage.clock.advance(stage.list_ttl);
        if swept {
            stage.service.sweep().await.unwrap();
        }
        let third = stage.say("ada", "three").await;
        assert_eq!(third.recorded.sequence, 2);
        assert_eq!(session(&stage, "ada").await.unwrap().0, ["three"]);
        assert_eq!(stage.texts("ada").await, ["one", "two", "three"]);
        stage.mended().await;
        stage.assert_well().await;
        stage.stop().await;
    }
}

/// Only what the list store says of a list is a reason to build it anew.
#[tokio::test]
async fn tables_that_say_that_they_are_damaged_cost_no_list() {
    let stage = Plan::memory().start().ready().await;
    stage.say("ada", "hello").await;
    stage.mended().await;
    // The row is read before the list, to know whether there should be one, and with it.
    stage.tables.fail_nth(1, ErrorKind::Corrupt, When::Before);
    let shown = session(&stage, "ada").await;
    assert_eq!(shown, Some((words(&["hello"]), "memory")));
    assert_eq!(stage.tables.lift(), 1);
    stage.service.sweep().await.unwrap(); // a doubted list would be removed and built anew by now
    stage.assert_well().await;
    assert_eq!(stage.lists.count("remove"), 0);
    assert_eq!(stage.lists.count("replace"), 0);
    stage.stop().await;
}
