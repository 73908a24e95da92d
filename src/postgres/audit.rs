//! The reads of verify.

use super::error::{Attempt, PostgresFault};
use super::rows::{count, get, id, int, limit as rows_limit, moment, text, time};
use super::session::{BeginMode, EndMode, PooledConnection, Statement, statement};
use super::{PostgresDatabase, rows, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    ConversationId, Digest, EmbeddingState, MessageId, OwnerId, Role, Timestamp, Usage,
    content_hash, tokens,
};
use guestbook_storage::database::{
    Audit, AuditScope, AuditedMessage, ConversationAudit, ConversationAuditPage, FoundMapping,
    FoundVector, MetricsAudit, Orphan, Repair, UsageAudit,
};
use std::collections::HashMap;
use tokio_postgres::Row;

/// The queries for rows without an owner.
const ORPHANAGES: [(&str, &str); 5] = [
    ("conversation_cache", sql::EMPTY_CONVERSATIONS),
    ("message_cache", sql::ORPHANED_MESSAGES),
    ("cache_embeddings", sql::ORPHANED_VECTORS),
    ("embedding_notes", sql::ORPHANED_NOTES),
    ("cache_content_mapping", sql::ORPHANED_MAPPINGS),
];

/// Conversations of a page at most, however few messages they have.
const PAGE_CONVERSATIONS: usize = 1000;
/// Messages of one conversation that are read at once: 32 MiB with the largest contents.
const PAGE_OF_MESSAGES: u64 = 512;

#[async_trait]
impl Audit for PostgresDatabase {
    async fn conversation_audits(
        &self,
        scope: AuditScope,
        messages: usize,
    ) -> Result<ConversationAuditPage> {
        let page = self.conversation_audit_page(&scope, messages).await;
        page.map_err(|fault| fault.into_error("dossiers"))
    }

    async fn usage_audits(&self, after: Option<&OwnerId>, limit: usize) -> Result<Vec<UsageAudit>> {
        let (after, limit) = (after.map_or("", |owner| owner.as_str()), rows_limit(limit));
        let statements = [statement!(sql::OWNERS_AFTER; after => TEXT, limit => INT8)];
        let found = self.count("usage_audits", &statements).await?;
        let owners = found[0]
            .iter()
            .map(|row| get(row, 0))
            .collect::<Attempt<Vec<String>>>();
        let owners = owners.map_err(|fault| fault.into_error("usage_audits"))?;
        self.usage_of(owners).await
    }

    async fn usage_audit(&self, owner: &OwnerId) -> Result<UsageAudit> {
        let mut audits = self.usage_of(vec![owner.as_str().to_owned()]).await?;
        let none = || PostgresFault::Row("no result for an owner".into()).into_error("usage_audit");
        audits.pop().ok_or_else(none)
    }

    async fn orphans(&self, limit: usize) -> Result<Vec<Orphan>> {
        let limit = rows_limit(limit);
        let statements = ORPHANAGES.map(|(_, sql)| statement!(sql; limit => INT8));
        let found = self.count("orphans", &statements).await?;
        let mut orphans = Vec::new();
        for ((table, _), rows) in ORPHANAGES.into_iter().zip(&found) {
            for row in rows {
                let read = || {
                    Ok(Orphan {
                        table,
                        id: get(row, 0)?,
                        reason: get(row, 1)?,
                    })
                };
                orphans.push(read().map_err(|fault: PostgresFault| fault.into_error("orphans"))?);
            }
        }
        Ok(orphans)
    }

    async fn metrics_audit(&self) -> Result<MetricsAudit> {
        let statements = [
            statement!(sql::METRICS_MISSING),
            statement!(sql::METRICS_AUDIT),
        ];
        let found = self.count("metrics_audit", &statements).await?;
        let read = || -> Attempt<_> {
            let row = found[1]
                .first()
                .ok_or_else(|| PostgresFault::Row("no counts".into()))?;
            Ok(MetricsAudit {
                hours_expected: count(row, 0)?,
                hours_found: count(row, 1)?,
                missing: found[0]
                    .iter()
                    .map(|row| time(row, 0))
                    .collect::<Attempt<_>>()?,
                entries: count(row, 2)?,
                messages: count(row, 3)?,
                requests: count(row, 4)?,
            })
        };
        read().map_err(|fault| fault.into_error("metrics_audit"))
    }

