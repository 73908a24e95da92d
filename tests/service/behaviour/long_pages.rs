//! A long page is read step by step, and only while what it is made of stays the same.

use guestbook::core::error::ErrorKind;
use guestbook::core::{Message, OwnerId};
use guestbook::service::HistoryPage;
use guestbook::storage::database::{ChatKey, PageRange, PageStart};
use guestbook_testkit::service_harness::words::{WHOLE_CHAT, guest, says, until};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use rusqlite::Connection;
use std::time::Duration;

/// Messages of a chat whose page has some steps: 8 KiB each, 2.3 MiB together.
const LONG: usize = 300;
const UP: PageStart = PageStart::At(0);
const DOWN: PageStart = PageStart::Below(u64::MAX);

/// The rest of a page that nothing changes.
pub(crate) async fn messages_of(page: &mut HistoryPage) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(step) = page.next().await {
        messages.extend(step.unwrap().0);
    }
    messages
}

async fn fill(harness: &ServiceHarness, count: usize, bytes: usize) {
    let text = |number| format!("{number:0bytes$}");
    let said = (0..count).map(|number| says("ada", &text(number)));
    harness.store(vec![said.collect()]).await;
}

async fn ask(harness: &ServiceHarness, from: PageStart) -> HistoryPage {
    let page = PageRange {
        limit: 10_000,
        from,
    };
    let chat = ChatKey::Guest(guest("ada"));
    harness.service.history(&chat, page).await.unwrap().unwrap()
}

fn sequences(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.sequence).collect()
}

fn calls(harness: &ServiceHarness, call: &str) -> usize {
    let log = harness.log.lock().unwrap();
    log.iter()
        .filter(|logged| **logged == ("tables", call))
        .count()
}

async fn each_step_is_read_once(plan: Plan) {
    let harness = plan.start().ready().await;
    fill(&harness, LONG, 4 << 10).await;
    for from in [UP, DOWN] {
        let reads = calls(&harness, "history");
        let mut page = ask(&harness, from).await;
        assert!(page.is_long());
        assert_eq!(page.bounds(), Some((0, LONG as u64 - 1)));
        assert_eq!(calls(&harness, "history"), reads + 1);
        let (mut steps, mut read) = (0, Vec::new());
        while let Some(step) = page.next().await {
            let (messages, _permit) = step.unwrap();
            let bytes: usize = messages.iter().map(|it| it.content.as_str().len()).sum();
            assert!(bytes <= (256 << 10) + (4 << 10), "{bytes} in a step");
            steps += 1;
            read.extend(messages);
        }
        assert_eq!(sequences(&read), (0..LONG as u64).collect::<Vec<_>>());
        // And the first few once more, to see how long the page is.
        assert_eq!(calls(&harness, "history"), reads + 1 + steps);
    }
    harness.stop().await;
}

#[tokio::test]
async fn each_step_of_a_long_page_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    each_step_is_read_once(Plan::folder(&folder)).await;
    each_step_is_read_once(Plan::memory()).await;
}

#[tokio::test]
async fn large_messages_come_in_steps_too_and_short_pages_at_once() {
    let harness = Plan::memory().start().ready().await;
    fill(&harness, 70, 40 << 10).await;
    for from in [UP, DOWN] {
        let mut page = ask(&harness, from).await;
        assert!(page.is_long());
        assert_eq!(
            sequences(&messages_of(&mut page).await),
            (0..70).collect::<Vec<_>>()
        );
    }
    harness.service.delete(guest("ada")).await.unwrap();
    fill(&harness, 100, 100).await;
    for from in [UP, DOWN] {
        let mut page = ask(&harness, from).await;
        assert!(!page.is_long());
        assert_eq!(
            sequences(&messages_of(&mut page).await),
            (0..100).collect::<Vec<_>>()
        );
    }
    harness.stop().await;
}

#[tokio::test]
async fn what_is_said_while_a_page_is_read_is_of_no_page_that_was_begun() {
    let harness = Plan::memory().start().ready().await;
    fill(&harness, LONG, 8 << 10).await;
    let mut page = ask(&harness, UP).await;
    let (mut read, _) = page.next().await.unwrap().unwrap();
    harness.say("ada", "meanwhile").await;
    read.extend(messages_of(&mut page).await);
    assert_eq!(sequences(&read), (0..LONG as u64).collect::<Vec<_>>());
    assert_eq!(ask(&harness, UP).await.bounds(), Some((0, LONG as u64)));
    harness.stop().await;
}

/// What happens between the reads of one page, before its sizes are known or after.
async fn ask_while<T>(
    harness: &ServiceHarness,
    held: &'static [&'static str],
    from: PageStart,
    happens: impl AsyncFnOnce() -> T,
) -> Option<HistoryPage> {
    let page = PageRange {
        limit: 10_000,
        from,
    };
    let chat = ChatKey::Guest(guest("ada"));
    harness.tables.hold(held);
    let asked = harness.tables.count(held[0]);
    let meanwhile = async {
        until("the page is being read", async || {
            harness.tables.count(held[0]) > asked
        })
        .await;
        happens().await;
        harness.tables.release();
    };
    let (read, ()) = tokio::join!(harness.service.history(&chat, page), meanwhile);
    read.unwrap()
}

