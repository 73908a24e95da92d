//! Repairs derived data. A message is never touched.

use super::error::Attempt;
use super::rows::{int, moment};
use super::session::{BeginMode, EndMode, PooledConnection, statement};
use super::{PostgresDatabase, sql};
use guestbook_core::{ConversationId, Timestamp, Window};
use guestbook_storage::database::{Orphan, Repair, UsageAudit};
use uuid::Uuid;

impl PostgresDatabase {
    pub(super) async fn repair_all(&self, repairs: &[Repair], at: Timestamp) -> Attempt<()> {
        let mut session = self.session().await?;
        session
            .transact(BeginMode::LongWrite, &[], EndMode::Open)
            .await?;
        for repair in repairs {
            self.repair_one(&mut session, repair, at).await?;
        }
        session.go_on(&[], EndMode::Commit).await?;
        Ok(())
    }

    async fn repair_one(
        &self,
        session: &mut PooledConnection,
        repair: &Repair,
        at: Timestamp,
    ) -> Attempt<()> {
        let moment = moment(at);
        match repair {
            Repair::Counters {
                conversation,
                hash,
                message_count,
                total_tokens,
            } => {
                let (id, count, tokens) = (
                    conversation.to_string(),
                    int(*message_count),
                    int(*total_tokens),
                );
                let set = statement!(sql::REPAIR_COUNTERS;
                    id => TEXT, count => INT8, tokens => INT8, hash => TEXT);
                session.go_on(&[set], EndMode::Open).await?;
            }
            Repair::Window {
                conversation,
                hash,
                window,
            } => repair_window(session, *conversation, hash, *window).await?,
            Repair::Usage(audit) => repair_usage(session, audit, at).await?,
            Repair::Mapping {
                message,
                owner,
                is_synced,
            } => {
                let (id, owner, backend) = (
                    message.to_string(),
                    owner.as_str(),
                    self.held().tables.cache_backend,
                );
                let put = statement!(sql::REPAIR_MAPPING; id => TEXT, owner => TEXT, backend => TEXT,
                    *is_synced => BOOL, moment => TIMESTAMPTZ);
                session.go_on(&[put], EndMode::Open).await?;
            }
            Repair::Orphan(orphan) => repair_orphan(session, orphan).await?,
            Repair::Metrics => {
                let repairs = [
                    statement!(sql::REPAIR_HOURS),
                    statement!(sql::REPAIR_ENTRIES),
                ];
                session.go_on(&repairs, EndMode::Open).await?;
            }
        }
        Ok(())
    }
}

async fn repair_window(
    session: &mut PooledConnection,
    conversation: ConversationId,
    hash: &str,
    window: Option<Window>,
) -> Attempt<()> {
    let (id, from) = (
        conversation.to_string(),
        int(window.map_or(0, |window| window.from)),
    );
    let expires_at = window.map(|window| moment(window.expires_at));
    let set = statement!(sql::REPAIR_WINDOW;
        id => TEXT, from => INT8, expires_at => TIMESTAMPTZ, hash => TEXT);
    session.go_on(&[set], EndMode::Open).await.map(drop)
}

async fn repair_usage(
    session: &mut PooledConnection,
    audit: &UsageAudit,
    at: Timestamp,
) -> Attempt<()> {
    let (owner, counted, at) = (audit.owner.as_str(), &audit.counted, moment(at));
    if counted.total_requests == 0 {
        let delete = [statement!(sql::USAGE_DELETE; owner => TEXT)];
        return session.go_on(&delete, EndMode::Open).await.map(drop);
    }
    let id = Uuid::now_v7().to_string();
    let (requests, misses) = (int(counted.total_requests), int(counted.cache_misses));
    let (input, output) = (
        int(counted.total_input_tokens),
        int(counted.total_output_tokens),
    );
    let put = statement!(sql::REPAIR_USAGE; id => TEXT, owner => TEXT, requests => INT8, misses => INT8,
        input => INT8, output => INT8, at => TIMESTAMPTZ);
    session.go_on(&[put], EndMode::Open).await.map(drop)
}

async fn repair_orphan(session: &mut PooledConnection, orphan: &Orphan) -> Attempt<()> {
    let sql = match orphan.table {
        "cache_embeddings" => sql::VECTORS_DELETE,
        "embedding_notes" => sql::NOTES_DELETE,
        "cache_content_mapping" => sql::MAPPINGS_DELETE,
        _ => return Ok(()), // a message or a conversation is not derived from anything, so it is never removed
    };
    let ids = vec![orphan.id.as_str()];
    session
        .go_on(&[statement!(sql; ids => TEXT_ARRAY)], EndMode::Open)
        .await
        .map(drop)
}
