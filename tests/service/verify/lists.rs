//! Damage to the lists.

use crate::verify::damage::{Expected, Ground, Then, judge};
use guestbook::core::Content;
use guestbook::service::verify::Place;
use guestbook::storage::list_cache::{Append, Item};
use guestbook_testkit::service_harness::Stage;
use guestbook_testkit::service_harness::words::{guest, noon};

fn named(
    place: Place,
    owner: &'static str,
    sequence: Option<u64>,
    reason: &'static str,
) -> Expected {
    Expected {
        place,
        owner: Some(owner),
        sequence,
        reason,
    }
}

/// Makes the list of one guest out of what `ada` has.
async fn relist(stage: &Stage, name: &str, change: impl FnOnce(Vec<Item>) -> Vec<Item>) {
    let list = stage
        .cache
        .range(&guest("ada"), noon())
        .await
        .unwrap()
        .unwrap();
    stage.cache.remove(vec![guest(name)]).await.unwrap();
    let changed = Append {
        guest: guest(name),
        origin: list.head.origin,
        from: 0,
        first: 0,
        items: change(list.items),
        expires_at: list.head.expires_at,
        at: noon(),
    };
    stage.cache.replace(changed).await.unwrap();
}

#[tokio::test]
async fn a_lost_list_is_rebuilt() {
    let ground = Ground::new().await;
    let stage = ground.start().ready().await;
    stage.cache.remove(vec![guest("ada")]).await.unwrap();
    let expected = named(Place::Lists, "ada", None, "there is no list");
    judge(&ground, stage, expected, Then::Mended).await;
}

#[tokio::test]
async fn is_synced_that_claims_what_the_list_has_not_is_named() {
    let ground = Ground::new().await;
    let stage = ground.start().ready().await;
    stage.cache.remove(vec![guest("ada")]).await.unwrap();
    let reason = "is_synced is true, though the list does not have the message";
    judge(
        &ground,
        stage,
        named(Place::Mappings, "ada", Some(2), reason),
        Then::Mended,
    )
    .await;
}

#[tokio::test]
async fn a_list_lost_together_with_its_notes_is_rebuilt_in_one_go() {
    let ground = Ground::new().await;
    ground.change("UPDATE cache_content_mapping SET is_synced = 0 WHERE user_id = 'ada'");
    let stage = ground.start().ready().await;
    stage.cache.remove(vec![guest("ada")]).await.unwrap();
    let expected = named(Place::Lists, "ada", None, "there is no list");
    judge(&ground, stage, expected, Then::Mended).await;
}

#[tokio::test]
async fn a_list_that_is_too_short_is_rebuilt() {
    let ground = Ground::new().await;
    let stage = ground.start().ready().await;
    relist(&stage, "ada", |items| items[..1].to_vec()).await;
    let expected = named(
        Place::Lists,
        "ada",
        None,
        "lacks or differs in 2 of its messages",
    );
    judge(&ground, stage, expected, Then::Mended).await;
}

#[tokio::test]
async fn a_list_with_other_words_is_rebuilt() {
    let ground = Ground::new().await;
    let stage = ground.start().ready().await;
    relist(&stage, "ada", |mut items| {
        items[1].content = Content::parse("other words", 100).unwrap();
        items
    })
    .await;
    let expected = named(
        Place::Lists,
        "ada",
        None,
        "lacks or differs in 1 of its messages",
    );
    judge(&ground, stage, expected, Then::Mended).await;
}

#[tokio::test]
async fn a_list_of_another_chat_is_rebuilt() {
    let ground = Ground::new().await;
    let stage = ground.start().ready().await;
    relist(&stage, "bob", |items| items).await;
    let expected = named(
        Place::Lists,
        "bob",
        None,
        "a view of an earlier chat or of another database",
    );
    judge(&ground, stage, expected, Then::Mended).await;
}

#[tokio::test]
async fn a_list_of_a_guest_without_a_chat_is_removed() {
    let ground = Ground::new().await;
    let stage = ground.start().ready().await;
    relist(&stage, "ghost", |items| items).await;
    let expected = named(Place::Lists, "ghost", None, "there is a list, and no chat");
    judge(&ground, stage, expected, Then::Mended).await;
}
