//! Laws of signing up.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{Platform, Role, RowState, Usage};
use guestbook_storage::database::{AuditScope, Migrated, OutboxEntry, UsageAudit};

pub async fn a_migrated_chat_is_the_users(f: &Fixture) {
    let said = f.chatter(at(0), "g1", 3).await;
    let before = f.history("g1", at(3)).await.unwrap();
    let moved = Migrated {
        conversations: 1,
        messages: 3,
    };
    assert_eq!(f.migrate(at(4), "g1", "u1").await, moved);
    let conversation = only(f.owned("u1", None, 10).await);
    let mut expected = before.conversation;
    expected.owner = owner("u1");
    expected.platform = Platform::Authenticated;
    assert_eq!(conversation, expected);
    let conversation_audit = f.conversation_audit(said[0].conversation).await;
    assert_eq!(
        (conversation_audit.window, conversation_audit.messages.len()),
        (None, 3)
    );
}

pub async fn migrating_again_is_zeros(f: &Fixture) {
    f.chatter(at(0), "g1", 2).await;
    f.migrate(at(2), "g1", "u1").await;
    let usage = f.usage("u1").await;
    assert_eq!(f.migrate(at(3), "g1", "u1").await, Migrated::default());
    assert_eq!(f.migrate(at(3), "nobody", "u1").await, Migrated::default());
    assert_eq!(f.usage("u1").await, usage);
    assert_eq!(f.usage("nobody").await.row, None);
}

pub async fn migrate_keeps_every_counter(f: &Fixture) {
    for (name, words_each) in [("g1", "a b"), ("g2", "c d e")] {
        f.say(at(0), name, words_each).await;
        let answer = plain(words(name, Role::Assistant, "yes of course"));
        f.keep(at(1), answer).await;
    }
    f.migrate(at(2), "g1", "u1").await;
    f.migrate(at(3), "g2", "u1").await;
    let expected = Usage {
        total_requests: 4,
        cache_hits: 0,
        cache_misses: 4,
        lookup_misses: 0,
        tokens_saved: 0,
        total_input_tokens: 5,
        total_output_tokens: 6,
        monthly_requests_used: 4,
        updated_at: at(3),
    };
    assert_eq!(f.usage_row("u1").await, expected);
    assert_eq!(f.usage("g1").await.row, None);
    assert_eq!(f.usage("g2").await.row, None);
    f.assert_usage_adds_up().await;
}

pub async fn migrate_leaves_the_requests_of_another_month_behind(f: &Fixture) {
    f.chatter(time("2100-06-30T23:59:00Z"), "g1", 3).await;
    f.chatter(time("2100-06-30T23:59:00Z"), "g2", 2).await;
    f.migrate(time("2100-06-30T23:59:59Z"), "g1", "u1").await;
    assert_eq!(f.usage_row("u1").await.monthly_requests_used, 3);
    f.migrate(time("2100-07-01T00:00:00Z"), "g2", "u1").await;
    let usage = f.usage_row("u1").await;
    assert_eq!((usage.total_requests, usage.monthly_requests_used), (5, 0));
}

pub async fn migrating_to_the_same_id_keeps_the_counters(f: &Fixture) {
    f.chatter(at(0), "same", 3).await;
    let before = f.usage_row("same").await;
    assert_eq!(f.migrate(at(4), "same", "same").await.messages, 3);
    assert_eq!(f.usage_row("same").await, before);
    f.say(at(5), "same", "as a guest once more").await;
    assert_eq!(f.usage_row("same").await.total_requests, 4);
    f.assert_usage_adds_up().await;
}

pub async fn migrating_a_guest_who_is_also_a_user_takes_only_the_guests_part(f: &Fixture) {
    f.chatter(at(0), "g1", 2).await;
    f.migrate(at(2), "g1", "both").await;
    f.chatter(at(3), "both", 3).await;
    f.migrate(at(6), "both", "u1").await;
    assert_eq!(f.usage_row("both").await.total_requests, 2);
    assert_eq!(f.usage_row("u1").await.total_requests, 3);
    f.assert_usage_adds_up().await;
}

pub async fn migrated_mappings_change_owner_and_are_not_synced(f: &Fixture) {
    let said = f.chatter(at(0), "g1", 2).await;
    f.mark_synced(at(2), &said).await;
    assert_eq!(f.synced(said[0].conversation).await, [0, 1]);
    f.migrate(at(3), "g1", "u1").await;
    for message in f.conversation_audit(said[0].conversation).await.messages {
        let mapping = message.mapping.unwrap();
        assert_eq!((mapping.owner, mapping.is_synced), (owner("u1"), false));
    }
}

pub async fn a_migrated_list_is_owed_its_removal_and_nothing_else(f: &Fixture) {
    let said = f.chatter(at(0), "g1", 2).await;
    f.migrate(at(3), "g1", "u1").await;
    assert_eq!(
        f.outbox_entries(at(3)).await,
        [OutboxEntry::Gone(guest("g1"))]
    );
    let row = f
        .database
        .outbox
        .list_row(&guest("g1"), at(3))
        .await
        .unwrap();
    assert_eq!(row, None);
    // A list write that is noted late does not make a user's message synced.
    f.mark_synced(at(4), &said).await;
    assert!(f.synced(said[0].conversation).await.is_empty());
}

pub async fn a_migrated_guest_begins_anew(f: &Fixture) {
    let before = f.say(at(0), "g1", "hello").await;
    f.migrate(at(1), "g1", "u1").await;
    let after = f.say(at(2), "g1", "hello").await;
    assert_ne!(after.conversation, before.conversation);
    assert_eq!(after.sequence, 0);
    assert_eq!(after.conversation_row, RowState::Created);
    assert_eq!(after.usage_row, RowState::Created);
    let begun = f.conversation_audits(AuditScope::Guest(guest("g1"))).await;
    assert_eq!(begun.len(), 2, "both were begun by this guest");
}

pub async fn a_message_is_replayed_also_after_its_migration(f: &Fixture) {
    use guestbook_core::ListState;
    let first = f.keep(at(0), plain(repeatable(1, "g1", "hello"))).await;
    f.migrate(at(1), "g1", "u1").await;
    let again = f.keep(at(2), plain(repeatable(1, "g1", "hello"))).await;
    assert_eq!(again.conversation, first.conversation);
    assert_eq!(again.replayed, Some(ListState::Expired));
    assert_eq!(f.history("g1", at(2)).await, None);
}

pub async fn a_failed_migration_moves_nothing(f: &Fixture) {
    f.chatter(at(0), "g1", 2).await;
    let before = f.history("g1", at(2)).await;
    let (from, to) = (guest("g1"), owner("u1"));
    let noted = f
        .database
        .chats
        .migration_failed(&from, &to, at(2), "no luck");
    noted.await.unwrap();
    assert_eq!(f.history("g1", at(2)).await, before);
    let nothing = UsageAudit {
        owner: to,
        row: None,
        counted: Usage::default(),
    };
    assert_eq!(f.usage("u1").await, nothing);
}
