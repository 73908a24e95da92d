//! Which window a conversation's list should have.
//!
//! Under a constant TTL the window is a function of the messages. A change of the TTL closes no window and reopens none, so
//! windows from before a change are checked less strictly: the row's window must be possible.

use super::chats::is_retired;
use super::check::AuditContext;
use guestbook_core::{Platform, Timestamp, Window, window_of};
use guestbook_storage::database::ConversationAudit;
use std::time::Duration;

/// The clock skew allowed between two nodes, one of which made the change.
const SLACK: Duration = Duration::from_secs(60);

/// The window that the list of a guest's live conversation should have now.
pub(super) fn live_window(
    conversation_audit: &ConversationAudit,
    context: &AuditContext,
) -> Option<Window> {
    let is_guest = conversation_audit.conversation.platform == Platform::Guest;
    if !is_guest || is_retired(conversation_audit, context) {
        return None;
    }
    let created = conversation_audit
        .messages
        .iter()
        .map(|message| (message.sequence, message.created_at));
    let implied = window_of(created, context.ttl())?;
    let stored = conversation_audit
        .window
        .filter(|window| window.is_live(context.now));
    let window = match is_possible(conversation_audit, stored, implied, context) {
        true => stored,
        false => Some(implied),
    };
    window.filter(|window| window.is_live(context.now))
}

/// Whether the guest of this conversation should have a list.
pub(super) fn should_be_listed(
    conversation_audit: &ConversationAudit,
    context: &AuditContext,
) -> bool {
    live_window(conversation_audit, context).is_some()
}

/// Whether a change of the TTL can have led to the row's window.
fn is_possible(
    conversation_audit: &ConversationAudit,
    stored: Option<Window>,
    implied: Window,
    context: &AuditContext,
) -> bool {
    let is_old = before_the_change(conversation_audit, context);
    let (Some(first), Some(last)) = (
        conversation_audit.messages.first(),
        conversation_audit.messages.last(),
    ) else {
        return false;
    };
    if !is_old(first.created_at) {
        return false;
    }
    let least = last.created_at.plus(context.ttl().0);
    let Some(stored) = stored else {
        return is_old(last.created_at) || least <= context.now;
    };
    // The later window begins after a silence that only one of the two TTLs ends: the silence began before the change.
    let later = stored.from.max(implied.from);
    let mut messages = conversation_audit.messages.iter();
    let before = messages.rfind(|message| message.sequence < later);
    let is_begun =
        stored.from == implied.from || before.is_some_and(|before| is_old(before.created_at));
    let in_turn = least..=least.plus(context.ttl().0);
    is_begun
        && stored.from <= last.sequence
        && (in_turn.contains(&stored.expires_at) || is_waiting(conversation_audit, context))
}

/// The messages of this conversation from before the change of the TTL.
fn before_the_change<'a>(
    conversation_audit: &ConversationAudit,
    context: &'a AuditContext,
) -> impl Fn(Timestamp) -> bool + use<'a> {
    let is_waiting = is_waiting(conversation_audit, context);
    let changed = context.settings.retimed_at.map(|at| at.plus(SLACK));
    move |at| is_waiting || changed.is_some_and(|changed| at < changed)
}

/// Whether this conversation's list still awaits its new TTL.
fn is_waiting(conversation_audit: &ConversationAudit, context: &AuditContext) -> bool {
    let retiming = context.settings.retiming;
    retiming.is_some_and(|retiming| retiming.done < Some(conversation_audit.conversation.id))
}