    async fn metrics_missing(&self, hours: Vec<Timestamp>) -> Result<Vec<Timestamp>> {
        let hours: Vec<_> = hours.into_iter().map(moment).collect();
        let statements = [statement!(sql::HOURS_MISSING; hours => TIMESTAMPTZ_ARRAY)];
        let found = self.read("metrics_missing", &statements).await?;
        let missing: Attempt<_> = found[0].iter().map(|row| time(row, 0)).collect();
        missing.map_err(|fault| fault.into_error("metrics_missing"))
    }

    async fn repair(&self, repairs: Vec<Repair>, at: Timestamp) -> Result<()> {
        let repaired = self.repair_all(&repairs, at).await;
        repaired.map_err(|fault| fault.into_error("repair"))
    }
}

impl PostgresDatabase {
    /// Runs reads that may scan whole tables.
    async fn count(
        &self,
        operation: &'static str,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>> {
        self.read_as(operation, BeginMode::LongRead, statements)
            .await
    }

    async fn usage_of(&self, owners: Vec<String>) -> Result<Vec<UsageAudit>> {
        let statements = [statement!(sql::USAGE_AUDIT; owners => TEXT_ARRAY)];
        let found = self.count("usage_audit", &statements).await?;
        let audits: Attempt<_> = found[0].iter().map(usage_audit).collect();
        audits.map_err(|fault| fault.into_error("usage_audit"))
    }

    async fn conversation_audit_page(
        &self,
        scope: &AuditScope,
        limit: usize,
    ) -> Attempt<ConversationAuditPage> {
        let (sql, key, pages) = match scope {
            AuditScope::AllAfter(after) => {
                let after = after.map(|id| id.to_string()).unwrap_or_default();
                (sql::AUDITS_AFTER, after, true)
            }
            AuditScope::Guest(guest) => (sql::AUDITS_OF_GUEST, guest.as_str().to_owned(), false),
            AuditScope::Conversation(id) => (sql::AUDIT_BY_ID, id.to_string(), false),
        };
        let most = rows_limit(PAGE_CONVERSATIONS.min(limit.max(1)));
        let statements = if pages {
            [statement!(sql; key => TEXT, most => INT8)]
        } else {
            [statement!(sql; key => TEXT)]
        };
        let mut session = self.long_session().await?;
        let rows = session
            .transact(BeginMode::LongRead, &statements, EndMode::Open)
            .await?
            .remove(0);
        // The page's messages are read in one round trip: at least `limit` by the rows' own counts, which may be wrong.
        let mut page = Vec::new();
        let (mut read, mut full) = (0, false);
        let mut at = 0;
        while at < rows.len() && !full {
            let rest = &rows[at..];
            let taken = if pages {
                enough(rest, limit.saturating_sub(read))?
            } else {
                rest.len()
            };
            let mut messages = audited_messages(&mut session, &rest[..taken]).await?;
            for row in &rest[..taken] {
                let conversation_audit = conversation_audit(row, &mut messages)?;
                read += conversation_audit.messages.len().max(1);
                page.push(conversation_audit);
                full = pages && read >= limit;
                if full {
                    break;
                }
            }
            at += taken;
        }
        session.go_on(&[], EndMode::Commit).await?;
        let more = full || (pages && rows.len() == usize::try_from(most).unwrap_or(usize::MAX));
        let next = page
            .last()
            .filter(|_| more)
            .map(|last| last.conversation.id);
        Ok(ConversationAuditPage {
            conversation_audits: page,
            next,
        })
    }
}

