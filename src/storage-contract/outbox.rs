//! Laws of the outbox entries.

use crate::Fixture;
use crate::words::*;
use guestbook_storage::database::{Batch, ListRow, OutboxEntry};
use std::sync::Arc;
use uuid::Uuid;

fn behind(outbox_entry: &OutboxEntry) -> &ListRow {
    match outbox_entry {
        OutboxEntry::Behind(row) => row,
        OutboxEntry::Gone(guest) => panic!("not behind, but gone: {guest}"),
    }
}

pub async fn is_synced_only_after_mark_synced(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 3).await;
    let conversation = said[0].conversation;
    assert!(f.synced(conversation).await.is_empty());
    f.mark_synced(at(3), &said[..2]).await;
    assert_eq!(f.synced(conversation).await, [0, 1]);
    f.mark_synced(at(4), &said).await;
    assert_eq!(f.synced(conversation).await, [0, 1, 2]);
}

pub async fn what_is_synced_rides_on_a_batch(f: &Fixture) {
    let first = f.say(at(0), "g1", "one").await;
    let groups = vec![group([repeatable(1, "g1", "two")])];
    let carrying = Batch {
        synced_ranges: vec![synced_range(&first)],
        ..Arc::unwrap_or_clone(batch(at(1), groups))
    };
    f.database.chats.record(Arc::new(carrying)).await.unwrap();
    assert_eq!(f.synced(first.conversation).await, [0]);
    assert_eq!(behind(&only(f.outbox_entries(at(1)).await)).next, 2);
}

pub async fn an_outbox_entry_stands_until_everything_is_synced(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 3).await;
    let row = ListRow {
        guest: guest("g1"),
        conversation: said[0].conversation,
        window: said[2].window.unwrap(),
        next: 3,
        synced: 0,
    };
    assert_eq!(
        f.outbox_entries(at(3)).await,
        [OutboxEntry::Behind(row.clone())]
    );
    f.mark_synced(at(3), &said[..2]).await;
    let row = ListRow { synced: 2, ..row };
    assert_eq!(f.outbox_entries(at(3)).await, [OutboxEntry::Behind(row)]);
    f.mark_synced(at(3), &said).await;
    assert!(f.outbox_entries(at(3)).await.is_empty());
    // An older note that comes late does not bring the outbox entry back.
    f.mark_synced(at(3), &said[..1]).await;
    assert!(f.outbox_entries(at(3)).await.is_empty());
    f.say(at(4), "g1", "more").await;
    assert_eq!(f.outbox_entries(at(4)).await.len(), 1);
}

pub async fn outbox_entries_come_page_by_page_in_order(f: &Fixture) {
    let mut owing = Vec::new();
    for i in 0..7 {
        owing.push(f.say(noon(), &format!("g{i}"), "hello").await.conversation);
    }
    owing.sort();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = f
            .database
            .outbox
            .outbox_entries(after, noon(), 3)
            .await
            .unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(behind(last).conversation);
        seen.extend(
            page.iter()
                .map(|outbox_entry| behind(outbox_entry).conversation),
        );
    }
    assert_eq!(seen, owing);
}

pub async fn removals_come_first_and_count_for_the_limit(f: &Fixture) {
    for name in ["g1", "g2", "g3", "g4"] {
        f.say(noon(), name, "hello").await;
    }
    f.erase(at(1), "g3").await;
    f.migrate(at(1), "g4", "u1").await;
    let page = f
        .database
        .outbox
        .outbox_entries(None, at(1), 3)
        .await
        .unwrap();
    assert_eq!(page.len(), 3);
    assert!(page[..2].contains(&OutboxEntry::Gone(guest("g3"))));
    assert!(page[..2].contains(&OutboxEntry::Gone(guest("g4"))));
    assert!(matches!(page[2], OutboxEntry::Behind(_)));
}

pub async fn list_rows_are_every_live_list_in_order(f: &Fixture) {
    for i in 0..5 {
        f.say(at(i * 10), &format!("g{i}"), "hello").await;
    }
    let now = at(15).plus(TTL);
    let all = f.database.outbox.list_rows(None, now, ALL).await.unwrap();
    let mut guests: Vec<_> = all.iter().map(|row| row.guest.to_string()).collect();
    guests.sort();
    assert_eq!(guests, ["g2", "g3", "g4"]);
    assert!(all.is_sorted_by_key(|row| row.conversation));
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = f.database.outbox.list_rows(after, now, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.conversation);
        seen.extend(page);
    }
    assert_eq!(seen, all);
    for row in all {
        let one = f.database.outbox.list_row(&row.guest, now).await.unwrap();
        assert_eq!(one, Some(row));
    }
}

pub async fn the_lists_incarnation_is_remembered(f: &Fixture) {
    let database = &f.database;
    assert_eq!(database.outbox.lists_incarnation().await.unwrap(), None);
    for _ in 0..2 {
        let incarnation = Uuid::now_v7();
        database
            .outbox
            .set_lists_incarnation(incarnation)
            .await
            .unwrap();
        let remembered = database.outbox.lists_incarnation().await.unwrap();
        assert_eq!(remembered, Some(incarnation));
    }
}

pub async fn the_epoch_stays(f: &Fixture) {
    let epoch = f.database.outbox.epoch();
    f.say(noon(), "g1", "hello").await;
    f.erase(at(1), "g1").await;
    assert_eq!(f.database.outbox.epoch(), epoch);
    assert!(!epoch.is_nil());
}

pub async fn what_is_synced_includes_everything_before_it(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 3).await;
    // The notes of the first two were lost with the process that held them.
    f.mark_synced(at(4), &said[2..]).await;
    assert_eq!(f.synced(said[0].conversation).await, [0, 1, 2]);
    assert!(f.outbox_entries(at(4)).await.is_empty());
}
