//! Damage to the lists.

use crate::verify::damage::{Expected, Ground, Then, judge};
use guestbook::core::Content;
use guestbook::service::verify::AuditedTable;
use guestbook::storage::list_cache::{Append, Item};
use guestbook_storage_contract::words::WHOLE;
use guestbook_testkit::service_harness::ServiceHarness;
use guestbook_testkit::service_harness::words::{guest, noon};

fn named(
    place: AuditedTable,
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
async fn relist(harness: &ServiceHarness, name: &str, change: impl FnOnce(Vec<Item>) -> Vec<Item>) {
    let list = harness
        .cache
        .range(&guest("ada"), WHOLE, noon())
        .await
        .unwrap()
        .unwrap();
    harness.cache.remove(vec![guest(name)]).await.unwrap();
    let changed = Append {
        guest: guest(name),
        origin: list.head.origin,
        from: 0,
        first: 0,
        items: change(list.items),
        expires_at: list.head.expires_at,
        at: noon(),
    };
    harness.cache.replace(changed).await.unwrap();
}

#[tokio::test]
async fn a_lost_list_is_rebuilt() {
    let ground = Ground::new().await;
    let harness = ground.start().ready().await;
    harness.cache.remove(vec![guest("ada")]).await.unwrap();
    let expected = named(AuditedTable::Lists, "ada", None, "there is no list");
    judge(&ground, harness, expected, Then::Mended).await;
}

#[tokio::test]
async fn is_synced_that_claims_what_the_list_has_not_is_named() {
    let ground = Ground::new().await;
    let harness = ground.start().ready().await;
    harness.cache.remove(vec![guest("ada")]).await.unwrap();
    let reason = "is_synced is true, though the list does not have the message";
    judge(
        &ground,
        harness,
        named(AuditedTable::Mappings, "ada", Some(2), reason),
        Then::Mended,
    )
    .await;
}

#[tokio::test]
async fn a_list_lost_together_with_its_notes_is_rebuilt_in_one_go() {
    let ground = Ground::new().await;
    ground.change("UPDATE cache_content_mapping SET is_synced = 0 WHERE user_id = 'ada'");
    let harness = ground.start().ready().await;
    harness.cache.remove(vec![guest("ada")]).await.unwrap();
    let expected = named(AuditedTable::Lists, "ada", None, "there is no list");
    judge(&ground, harness, expected, Then::Mended).await;
}

#[tokio::test]
async fn a_list_that_is_too_short_is_rebuilt() {
    let ground = Ground::new().await;
    let harness = ground.start().ready().await;
    relist(&harness, "ada", |items| items[..1].to_vec()).await;
    let expected = named(
        AuditedTable::Lists,
        "ada",
        None,
        "lacks or differs in 2 of its messages",
    );
    judge(&ground, harness, expected, Then::Mended).await;
}

#[tokio::test]
async fn a_list_with_other_words_is_rebuilt() {
    let ground = Ground::new().await;
    let harness = ground.start().ready().await;
    relist(&harness, "ada", |mut items| {
        items[1].content = Content::parse("other words", 100).unwrap();
        items
    })
    .await;
    let expected = named(
        AuditedTable::Lists,
        "ada",
        None,
        "lacks or differs in 1 of its messages",
    );
    judge(&ground, harness, expected, Then::Mended).await;
}

#[tokio::test]
async fn a_list_of_another_chat_is_rebuilt() {
    let ground = Ground::new().await;
    let harness = ground.start().ready().await;
    relist(&harness, "bob", |items| items).await;
    let expected = named(
        AuditedTable::Lists,
        "bob",
        None,
        "a view of an earlier chat or of another database",
    );
    judge(&ground, harness, expected, Then::Mended).await;
}

#[tokio::test]
async fn a_list_of_a_guest_without_a_chat_is_removed() {
    let ground = Ground::new().await;
    let harness = ground.start().ready().await;
    relist(&harness, "ghost", |items| items).await;
    let expected = named(
        AuditedTable::Lists,
        "ghost",
        None,
        "there is a list, and no chat",
    );
    judge(&ground, harness, expected, Then::Mended).await;
}
