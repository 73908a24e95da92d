//! The reads of verify, and the repairs of derived data.

use super::rows::{Id, Time};
use super::{SqliteDatabase, rows, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    ConversationId, Digest, EmbeddingState, MessageId, OwnerId, Role, Timestamp, Usage, Window,
    content_hash, tokens,
};
use guestbook_storage::database::{
    Audit, AuditScope, AuditedMessage, ConversationAudit, ConversationAuditPage, FoundMapping,
    FoundVector, MetricsAudit, Orphan, Repair, TableSettings, UsageAudit,
};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

/// The queries for rows without an owner.
const ORPHANAGES: [(&str, &str); 5] = [
    ("conversation_cache", sql::EMPTY_CONVERSATIONS),
    ("message_cache", sql::ORPHANED_MESSAGES),
    ("cache_embeddings", sql::ORPHANED_VECTORS),
    ("embedding_notes", sql::ORPHANED_NOTES),
    ("cache_content_mapping", sql::ORPHANED_MAPPINGS),
];

#[async_trait]
impl Audit for SqliteDatabase {
    async fn conversation_audits(
        &self,
        scope: AuditScope,
        messages: usize,
    ) -> Result<ConversationAuditPage> {
        self.read_long("dossiers", move |tx| {
            conversation_audits(tx, &scope, messages)
        })
        .await
    }

    async fn usage_audits(&self, after: Option<&OwnerId>, limit: usize) -> Result<Vec<UsageAudit>> {
        let after = after.map_or_else(String::new, |owner| owner.as_str().to_owned());
        self.read_long("usage_audits", move |tx| {
            let mut select = tx.prepare_cached(sql::OWNERS_AFTER)?;
            let owners = select.query_map(params![after, limit], |row| {
                Ok(OwnerId::from_stored(row.get_ref(0)?.as_str()?))
            })?;
            owners.map(|owner| usage(tx, owner?)).collect()
        })
        .await
    }

    async fn usage_audit(&self, owner: &OwnerId) -> Result<UsageAudit> {
        let owner = owner.clone();
        self.read("usage_audit", move |tx| usage(tx, owner)).await
    }

    async fn orphans(&self, limit: usize) -> Result<Vec<Orphan>> {
        self.read_long("orphans", move |tx| {
            let mut orphans = Vec::new();
            for (table, statement) in ORPHANAGES {
                let mut select = tx.prepare_cached(statement)?;
                let found = select.query_map([limit], |row| {
                    let (id, reason) = (row.get(0)?, row.get(1)?);
                    Ok(Orphan { table, id, reason })
                })?;
                for orphan in found {
                    orphans.push(orphan?);
                }
            }
            Ok(orphans)
        })
        .await
    }

    async fn metrics_audit(&self) -> Result<MetricsAudit> {
        self.read_long("metrics_audit", |tx| {
            let mut missing = tx.prepare_cached(sql::METRICS_MISSING)?;
            let missing = missing.query_map([], |row| Ok(row.get::<_, Time>(0)?.0))?;
            let missing = missing.collect::<rusqlite::Result<_>>()?;
            tx.query_row(sql::METRICS_AUDIT, [], |row| {
                Ok(MetricsAudit {
                    hours_expected: row.get(0)?,
                    hours_found: row.get(1)?,
                    missing,
                    entries: row.get(2)?,
                    messages: row.get(3)?,
                    requests: row.get(4)?,
                })
            })
        })
        .await
    }

    async fn metrics_missing(&self, hours: Vec<Timestamp>) -> Result<Vec<Timestamp>> {
        self.read("metrics_missing", move |tx| {
            let mut select = tx.prepare_cached(sql::HAS_HOUR)?;
            let mut missing = Vec::new();
            for hour in hours {
                if !select.query_row([Time(hour)], |row| row.get(0))? {
                    missing.push(hour);
                }
            }
            Ok(missing)
        })
        .await
    }

    async fn repair(&self, repairs: Vec<Repair>, at: Timestamp) -> Result<()> {
        self.write("repair", move |tx, settings| {
            repairs
                .iter()
                .try_for_each(|one| repair(tx, settings, one, at))
        })
        .await
    }
}

fn conversation_audits(
    tx: &Transaction<'_>,
    scope: &AuditScope,
    limit: usize,
) -> rusqlite::Result<ConversationAuditPage> {
    let (statement, key, pages) = match scope {
        AuditScope::AllAfter(after) => {
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            (sql::AUDITS_AFTER, after, true)
        }
        AuditScope::Guest(guest) => (sql::AUDITS_OF_GUEST, guest.as_str().to_owned(), false),
        AuditScope::Conversation(id) => (sql::AUDIT_BY_ID, id.to_string(), false),
    };
    let mut select = tx.prepare_cached(statement)?;
    let mut found = select.query([key])?;
    let (mut conversation_audits, mut read) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let conversation = rows::conversation(row)?;
        let id = conversation.id;
        let messages = audited(tx, id)?;
        read += messages.len().max(1);
        conversation_audits.push(ConversationAudit {
            conversation,
            window: rows::window(row, 11)?,
            messages,
        });
        if pages && read >= limit {
            return Ok(ConversationAuditPage {
                conversation_audits,
                next: Some(id),
            });
        }
    }
    Ok(ConversationAuditPage {
        conversation_audits,
        next: None,
    })
}

fn audited(tx: &Transaction<'_>, id: ConversationId) -> rusqlite::Result<Vec<AuditedMessage>> {
    let mut select = tx.prepare_cached(sql::AUDITED_MESSAGES)?;
    let found = select.query_map([Id(id.0)], audited_message)?;
    found.collect()
}

