//! What must be true of one side alone.

use guestbook::core::{Timestamp, Usage, chain_link, chain_start};
use guestbook::storage::database::{Dossier, UsageAudit};

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
pub(super) fn assert_sound(dossier: &Dossier) {
    let conversation = &dossier.conversation;
    let mut head = chain_start(conversation.id);
    for (n, message) in dossier.messages.iter().enumerate() {
        let (role, hash) = (message.role.unwrap(), message.found_hash);
        assert_eq!(message.sequence, n as u64, "{dossier:#?}");
        assert_eq!(message.stored_hash, Some(hash), "{dossier:#?}");
        head = chain_link(head, message.sequence, role, hash, message.sent_at);
        let mapping = message.mapping.as_ref().unwrap();
        assert_eq!(mapping.owner, conversation.owner, "{dossier:#?}");
        let in_window = dossier.window.is_some_and(|w| w.from <= message.sequence);
        assert!(in_window || !mapping.is_synced, "{dossier:#?}");
    }
    let tokens: u64 = dossier.messages.iter().map(|m| m.found_tokens).sum();
    assert_eq!(conversation.hash, head.to_hex(), "{dossier:#?}");
    assert_eq!(conversation.message_count, dossier.messages.len() as u64);
    assert_eq!(conversation.total_tokens, tokens, "{dossier:#?}");
}
