//! Laws of time: lists that expire after a silence.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{ListState, Timestamp, Window};
use guestbook_storage::database::ListRow;
use std::time::Duration;

const INSTANT: Duration = Duration::from_millis(1);

impl Fixture {
    async fn list_row(&self, name: &str, now: Timestamp) -> Option<ListRow> {
        self.database
            .outbox
            .list_row(&guest(name), now)
            .await
            .unwrap()
    }
}

pub async fn each_message_prolongs_the_list(f: &Fixture) {
    f.say(at(0), "g1", "one").await;
    let almost = noon().plus(TTL - INSTANT);
    let second = f.say(almost, "g1", "two").await;
    let window = Window {
        from: 0,
        expires_at: almost.plus(TTL),
    };
    assert_eq!(second.window, Some(window));
    let row = f.list_row("g1", noon().plus(TTL)).await.unwrap();
    assert_eq!((row.window, row.next), (window, 2));
    assert_eq!(row.conversation, second.conversation);
}

pub async fn a_silence_of_the_ttl_starts_the_list_anew(f: &Fixture) {
    f.chatter(at(0), "g1", 2).await;
    let expiry = at(1).plus(TTL);
    assert_eq!(f.list_row("g1", expiry).await, None);
    let after = f.say(expiry, "g1", "I am back").await;
    assert_eq!(after.sequence, 2, "the conversation goes on");
    let window = Window {
        from: 2,
        expires_at: expiry.plus(TTL),
    };
    assert_eq!(after.window, Some(window));
    assert_eq!(
        f.conversation_audit(after.conversation).await.window,
        Some(window)
    );
}

pub async fn a_list_begun_anew_has_lost_the_older_messages(f: &Fixture) {
    let said = f.chatter(at(0), "g1", 2).await;
    f.mark_synced(at(2), &said).await;
    let after = f.say(at(1).plus(TTL), "g1", "I am back").await;
    assert!(f.synced(after.conversation).await.is_empty());
    // A write to the old list, noted late, speaks of a list that is gone.
    f.mark_synced(after.window.unwrap().expires_at, &said).await;
    assert!(f.synced(after.conversation).await.is_empty());
    f.mark_synced(at(1).plus(TTL), std::slice::from_ref(&after))
        .await;
    assert_eq!(f.synced(after.conversation).await, [2]);
}

pub async fn a_list_is_live_until_its_expiry_and_not_at_it(f: &Fixture) {
    let said = f.say(noon(), "g1", "hello").await;
    let expiry = said.window.unwrap().expires_at;
    let just_before = noon().plus(TTL - INSTANT);
    assert!(f.list_row("g1", just_before).await.is_some());
    assert_eq!(f.outbox_entries(just_before).await.len(), 1);
    assert_eq!(f.list_row("g1", expiry).await, None);
    assert!(f.outbox_entries(expiry).await.is_empty());
    let rows = f
        .database
        .outbox
        .list_rows(None, expiry, ALL)
        .await
        .unwrap();
    assert!(rows.is_empty());
    assert!(f.history("g1", expiry).await.is_some(), "the chat stays");
}

pub async fn an_expired_list_is_no_longer_synced(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 3).await;
    f.mark_synced(at(3), &said).await;
    let expiry = said[2].window.unwrap().expires_at;
    let conversation = said[0].conversation;
    assert_eq!(f.database.outbox.lapse(at(3), ALL).await.unwrap(), 0);
    assert_eq!(f.synced(conversation).await, [0, 1, 2]);
    assert_eq!(f.database.outbox.lapse(expiry, ALL).await.unwrap(), 1);
    assert!(f.synced(conversation).await.is_empty());
    assert_eq!(f.conversation_audit(conversation).await.window, None);
    assert_eq!(f.database.outbox.lapse(expiry, ALL).await.unwrap(), 0);
    f.mark_synced(expiry, &said).await;
    assert!(f.synced(conversation).await.is_empty());
}

pub async fn an_expired_list_begins_anew_with_the_next_message(f: &Fixture) {
    let first = f.say(noon(), "g1", "hello").await;
    let expiry = first.window.unwrap().expires_at;
    f.database.outbox.lapse(expiry, ALL).await.unwrap();
    let next = f.say(expiry, "g1", "again").await;
    assert_eq!(next.window.unwrap().from, 1);
    assert_eq!(f.outbox_entries(expiry).await.len(), 1);
}

pub async fn lapse_takes_at_most_what_it_is_asked_for(f: &Fixture) {
    for name in ["g1", "g2", "g3"] {
        f.say(noon(), name, "hello").await;
    }
    f.say(at(10), "g4", "I live longer").await;
    let expiry = noon().plus(TTL);
    assert_eq!(f.database.outbox.lapse(expiry, 2).await.unwrap(), 2);
    assert_eq!(f.database.outbox.lapse(expiry, 2).await.unwrap(), 1);
    assert_eq!(f.database.outbox.lapse(expiry, 2).await.unwrap(), 0);
    assert!(f.list_row("g4", expiry).await.is_some());
}

pub async fn a_replay_tells_what_its_list_has_now(f: &Fixture) {
    let replay = async |now| {
        let again = f.keep(now, plain(repeatable(1, "g1", "hello"))).await;
        again.replayed
    };
    let first = f.keep(noon(), plain(repeatable(1, "g1", "hello"))).await;
    assert_eq!(replay(at(1)).await, Some(ListState::Pending));
    f.mark_synced(at(2), &[first]).await;
    assert_eq!(replay(at(3)).await, Some(ListState::Stored));
    // A replay is no new message: it does not prolong the list.
    let expiry = noon().plus(TTL);
    assert_eq!(replay(expiry).await, Some(ListState::Expired));
    f.say(expiry, "g1", "I am back").await;
    assert_eq!(replay(expiry).await, Some(ListState::Expired));
}
