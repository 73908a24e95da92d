//! Laws of erasing.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{Role, RowState};
use guestbook_storage::database::{AuditScope, Embedding, Erased, OutboxEntry};

pub async fn erase_leaves_nothing_and_repeats_as_zeros(f: &Fixture) {
    let said = f.chatter(at(0), "g1", 3).await;
    let entry = with(
        words("g1", Role::User, "four"),
        Embedding::Vector(vector(4)),
    );
    f.keep(at(4), entry).await;
    f.say(at(5), "g2", "stays").await;
    let erased = f.erase(at(6), "g1").await;
    let expected = Erased {
        conversations: 1,
        messages: 4,
        embeddings: 1,
        usage: 1,
        mappings: 4,
        prompts: 0,
    };
    assert_eq!(erased, expected);
    assert_eq!(f.history("g1", at(6)).await, None);
    let scope = AuditScope::Conversation(said[0].conversation);
    assert!(f.conversation_audits(scope).await.is_empty());
    assert_eq!(f.usage("g1").await.row, None);
    assert!(f.database.audit.orphans(ALL).await.unwrap().is_empty());
    let again = f.erase(at(7), "g1").await;
    assert_eq!(again, Erased::default());
    assert_eq!(f.messages("g2", at(7)).await.len(), 1);
    f.assert_usage_adds_up().await;
}

pub async fn erase_of_an_unknown_guest_is_zeros_and_owes_nothing(f: &Fixture) {
    let erased = f.erase(noon(), "nobody").await;
    assert_eq!(erased, Erased::default());
    assert!(f.outbox_entries(noon()).await.is_empty());
}

pub async fn an_erased_guest_begins_anew(f: &Fixture) {
    let before = f.keep(at(0), plain(repeatable(1, "g1", "hello"))).await;
    f.erase(at(1), "g1").await;
    // The id went with the message, so it is no repetition.
    let after = f.keep(at(2), plain(repeatable(1, "g1", "hello"))).await;
    assert_ne!(after.conversation, before.conversation);
    assert_eq!((after.sequence, after.replayed), (0, None));
    assert_eq!(after.conversation_row, RowState::Created);
    assert_eq!(after.usage_row, RowState::Created);
    assert_eq!(f.usage_row("g1").await.total_requests, 1);
}

pub async fn erase_owes_the_removal_of_the_list(f: &Fixture) {
    f.say(at(0), "g1", "hello").await;
    f.erase(at(1), "g1").await;
    let gone = vec![OutboxEntry::Gone(guest("g1"))];
    assert_eq!(f.outbox_entries(at(1)).await, gone);
    assert_eq!(
        f.outbox_entries(at(1)).await,
        gone,
        "a debt stays until it is paid"
    );
    let paid = f
        .database
        .outbox
        .removals_done(vec![guest("g1"), guest("g2")]);
    paid.await.unwrap();
    assert!(f.outbox_entries(at(1)).await.is_empty());
}

pub async fn a_new_message_does_not_pay_a_removal(f: &Fixture) {
    f.say(at(0), "g1", "hello").await;
    f.erase(at(1), "g1").await;
    f.say(at(2), "g1", "hello again").await;
    let outbox_entries = f.outbox_entries(at(2)).await;
    assert_eq!(outbox_entries[0], OutboxEntry::Gone(guest("g1")));
    assert!(matches!(&outbox_entries[1], OutboxEntry::Behind(row) if row.guest == guest("g1")));
    assert_eq!(outbox_entries.len(), 2);
}

pub async fn erase_spares_what_the_same_id_owns_as_a_user(f: &Fixture) {
    f.say(at(0), "g1", "one two three").await;
    f.migrate(at(1), "g1", "both").await;
    f.chatter(at(2), "both", 2).await;
    assert_eq!(f.usage_row("both").await.total_requests, 3);
    let erased = f.erase(at(5), "both").await;
    assert_eq!((erased.messages, erased.usage), (2, 0));
    let usage = f.usage_row("both").await;
    assert_eq!((usage.total_requests, usage.total_input_tokens), (1, 3));
    f.assert_usage_adds_up().await;
    let again = f.erase(at(6), "both").await;
    assert_eq!(again, Erased::default());
    assert_eq!(f.usage_row("both").await, usage);
}

pub async fn erase_keeps_the_count_of_entries_true(f: &Fixture) {
    f.chatter(at(0), "g1", 3).await;
    f.chatter(at(3), "g2", 2).await;
    let later = noon().plus(HOUR * 5);
    f.erase(later, "g1").await;
    let metrics = f.database.audit.metrics_audit().await.unwrap();
    assert_eq!((metrics.entries, metrics.messages), (2, 2));
    assert_eq!(metrics.requests, 5, "what was counted stays counted");
}
