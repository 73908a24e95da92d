//! Reading, deleting and signing up.

use super::Service;
use super::ingest::Operation;
use guestbook_core::error::Result;
use guestbook_core::{Conversation, ConversationId, GuestId, OwnerId};
use guestbook_storage::database::{Erased, Migrated};

/// What a deletion removed.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// Rows per table.
    pub erased: Erased,
    /// The stores that hold no data of the guest any more.
    pub deleted_from: Vec<&'static str>,
}

impl Service {
    /// The conversations of a signed-in user, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn conversations(
        &self,
        user: &OwnerId,
        before: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Conversation>> {
        self.stores().chats.conversations(user, before, limit).await
    }

    /// Erases everything of a guest from every store; idempotent.
    ///
    /// # Errors
    /// Those of the database; nothing was erased then.
    pub async fn delete(&self, guest: GuestId) -> Result<Deleted> {
        let erasure = self.change(guest, Operation::Erase).await?;
        let lists = erasure.list_removed.then(|| self.0.parts.lists.name());
        Ok(Deleted {
            erased: erasure.erased,
            deleted_from: lists
                .into_iter()
                .chain([self.stores().backend.name()])
                .collect(),
        })
    }

    /// Migrates a guest's chat to a user in one transaction. A failed attempt is recorded in `cache_migrations` too.
    ///
    /// # Errors
    /// Those of the database; nothing was moved then.
    pub async fn migrate(&self, guest: GuestId, user: OwnerId) -> Result<Migrated> {
        let migrate = |request| Operation::Migrate(request, user);
        self.change(guest, migrate).await
    }
}
