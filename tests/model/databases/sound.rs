//! What must be true of one side alone.

use guestbook::core::{Timestamp, Usage, chain_link, chain_start};
use guestbook::storage::database::{ConversationAudit, UsageAudit};

/// Sums have no month and no time of change.
pub(super) fn usage(mut audit: UsageAudit) -> UsageAudit {
    audit.counted.monthly_requests_used = 0;
    audit.counted.updated_at = Timestamp::default();
    audit
}

pub(super) fn counters(usage: &Usage) -> [u64; 4] {
    [
        usage.total_requests,
        usage.cache_misses,
        usage.total_input_tokens,
        usage.total_output_tokens,
    ]
}

/// A conversation agrees with its messages: dense sequences, counters, hash chain, mappings, and synced only in the window.
pub(super) fn assert_sound(conversation_audit: &ConversationAudit) {
    let conversation = &conversation_audit.conversation;
    let mut head = chain_start(conversation.id);
    for (n, message) in conversation_audit.messages.iter().enumerate() {
        let (role, hash) = (message.role.unwrap(), message.found_hash);
        assert_eq!(message.sequence, n as u64, "{conversation_audit:#?}");
        assert_eq!(message.stored_hash, Some(hash), "{conversation_audit:#?}");
        head = chain_link(head, message.sequence, role, hash, message.sent_at);
        let mapping = message.mapping.as_ref().unwrap();
        assert_eq!(mapping.owner, conversation.owner, "{conversation_audit:#?}");
        let in_window = conversation_audit
            .window
            .is_some_and(|w| w.from <= message.sequence);
        assert!(in_window || !mapping.is_synced, "{conversation_audit:#?}");
    }
    let tokens: u64 = conversation_audit
        .messages
        .iter()
        .map(|m| m.found_tokens)
        .sum();
    assert_eq!(conversation.hash, head.to_hex(), "{conversation_audit:#?}");
    assert_eq!(
        conversation.message_count,
        conversation_audit.messages.len() as u64
    );
    assert_eq!(conversation.total_tokens, tokens, "{conversation_audit:#?}");
}
