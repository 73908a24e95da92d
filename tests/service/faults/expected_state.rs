//! What was promised to the clients of a workload, and whether it was kept.

use guestbook::core::error::Result;
use guestbook::core::{ConversationId, GuestId, MessageId, NewMessage};
use guestbook::service::GroupOutcome;
use guestbook::storage::database::AuditScope;
use guestbook_testkit::service_harness::ServiceHarness;
use guestbook_testkit::service_harness::words::{alone, saved};
use std::collections::{HashMap, HashSet};

/// Where a message is, as it was answered.
type Place = (ConversationId, u64);

/// Promises.
#[derive(Debug, Default)]
pub(crate) struct ExpectedState {
    saved: HashMap<MessageId, (NewMessage, Place)>,
    refused: HashMap<MessageId, NewMessage>,
    /// Saved, and then covered by an erasure that was answered.
    gone: HashSet<MessageId>,
    /// Saved, and then covered by an erasure whose outcome is not known.
    doubtful: HashSet<MessageId>,
    /// Requests that were answered with an error.
    pub(crate) failures: Vec<String>,
}

impl ExpectedState {
    /// Notes the answers to a request of one message per group.
    pub(crate) fn answered(
        &mut self,
        messages: Vec<NewMessage>,
        answers: Result<Vec<GroupOutcome>>,
    ) {
        let answers = match answers {
            Ok(answers) => answers,
            Err(cause) => messages
                .iter()
                .map(|_| GroupOutcome::Failed(cause.clone()))
                .collect(),
        };
        assert_eq!(answers.len(), messages.len(), "an answer for each");
        for (message, answer) in messages.into_iter().zip(answers) {
            if let GroupOutcome::Failed(cause) = &answer {
                self.failures.push(format!("store: {cause}"));
                self.refused.insert(message.id, message);
                continue;
            }
            let recorded = &saved(&answer)[0].recorded;
            assert_eq!(recorded.id, message.id);
            let place = (recorded.conversation, recorded.sequence);
            self.refused.remove(&message.id);
            let before = self.saved.insert(message.id, (message, place));
            if let Some((message, before)) = before {
                assert_eq!(
                    before, place,
                    "a replay of {} found another place",
                    message.id
                );
            }
        }
    }

    /// Notes the answer to an erasure, or the passing of retention.
    pub(crate) fn erased(&mut self, guest: &GuestId, answer: std::result::Result<(), String>) {
        let ours = |(message, _): &&(NewMessage, Place)| message.guest == *guest;
        let ids = self
            .saved
            .values()
            .filter(ours)
            .map(|(message, _)| message.id);
        match answer {
            Ok(()) => self.gone.extend(ids),
            Err(cause) => {
                self.doubtful.extend(ids);
                self.failures.push(format!("erase: {cause}"));
            }
        }
    }

    /// Nothing that was refused is there, not even in part.
    pub(crate) async fn assert_refused_is_absent(&self, harness: &ServiceHarness, context: &str) {
        let found = found(harness).await;
        // A repetition may be refused of what was saved before.
        let new = |id: &&MessageId| !self.saved.contains_key(id);
        for id in self.refused.keys().filter(new) {
            assert!(
                !found.contains_key(id),
                "{context}: {id} was refused, and is there"
            );
        }
    }

    /// Every refused message is sent once more, and saved.
    pub(crate) async fn retry(&mut self, harness: &ServiceHarness, context: &str) {
        let refused: Vec<_> = self.refused.values().cloned().collect();
        for message in refused {
            let answers = harness.service.store(alone(message.clone())).await;
            self.answered(vec![message], answers);
        }
        assert!(self.refused.is_empty(), "{context}: {:?}", self.failures);
    }

    /// Everything that was saved is there once, where it was said to be; what was erased is not.
    pub(crate) async fn assert_kept(&self, harness: &ServiceHarness, context: &str) {
        let found = found(harness).await;
        for (id, (message, place)) in &self.saved {
            let expected = match self.gone.contains(id) {
                true => Vec::new(),
                false => vec![*place],
            };
            let there = found.get(id).cloned().unwrap_or_default();
            if self.doubtful.contains(id) && there.is_empty() {
                continue;
            }
            let text = message.content.as_str();
            assert_eq!(there, expected, "{context}: {} says {text}", message.guest);
        }
        let known = |id: &&MessageId| self.saved.contains_key(id);
        let stranger = found.keys().find(|id| !known(id));
        assert_eq!(
            stranger, None,
            "{context}: a message that nobody was told of"
        );
    }
}

/// Every message in the tables, with every place where it is.
async fn found(harness: &ServiceHarness) -> HashMap<MessageId, Vec<Place>> {
    let mut found: HashMap<MessageId, Vec<Place>> = HashMap::new();
    let everything = harness
        .database
        .audit
        .conversation_audits(AuditScope::AllAfter(None), 1_000_000);
    for conversation_audit in everything.await.unwrap().conversation_audits {
        for message in conversation_audit.messages {
            let place = (conversation_audit.conversation.id, message.sequence);
            found.entry(message.id).or_default().push(place);
        }
    }
    found
}
