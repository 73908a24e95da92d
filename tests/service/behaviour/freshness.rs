//! A page that was read is fresh until something of its chat is answered, or the chat ends.

use crate::behaviour::long_pages::messages_of;
use guestbook::core::Clock;
use guestbook::service::Freshness;
use guestbook::storage::database::{ChatKey, Page, PageStart};
use guestbook_testkit::service_harness::words::{DAY, HOUR, SECOND, guest, says, until};
use guestbook_testkit::service_harness::{Plan, Stage};
use rusqlite::Connection;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Messages that are said while a page is read.
const WRITES: usize = 150;

async fn read(stage: &Stage, limit: usize) -> Freshness {
    let page = Page {
        limit,
        from: PageStart::At(0),
    };
    let chat = ChatKey::Guest(guest("ada"));
    let read = stage.service.history(&chat, page).await.unwrap();
    let freshness = read.expect("a chat").freshness();
    freshness.expect("tables of one process")
}

#[tokio::test]
async fn a_page_is_fresh_until_its_chat_ends_and_again_when_the_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan::folder(&folder);
    plan.retention = Some(7 * DAY);
    let stage = plan.start().ready().await;
    stage.say("ada", "one").await;
    let began = stage.clock.now();
    stage.service.settle().await.unwrap();
    let page = read(&stage, 10).await;
    assert!(stage.service.is_fresh(&page));
    stage.clock.set(began.plus(7 * DAY - SECOND));
    assert!(stage.service.is_fresh(&page));
    for ended in [7 * DAY, 7 * DAY + HOUR, 400 * DAY] {
        stage.clock.set(began.plus(ended));
        assert!(!stage.service.is_fresh(&page), "{ended:?}");
        assert_eq!(stage.texts("ada").await, [] as [&str; 0]);
    }
    stage.clock.set(began);
    assert!(stage.service.is_fresh(&page));
    assert_eq!(stage.texts("ada").await, ["one"]);
    stage.clock.set(began.plus(8 * DAY));
    stage.service.sweep().await.unwrap();
    stage.clock.set(began);
    assert!(!stage.service.is_fresh(&page), "it was removed");
    stage.stop().await;
}

/// Reads again and again while the guest speaks: what stands has everything that was answered before it was asked.
async fn read_while_it_is_written(stage: &Stage, earlier: usize) {
    let said = (0..earlier).map(|n| says("ada", &format!("{n}")));
    stage.store(vec![said.collect()]).await;
    let answered = AtomicUsize::new(earlier);
    let write = async {
        for number in earlier..earlier + WRITES {
            stage.say("ada", &format!("{number}")).await;
            answered.store(number + 1, SeqCst);
        }
    };
    let newest = Page {
        limit: 10_000,
        from: PageStart::Below(u64::MAX),
    };
    let chat = ChatKey::Guest(guest("ada"));
    let read = async || {
        let mut fresh = 0;
        while answered.load(SeqCst) < earlier + WRITES {
            let mut read = stage.service.history(&chat, newest).await.unwrap().unwrap();
            let (page, has) = (
                read.freshness().unwrap(),
                messages_of(&mut read).await.len(),
            );
            for _ in 0..20 {
                let before = answered.load(SeqCst);
                let is_fresh = stage.service.is_fresh(&page);
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
    let stage = Plan::folder(&folder).start().ready().await;
    read_while_it_is_written(&stage, 1).await;
    stage.stop().await;
}

/// 600 messages are read in two steps, the newest first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_read_in_steps_is_of_its_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Plan::folder(&folder).start().ready().await;
    read_while_it_is_written(&stage, 600).await;
    stage.stop().await;
}

/// Somebody edits the tables by hand while the service runs: by other means than it can see in its own connection.
#[tokio::test]
async fn a_page_is_not_fresh_for_long_after_another_process_has_written() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Plan::folder(&folder).start().ready().await;
    stage.say("ada", "one").await;
    stage.say("bob", "other").await;
    stage.service.settle().await.unwrap();
    let page = read(&stage, 10).await;
    assert!(stage.service.is_fresh(&page));
    let other = Connection::open(folder.path().join("guestbook.db")).unwrap();
    let edit = "UPDATE message_cache SET content = 'edited' WHERE content = 'one'";
    assert_eq!(other.execute(edit, []).unwrap(), 1);
    until("the page that was read before is not fresh", async || {
        !stage.service.is_fresh(&page)
    })
    .await;
    assert_eq!(stage.texts("ada").await, ["edited"]);
    let page = read(&stage, 10).await;
    assert!(stage.service.is_fresh(&page), "it was read after the edit");
    stage.stop().await;
}

#[tokio::test]
async fn a_page_that_is_fresh_is_counted_as_a_read_and_one_that_is_not_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Plan::folder(&folder).start().ready().await;
    stage.say("ada", "one").await;
    stage.service.settle().await.unwrap();
    let page = read(&stage, 10).await;
    for _ in 0..5 {
        assert!(stage.service.is_fresh(&page));
    }
    stage.say("ada", "two").await;
    assert!(!stage.service.is_fresh(&page));
    until("two messages and six reads are counted", async || {
        stage.service.settle().await.unwrap();
        stage.database.audit.metrics_audit().await.unwrap().requests == 2 + 6
    })
    .await;
    stage.stop().await;
}