fn audited_message(row: &Row<'_>) -> rusqlite::Result<AuditedMessage> {
    let content = row.get_ref(4)?.as_str()?;
    let model: Option<String> = row.get(8)?;
    let owner = row.get_ref(13)?.as_str_or_null()?.map(OwnerId::from_stored);
    let note = row
        .get_ref(11)?
        .as_str_or_null()?
        .and_then(EmbeddingState::parse);
    Ok(AuditedMessage {
        id: MessageId(row.get::<_, Id>(0)?.0),
        external_id: row.get(15)?,
        sequence: row.get(1)?,
        role: Role::parse(row.get_ref(2)?.as_str()?).ok(),
        stored_hash: Digest::from_hex(row.get_ref(3)?.as_str()?),
        found_hash: content_hash(content),
        stored_tokens: row.get(5)?,
        found_tokens: tokens(content),
        sent_at: row.get::<_, Time>(6)?.0,
        created_at: row.get::<_, Time>(7)?.0,
        vector: match model {
            Some(model) => Some(FoundVector {
                model,
                dimension: row.get(9)?,
                bytes: row.get(10)?,
            }),
            None => None,
        },
        vector_note: match note {
            Some(state) => Some((state, row.get(12)?)),
            None => None,
        },
        mapping: match owner {
            Some(owner) => Some(FoundMapping {
                owner,
                is_synced: row.get(14)?,
            }),
            None => None,
        },
    })
}

fn usage(tx: &Transaction<'_>, owner: OwnerId) -> rusqlite::Result<UsageAudit> {
    let mut select = tx.prepare_cached(sql::USAGE_GET)?;
    let row = select
        .query_row([owner.as_str()], |row| rows::usage(row, 0))
        .optional()?;
    let mut sums = tx.prepare_cached(sql::USAGE_COUNTED)?;
    let counted = sums.query_row([owner.as_str()], |row| {
        let messages = row.get(0)?;
        Ok(Usage {
            total_requests: messages,
            cache_misses: messages,
            total_input_tokens: row.get(1)?,
            total_output_tokens: row.get(2)?,
            ..Usage::default()
        })
    })?;
    Ok(UsageAudit {
        owner,
        row: row.flatten(),
        counted,
    })
}

fn repair(
    tx: &Transaction<'_>,
    settings: &TableSettings,
    repair: &Repair,
    at: Timestamp,
) -> rusqlite::Result<()> {
    match repair {
        Repair::Counters {
            conversation,
            hash,
            message_count,
            total_tokens,
        } => tx
            .execute(
                sql::REPAIR_COUNTERS,
                params![Id(conversation.0), message_count, total_tokens, hash],
            )
            .map(drop),
        Repair::Window {
            conversation,
            hash,
            window,
        } => repair_window(tx, *conversation, hash, *window),
        Repair::Usage(audit) => repair_usage(tx, audit, at),
        Repair::Mapping {
            message,
            owner,
            is_synced,
        } => {
            let row = params![
                Id(message.0),
                owner.as_str(),
                settings.cache_backend,
                is_synced,
                Time(at)
            ];
            tx.execute(sql::REPAIR_MAPPING, row).map(drop)
        }
        Repair::Orphan(orphan) => repair_orphan(tx, orphan),
        Repair::Metrics => repair_metrics(tx),
    }
}

fn repair_window(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    hash: &str,
    window: Option<Window>,
) -> rusqlite::Result<()> {
    let (from, expires_at) = window.map_or((0, None), |window| {
        (window.from, Some(Time(window.expires_at)))
    });
    tx.execute(
        sql::REPAIR_WINDOW,
        params![Id(conversation.0), from, expires_at, hash],
    )
    .map(drop)
}

fn repair_usage(tx: &Transaction<'_>, audit: &UsageAudit, at: Timestamp) -> rusqlite::Result<()> {
    let (owner, counted) = (audit.owner.as_str(), &audit.counted);
    if counted.total_requests == 0 {
        return tx.execute(sql::USAGE_DELETE, [owner]).map(drop);
    }
    let row = params![
        Id(Uuid::now_v7()),
        owner,
        counted.total_requests,
        counted.cache_misses,
        counted.total_input_tokens,
        counted.total_output_tokens,
        Time(at)
    ];
    tx.execute(sql::REPAIR_USAGE, row).map(drop)
}

fn repair_orphan(tx: &Transaction<'_>, orphan: &Orphan) -> rusqlite::Result<()> {
    let statement = match orphan.table {
        "cache_embeddings" => sql::VECTOR_DELETE,
        "embedding_notes" => sql::NOTE_DELETE,
        "cache_content_mapping" => sql::MAPPING_DELETE,
        _ => return Ok(()), // a message or a conversation is not derived from anything, so it is never removed
    };
    tx.execute(statement, [&orphan.id]).map(drop)
}

fn repair_metrics(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut select = tx.prepare(sql::HOURS_WITHOUT_ROW)?;
    let found = select.query_map([], |row| {
        Ok((row.get::<_, Time>(0)?, row.get::<_, u64>(1)?))
    })?;
    for (hour, stored) in found.collect::<rusqlite::Result<Vec<_>>>()? {
        tx.execute(sql::REPAIR_HOUR, params![Id(Uuid::now_v7()), hour, stored])?;
    }
    tx.execute(sql::REPAIR_ENTRIES, []).map(drop)
}
