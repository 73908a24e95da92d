//! Straight at the stores: what HTTP and the queue before the database do not cost.
//!
//! A batch of writes is one transaction and one call of the lists, as in a server; there it is what has gathered, here it is
//! given. Reads follow one by one.

use super::target::OperationResult;
use super::workload::Operation;
use guestbook_core::error::Result;
use guestbook_core::{Content, GuestId, MessageId, NewMessage};
use guestbook_service::ServiceParts;
use guestbook_storage::database::{
    Batch, ChatKey, Embedding, Entry, Group, Outcome, PageRange, PageStart, Recorded,
};
use guestbook_storage::list_cache::{Append, Item, Origin};
use std::sync::Arc;
use uuid::Uuid;

/// Bytes of a text at most; those of the workload are far below.
const CONTENT_LIMIT: usize = 65_536;

/// Both stores, open in this process.
#[derive(Debug)]
pub(super) struct DirectTarget {
    pub(super) parts: ServiceParts,
    list_ttl: std::time::Duration,
}

impl DirectTarget {
    pub(super) fn new(parts: ServiceParts, list_ttl: std::time::Duration) -> Self {
        Self { parts, list_ttl }
    }

    /// How many batches are to be under way at once.
    pub(super) fn writers(&self) -> usize {
        self.parts.database.chats.writers().max(1)
    }

    pub(super) async fn perform(&self, operations: Vec<Operation>) -> OperationResult {
        let mut done = OperationResult::default();
        let (mut entries, mut reads) = (Vec::new(), Vec::new());
        for operation in operations {
            match operation {
                Operation::Read { guest } => reads.push(guest),
                Operation::Write { guest, role, text } => {
                    let message = GuestId::parse(&guest).and_then(|guest| {
                        let content = Content::parse(&text, CONTENT_LIMIT)?;
                        let id = MessageId(Uuid::now_v7());
                        let at = self.parts.clock.now();
                        Ok(NewMessage::new(id, guest, role, content, at))
                    });
                    entries.push(self.entry(message.expect("words of the workload")));
                }
            }
        }
        let count = entries.len() as u64;
        if count > 0 {
            match self.store(entries).await {
                Ok(()) => done.writes += count,
                Err(_) => done.errors += count,
            }
        }
        for guest in reads {
            match self.read(&guest).await {
                Ok(()) => done.reads += 1,
                Err(_) => done.errors += 1,
            }
        }
        done
    }

    fn entry(&self, message: NewMessage) -> Entry {
        let inline = self
            .parts
            .embedder
            .as_ref()
            .map(|embedder| embedder.inline());
        let embedding = match inline {
            None => Embedding::Off,
            Some(None) => Embedding::Pending,
            Some(Some(model)) => match model.embed_now(message.content.as_str()) {
                Ok(Some(vector)) => Embedding::Vector(vector),
                Ok(None) => Embedding::Nothing,
                Err(cause) => Embedding::Failed(cause.to_string()),
            },
        };
        Entry { message, embedding }
    }

    async fn store(&self, entries: Vec<Entry>) -> Result<()> {
        let batch = Arc::new(Batch {
            at: self.parts.clock.now(),
            groups: entries
                .into_iter()
                .map(|entry| Group(vec![entry]))
                .collect(),
            ..Batch::default()
        });
        let outcomes = self.parts.database.chats.record(Arc::clone(&batch)).await?;
        let appends = batch
            .groups
            .iter()
            .zip(&outcomes)
            .filter_map(|(group, outcome)| {
                let (entry, Outcome::Stored(recorded)) = (group.0.first()?, outcome) else {
                    return None;
                };
                self.append(entry, recorded.first()?)
            });
        self.parts.lists.apply(Arc::new(appends.collect())).await?;
        Ok(())
    }

    fn append(&self, entry: &Entry, recorded: &Recorded) -> Option<Append> {
        let (window, message) = (recorded.window?, &entry.message);
        let at = self.parts.clock.now();
        Some(Append {
            guest: message.guest.clone(),
            origin: Origin {
                epoch: self.parts.database.outbox.epoch(),
                conversation: recorded.conversation,
            },
            from: window.from,
            first: recorded.sequence,
            items: vec![Item {
                role: message.role,
                content: message.content.clone(),
                timestamp: message.sent_at,
            }],
            expires_at: at.plus(self.list_ttl),
            at,
        })
    }

    async fn read(&self, guest: &str) -> Result<()> {
        let guest = GuestId::parse(guest).expect("a guest of the workload");
        let page = PageRange {
            limit: 50,
            from: PageStart::At(0),
        };
        let now = self.parts.clock.now();
        let chat = ChatKey::Guest(guest);
        let read = self.parts.database.chats.history(&chat, page, now);
        read.await.map(drop)
    }
}
