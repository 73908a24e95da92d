//! Erases chats with all their derived rows, any number at once.

use super::error::Attempt;
use super::first_count;
use super::rows::moment;
use super::session::{EndMode, PooledConnection, statement};
use super::{PostgresDatabase, prompts, sql};
use guestbook_core::{ConversationId, OwnerId, Timestamp};
use guestbook_storage::database::Erased;
use uuid::Uuid;

/// Chats to erase; the transaction has locked their rows.
#[derive(Debug, Default)]
pub(super) struct LockedChats {
    ids: Vec<String>,
    owners: Vec<String>,
}

impl LockedChats {
    pub(super) fn add(&mut self, id: ConversationId, owner: &OwnerId) {
        self.ids.push(id.to_string());
        self.owners.push(owner.as_str().to_owned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Erases them, and turns the removal of their lists into outbox entries; one round trip.
    pub(super) async fn erase(
        &self,
        database: &PostgresDatabase,
        session: &mut PooledConnection,
        at: Timestamp,
        end: EndMode,
    ) -> Attempt<Erased> {
        let (hour, at) = (moment(at.hour()), moment(at));
        let (id, part) = (Uuid::now_v7().to_string(), database.part());
        let megabytes = database.megabytes();
        let scopes: Vec<_> = self
            .owners
            .iter()
            .map(|guest| prompts::scope_of(guest))
            .collect();
        session.take_time();
        let statements = [
            statement!(sql::TAKE_TIME),
            statement!(sql::MESSAGES_LOCK; self.ids => TEXT_ARRAY),
            statement!(sql::USAGE_LOCK; self.owners => TEXT_ARRAY),
            statement!(sql::USAGE_SUBTRACT;
                self.ids => TEXT_ARRAY, self.owners => TEXT_ARRAY, at => TIMESTAMPTZ),
            statement!(sql::USAGE_ERASE; self.owners => TEXT_ARRAY),
            statement!(sql::VECTORS_ERASE; self.ids => TEXT_ARRAY),
            statement!(sql::NOTES_ERASE; self.ids => TEXT_ARRAY),
            statement!(sql::MAPPINGS_ERASE; self.ids => TEXT_ARRAY),
            statement!(sql::REMOVALS_ADD; self.owners => TEXT_ARRAY, at => TIMESTAMPTZ),
            statement!(sql::PROMPTS_ERASE; scopes => TEXT_ARRAY),
            statement!(sql::MESSAGES_ERASE; self.ids => TEXT_ARRAY, id => TEXT, hour => TIMESTAMPTZ,
                part => INT4, megabytes => FLOAT8),
            statement!(sql::CHATS_ERASE; self.ids => TEXT_ARRAY),
        ];
        guestbook_failpoint::reach("erase.mid");
        let rows = session.go_on(&statements, end).await?;
        Ok(Erased {
            usage: first_count(&rows[4])?,
            embeddings: first_count(&rows[5])?,
            mappings: first_count(&rows[7])?,
            prompts: first_count(&rows[9])?,
            messages: first_count(&rows[10])?,
            conversations: first_count(&rows[11])?,
        })
    }
}