#[tokio::test]
async fn a_page_has_no_more_messages_than_its_row_counts() {
    let harness = Plan::memory().start().ready().await;
    for (count, bytes) in [(100, 100), (LONG, 8 << 10)] {
        fill(&harness, count, bytes).await;
        for from in [UP, DOWN] {
            let before = ask(&harness, UP).await.conversation().message_count;
            let meanwhile = async || harness.say("ada", "meanwhile").await;
            let mut page = ask_while(&harness, &["message_sizes"], from, meanwhile)
                .await
                .unwrap();
            assert_eq!(page.conversation().message_count, before);
            assert_eq!(page.bounds(), Some((0, before - 1)));
            let read = messages_of(&mut page).await;
            assert_eq!(sequences(&read), (0..before).collect::<Vec<_>>());
            let next = ask(&harness, from).await;
            assert_ne!(next.conversation(), page.conversation(), "of another tag");
            assert_eq!(next.bounds(), Some((0, before)));
        }
        harness.service.delete(guest("ada")).await.unwrap();
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_chat_that_is_erased_before_its_sizes_are_read_is_no_chat() {
    let harness = Plan::memory().start().ready().await;
    for (count, bytes) in [(100, 100), (LONG, 8 << 10)] {
        for from in [UP, DOWN] {
            fill(&harness, count, bytes).await;
            let meanwhile = async || harness.service.delete(guest("ada")).await.unwrap();
            let page = ask_while(&harness, &["message_sizes"], from, meanwhile).await;
            assert!(page.is_none(), "{:?}", page.unwrap().bounds());
        }
    }
    harness.stop().await;
}

/// A file edited by hand: what is left is served, as `verify` reports what is missing.
#[tokio::test]
async fn a_chat_that_lacks_a_message_is_served_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    for (count, bytes) in [(100, 100), (LONG, 8 << 10)] {
        fill(&harness, count, bytes).await;
        let other = Connection::open(folder.path().join("guestbook.db")).unwrap();
        let edit = "DELETE FROM message_cache WHERE sequence = 80";
        assert_eq!(other.execute(edit, []).unwrap(), 1);
        for from in [UP, DOWN] {
            let mut page = ask(&harness, from).await;
            let read = messages_of(&mut page).await;
            assert_eq!(read.len(), count - 1);
        }
        harness.service.delete(guest("ada")).await.unwrap();
    }
    harness.stop().await;
}

/// Long before this a read that waits for nobody is done.
async fn in_time<T>(read: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(120);
    let read = tokio::time::timeout(patience, read).await;
    read.expect("nobody waits for who waits for memory")
}

/// A session keeps its permit until there is memory for its response, which the pages that are being sent may hold.
#[tokio::test]
async fn a_page_goes_on_while_long_sessions_wait_for_memory() {
    let harness = Plan::memory().start().ready().await;
    fill(&harness, LONG, 8 << 10).await;
    harness.service.mark_synced().await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let session = harness.service.session(&guest("ada"), WHOLE_CHAT).await;
        waiting.push(session.unwrap().expect("a live list"));
    }
    let mut page = ask(&harness, UP).await;
    let read = in_time(messages_of(&mut page)).await;
    assert_eq!(read.len(), LONG);
    drop(waiting);
    harness.stop().await;
}

#[tokio::test]
async fn short_pages_are_read_while_long_ones_wait_for_memory() {
    let harness = Plan::memory().start().ready().await;
    fill(&harness, LONG, 8 << 10).await;
    harness.say("bob", "hello").await;
    harness.service.mark_synced().await.unwrap();
    let (mut waiting, mut sessions) = (Vec::new(), Vec::new());
    let ada = guest("ada");
    for _ in 0..100 {
        waiting.push(in_time(ask(&harness, UP)).await);
        let session = harness.service.session(&ada, WHOLE_CHAT);
        sessions.push(in_time(session).await.unwrap().unwrap());
    }
    assert_eq!(in_time(harness.texts("bob")).await, ["hello"]);
    assert!(sessions.iter().all(|session| session.is_long()));
    drop((waiting, sessions));
    harness.stop().await;
}

async fn assert_ends(page: &mut HistoryPage) {
    let ended = page.next().await.unwrap().map(drop).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_page_whose_chat_is_erased_or_migrated_while_it_is_read_ends_with_an_error() {
    for is_erased in [true, false] {
        let harness = Plan::memory().start().ready().await;
        fill(&harness, LONG, 8 << 10).await;
        let mut page = ask(&harness, UP).await;
        page.next().await.unwrap().unwrap();
        if is_erased {
            harness.service.delete(guest("ada")).await.unwrap();
            fill(&harness, LONG, 8 << 10).await; // the same, said anew
        } else {
            let user = OwnerId::parse("user_id", "u1").unwrap();
            harness.service.migrate(guest("ada"), user).await.unwrap();
        }
        assert_ends(&mut page).await;
        harness.stop().await;
    }
}

#[tokio::test]
async fn a_page_that_another_process_has_changed_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    fill(&harness, LONG, 8 << 10).await;
    harness.service.mark_synced().await.unwrap();
    let mut page = ask(&harness, UP).await;
    page.next().await.unwrap().unwrap();
    let freshness = page.freshness().unwrap();
    let other = Connection::open(folder.path().join("guestbook.db")).unwrap();
    let edit = "UPDATE message_cache SET content = 'edited' WHERE sequence = 299";
    assert_eq!(other.execute(edit, []).unwrap(), 1);
    until("the edit is seen", async || {
        !harness.service.is_fresh(&freshness)
    })
    .await;
    assert_ends(&mut page).await;
    harness.stop().await;
}
