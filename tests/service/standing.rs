//! A page that was read stands until something of its chat is answered, or the chat ends.

use crate::stage::words::{DAY, HOUR, SECOND, guest, says, until};
use crate::stage::{Plan, Stage};
use guestbook::chat::Clock;
use guestbook::service::Standing;
use guestbook::storage::database::{ChatKey, Page, PageStart};

async fn read(stage: &Stage, limit: usize) -> Standing {
    let page = Page {
        limit,
        from: PageStart::At(0),
    };
    let chat = ChatKey::Guest(guest("ada"));
    let read = stage.service.history(&chat, page).await.unwrap();
    Standing::of(&read.expect("a chat")).expect("tables of one process")
}

#[tokio::test]
async fn a_page_stands_until_its_chat_ends_and_again_when_the_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan::folder(&folder);
    plan.retention = Some(7 * DAY);
    let stage = plan.start().ready().await;
    stage.say("ada", "one").await;
    let began = stage.clock.now();
    stage.service.settle().await.unwrap();
    let page = read(&stage, 10).await;
    assert!(stage.service.stands(&page));
    stage.clock.set(began.plus(7 * DAY - SECOND));
    assert!(stage.service.stands(&page));
    for ended in [7 * DAY, 7 * DAY + HOUR, 400 * DAY] {
        stage.clock.set(began.plus(ended));
        assert!(!stage.service.stands(&page), "{ended:?}");
        assert_eq!(stage.texts("ada").await, [] as [&str; 0]);
    }
    stage.clock.set(began);
    assert!(stage.service.stands(&page));
    assert_eq!(stage.texts("ada").await, ["one"]);
    stage.clock.set(began.plus(8 * DAY));
    stage.service.sweep().await.unwrap();
    stage.clock.set(began);
    assert!(!stage.service.stands(&page), "it was removed");
    stage.stop().await;
}

#[tokio::test]
async fn a_page_read_in_steps_is_of_its_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Plan::folder(&folder).start().ready().await;
    let said = (0..600).map(|n| says("ada", &format!("{n}")));
    stage.store(vec![said.collect()]).await;
    stage.service.settle().await.unwrap();
    let page = read(&stage, 600).await;
    assert!(stage.service.stands(&page));
    stage.say("ada", "more").await;
    assert!(!stage.service.stands(&page));
    stage.stop().await;
}

#[tokio::test]
async fn a_page_that_stands_is_counted_as_a_read_and_one_that_does_not_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Plan::folder(&folder).start().ready().await;
    stage.say("ada", "one").await;
    stage.service.settle().await.unwrap();
    let page = read(&stage, 10).await;
    for _ in 0..5 {
        assert!(stage.service.stands(&page));
    }
    stage.say("ada", "two").await;
    assert!(!stage.service.stands(&page));
    until("two messages and six reads are counted", async || {
        stage.service.settle().await.unwrap();
        stage.database.metrics_audit().await.unwrap().requests == 2 + 6
    })
    .await;
    stage.stop().await;
}
