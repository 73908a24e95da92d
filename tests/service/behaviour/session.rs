//! The live list: where it comes from, and when it ends.

use guestbook::core::error::ErrorKind;
use guestbook::storage::list_cache::Append;
use guestbook_storage_contract::words::WHOLE;
use guestbook_testkit::service_harness::Plan;
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::{HOUR, SECOND, WHOLE_CHAT, guest, noon};

fn words(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn it_comes_from_the_list_with_its_remaining_life() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    harness.say("ada", "one").await;
    harness.clock.advance(HOUR);
    harness.say("ada", "two").await;
    harness.clock.advance(SECOND);
    assert_eq!(
        harness.session("ada").await,
        Some((words(&["one", "two"]), "sled"))
    );
    let ttl = harness
        .service
        .session(&guest("ada"), WHOLE_CHAT)
        .await
        .unwrap()
        .unwrap()
        .ttl;
    assert_eq!(ttl, harness.list_ttl - SECOND);
    assert_eq!(harness.session("nobody").await, None);
    harness.stop().await;
}

#[tokio::test]
async fn it_comes_from_the_tables_while_the_list_store_fails() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    harness.say("ada", "one").await;
    harness
        .lists
        .fail_methods(&["range"], ErrorKind::Unavailable, When::Before);
    assert_eq!(
        harness.session("ada").await,
        Some((words(&["one"]), "sqlite"))
    );
    harness.lists.lift();
    harness.stop().await;
}

#[tokio::test]
async fn a_list_that_is_behind_is_mended_before_it_is_shown() {
    let harness = Plan::memory().start().ready().await;
    for text in ["one", "two", "three"] {
        harness.say("ada", text).await;
    }
    harness.service.mark_synced().await.unwrap();
    let name = guest("ada");
    // The store loses everything after the first item, as one does whose last second was never written.
    let list = harness
        .cache
        .range(&name, WHOLE, noon())
        .await
        .unwrap()
        .unwrap();
    harness.cache.remove(vec![name.clone()]).await.unwrap();
    let shorter = Append {
        guest: name.clone(),
        origin: list.head.origin,
        from: 0,
        first: 0,
        items: list.items[..1].to_vec(),
        expires_at: list.head.expires_at,
        at: noon(),
    };
    harness.cache.replace(shorter).await.unwrap();
    assert_eq!(harness.listed("ada").await.unwrap(), ["one"]);
    assert_eq!(
        harness.session("ada").await.unwrap().0,
        ["one", "two", "three"]
    );
    assert_eq!(
        harness.listed("ada").await.unwrap(),
        ["one", "two", "three"]
    );
    harness.assert_well().await;
    harness.stop().await;
}

#[tokio::test]
async fn an_expired_session_is_none_in_the_very_millisecond() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "one").await;
    let ttl = harness.list_ttl;
    harness
        .clock
        .advance(ttl - std::time::Duration::from_millis(1));
    assert!(harness.session("ada").await.is_some());
    harness.clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(harness.session("ada").await, None);
    assert_eq!(harness.texts("ada").await, ["one"], "the tables keep it");
    harness.assert_well().await; // before the sweep …
    harness.service.sweep().await.unwrap();
    assert!(harness.cache.guests(None, 10).await.unwrap().is_empty());
    harness.assert_well().await; // … and after it
    harness.stop().await;
}

#[tokio::test]
async fn after_a_silence_the_list_begins_anew_and_the_history_goes_on() {
    for swept in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let harness = Plan::folder(&folder).start().ready().await;
        harness.say("ada", "one").await;
        harness.say("ada", "two").await;
        harness.service.mark_synced().await.unwrap();
        harness.clock.advance(harness.list_ttl);
        if swept {
            harness.service.sweep().await.unwrap();
        }
        let third = harness.say("ada", "three").await;
        assert_eq!(third.recorded.sequence, 2);
        assert_eq!(harness.session("ada").await.unwrap().0, ["three"]);
        assert_eq!(harness.texts("ada").await, ["one", "two", "three"]);
        harness.mended().await;
        harness.assert_well().await;
        harness.stop().await;
    }
}

/// Only what the list store says of a list is a reason to build it anew.
#[tokio::test]
async fn tables_that_say_that_they_are_damaged_cost_no_list() {
    let harness = Plan::memory().start().ready().await;
    harness.say("ada", "hello").await;
    harness.mended().await;
    // The row is read before the list, to know whether there should be one, and with it.
    harness.tables.fail_nth(1, ErrorKind::Corrupt, When::Before);
    let shown = harness.session("ada").await;
    assert_eq!(shown, Some((words(&["hello"]), "memory")));
    assert_eq!(harness.tables.lift(), 1);
    harness.service.sweep().await.unwrap(); // a doubted list would be removed and built anew by now
    harness.assert_well().await;
    assert_eq!(harness.lists.count("remove"), 0);
    assert_eq!(harness.lists.count("replace"), 0);
    harness.stop().await;
}