/// All messages of these conversations: those of short ones at once, those of long ones page by page. Their contents are not kept.
async fn audited_messages(
    session: &mut PooledConnection,
    rows: &[Row],
) -> Attempt<HashMap<ConversationId, Vec<AuditedMessage>>> {
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for row in rows {
        match count(row, 5)? > PAGE_OF_MESSAGES {
            true => long.push(text(row, 0)?),
            false => short.push(text(row, 0)?),
        }
    }
    let statements = [statement!(sql::AUDITED_MESSAGES; short => TEXT_ARRAY)];
    let found = session.go_on(&statements, EndMode::Open).await?.remove(0);
    let mut all = by_conversation(&found)?;
    for key in long {
        let limit = int(PAGE_OF_MESSAGES);
        let mut from = 0_i64;
        loop {
            let statements =
                [statement!(sql::AUDITED_MESSAGES_UP; key => TEXT, from => INT8, limit => INT8)];
            let found = session.go_on(&statements, EndMode::Open).await?.remove(0);
            for (conversation, messages) in by_conversation(&found)? {
                all.entry(conversation).or_default().extend(messages);
            }
            match found.last() {
                Some(last) if found.len() as u64 == PAGE_OF_MESSAGES => {
                    from = int(count(last, 1)?) + 1;
                }
                _ => break,
            }
        }
    }
    Ok(all)
}

/// How many of these conversations hold `wanted` messages by their own count; at least one.
fn enough(rows: &[Row], wanted: usize) -> Attempt<usize> {
    let (mut sum, wanted) = (0, wanted as u64);
    for (at, row) in rows.iter().enumerate() {
        let counted: i64 = get(row, 5)?;
        sum += u64::try_from(counted).unwrap_or(0).max(1);
        if sum >= wanted {
            return Ok(at + 1);
        }
    }
    Ok(rows.len())
}

fn by_conversation(rows: &[Row]) -> Attempt<HashMap<ConversationId, Vec<AuditedMessage>>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        let conversation = ConversationId(id(row, 15)?);
        all.entry(conversation)
            .or_default()
            .push(audited_message(row)?);
    }
    Ok(all)
}

fn conversation_audit(
    row: &Row,
    messages: &mut HashMap<ConversationId, Vec<AuditedMessage>>,
) -> Attempt<ConversationAudit> {
    let conversation = rows::conversation(row)?;
    Ok(ConversationAudit {
        window: rows::window(row, 11)?,
        messages: messages.remove(&conversation.id).unwrap_or_default(),
        conversation,
    })
}

fn audited_message(row: &Row) -> Attempt<AuditedMessage> {
    let content = text(row, 4)?;
    let model: Option<String> = get(row, 8)?;
    let noted: Option<&str> = get(row, 11)?;
    let owner: Option<&str> = get(row, 13)?;
    Ok(AuditedMessage {
        id: MessageId(id(row, 0)?),
        external_id: get(row, 16)?,
        sequence: count(row, 1)?,
        role: Role::parse(text(row, 2)?).ok(),
        stored_hash: Digest::from_hex(text(row, 3)?),
        found_hash: content_hash(content),
        stored_tokens: count(row, 5)?,
        found_tokens: tokens(content),
        sent_at: time(row, 6)?,
        created_at: time(row, 7)?,
        vector: match model {
            Some(model) => Some(FoundVector {
                model,
                dimension: count(row, 9)?,
                bytes: count(row, 10)?,
            }),
            None => None,
        },
        vector_note: match noted.and_then(EmbeddingState::parse) {
            Some(state) => Some((state, get(row, 12)?)),
            None => None,
        },
        mapping: match owner {
            Some(owner) => Some(FoundMapping {
                owner: OwnerId::from_stored(owner),
                is_synced: get(row, 14)?,
            }),
            None => None,
        },
    })
}

fn usage_audit(row: &Row) -> Attempt<UsageAudit> {
    let has_row: Option<i64> = get(row, 1)?;
    let messages = count(row, 10)?;
    Ok(UsageAudit {
        owner: OwnerId::from_stored(text(row, 0)?),
        row: has_row.map(|_| rows::usage(row, 1)).transpose()?,
        counted: Usage {
            total_requests: messages,
            cache_misses: messages,
            total_input_tokens: count(row, 11)?,
            total_output_tokens: count(row, 12)?,
            ..Usage::default()
        },
    })
}
