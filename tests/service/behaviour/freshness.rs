//! A page that was read is fresh until something of its chat is answered, or the chat ends.

use crate::behaviour::long_pages::messages_of;
use guestbook::core::Clock;
use guestbook::service::Freshness;
use guestbook::storage::database::{ChatKey, PageRange, PageStart};
use guestbook_testkit::service_harness::words::{DAY, HOUR, SECOND, guest, says, until};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use rusqlite::Connection;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Messages that are said while a page is read.
const WRITES: usize = 150;

async fn read(harness: &ServiceHarness, limit: usize) -> Freshness {
    let page = PageRange {
        limit,
        from: PageStart::At(0),
    };
    let chat = ChatKey::Guest(guest("ada"));
    let read = harness.service.history(&chat, page).await.unwrap();
    let freshness = read.expect("a chat").freshness();
    freshness.expect("tables of one process")
}

#[tokio::test]
async fn a_page_is_fresh_until_its_chat_ends_and_again_when_the_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan::folder(&folder);
    plan.retention = Some(7 * DAY);
    let harness = plan.start().ready().await;
    harness.say("ada", "one").await;
    let began = harness.clock.now();
    harness.service.mark_synced().await.unwrap();
    let page = read(&harness, 10).await;
    assert!(harness.service.is_fresh(&page));
    harness.clock.set(began.plus(7 * DAY - SECOND));
    assert!(harness.service.is_fresh(&page));
    for ended in [7 * DAY, 7 * DAY + HOUR, 400 * DAY] {
        harness.clock.set(began.plus(ended));
        assert!(!harness.service.is_fresh(&page), "{ended:?}");
        assert_eq!(harness.texts("ada").await, [] as [&str; 0]);
    }
    harness.clock.set(began);
    assert!(harness.service.is_fresh(&page));
    assert_eq!(harness.texts("ada").await, ["one"]);
    harness.clock.set(began.plus(8 * DAY));
    harness.service.sweep().await.unwrap();
    harness.clock.set(began);
    assert!(!harness.service.is_fresh(&page), "it was removed");
    harness.stop().await;
}

/// Reads again and again while the guest speaks: what stands has everything that was answered before it was asked.
async fn read_while_it_is_written(harness: &ServiceHarness, earlier: usize) {
    let said = (0..earlier).map(|n| says("ada", &format!("{n}")));
    harness.store(vec![said.collect()]).await;
    let answered = AtomicUsize::new(earlier);
    let write = async {
        for number in earlier..earlier + WRITES {
            harness.say("ada", &format!("{number}")).await;
            answered.store(number + 1, SeqCst);
        }
    };
    let newest = PageRange {
        limit: 10_000,
        from: PageStart::Below(u64::MAX),
    };
    let chat = ChatKey::Guest(guest("ada"));
    let read = async || {
        let mut fresh = 0;
        while answered.load(SeqCst) < earlier + WRITES {
            let mut read = harness
                .service
                .history(&chat, newest)
                .await
                .unwrap()
                .unwrap();
            let (page, has) = (
                read.freshness().unwrap(),
                messages_of(&mut read).await.len(),
            );
            for _ in 0..20 {
                let before = answered.load(SeqCst);
                let is_fresh = harness.service.is_fresh(&page);
                assert!(!is_fresh || has >= before, "{has} are fresh after {before}");
                fresh += usize::from(is_fresh);
                tokio::task::yield_now().await;
            }
        }
        fresh
    };
    let ((), one, other) = tokio::join!(write, read(), read());
    assert!(one + other > 0, "no page was ever fresh");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_read_while_its_chat_is_written_is_fresh_only_if_it_lacks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    read_while_it_is_written(&harness, 1).await;
    harness.stop().await;
}

/// 600 messages are read in two steps, the newest first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_read_in_steps_is_of_its_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    read_while_it_is_written(&harness, 600).await;
    harness.stop().await;
}

/// Somebody edits the tables by hand while the service runs: by other means than it can see in its own connection.
#[tokio::test]
async fn a_page_is_not_fresh_for_long_after_another_process_has_written() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    harness.say("ada", "one").await;
    harness.say("bob", "other").await;
    harness.service.mark_synced().await.unwrap();
    let page = read(&harness, 10).await;
    assert!(harness.service.is_fresh(&page));
    let other = Connection::open(folder.path().join("guestbook.db")).unwrap();
    let edit = "UPDATE message_cache SET content = 'edited' WHERE content = 'one'";
    assert_eq!(other.execute(edit, []).unwrap(), 1);
    until("the page that was read before is not fresh", async || {
        !harness.service.is_fresh(&page)
    })
    .await;
    assert_eq!(harness.texts("ada").await, ["edited"]);
    let page = read(&harness, 10).await;
    assert!(
        harness.service.is_fresh(&page),
        "it was read after the edit"
    );
    harness.stop().await;
}

#[tokio::test]
async fn a_page_that_is_fresh_is_counted_as_a_read_and_one_that_is_not_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let harness = Plan::folder(&folder).start().ready().await;
    harness.say("ada", "one").await;
    harness.service.mark_synced().await.unwrap();
    let page = read(&harness, 10).await;
    for _ in 0..5 {
        assert!(harness.service.is_fresh(&page));
    }
    harness.say("ada", "two").await;
    assert!(!harness.service.is_fresh(&page));
    until("two messages and six reads are counted", async || {
        harness.service.mark_synced().await.unwrap();
        harness
            .database
            .audit
            .metrics_audit()
            .await
            .unwrap()
            .requests
            == 2 + 6
    })
    .await;
    harness.stop().await;
}
