//! What one would write by hand with the bare driver, to measure against.

use guestbook::core::Role;
use guestbook::storage::database::{Batch, Embedding, Entry};
use rusqlite::{Connection, params};
use std::path::Path;
use uuid::Uuid;

/// Steps 2-7 as one would write them by hand: one connection, each statement prepared once, nothing else.
#[derive(Debug)]
pub struct HandWritten {
    connection: Connection,
}

const PRAGMAS: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
    PRAGMA cache_size = -32000;";
const TABLES: &str = include_str!("../../schema/sqlite/001_tables.sql");
const CONVERSATION: &str = "INSERT INTO conversation_cache (id, user_id, session_id, title, conversation_hash, message_count,
        total_tokens, platform, created_at, accessed_at, list_expires_at)
    VALUES (?1, ?2, ?2, ?3, ?4, 1, ?5, 'guest', ?6, ?6, ?6)
    ON CONFLICT (user_id) WHERE platform = 'guest' DO UPDATE SET message_count = message_count + 1,
        total_tokens = total_tokens + ?5, conversation_hash = ?4, accessed_at = ?6, list_expires_at = ?6
    RETURNING id, message_count - 1";
const MESSAGE: &str = "INSERT INTO message_cache (id, conversation_id, role, content, message_hash, tokens, sequence, sent_at,
        created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?8)";
const VECTOR: &str = "INSERT INTO cache_embeddings (id, conversation_id, message_id, embedding, embedding_model, embedding_dim,
        created_at) VALUES (?1, ?2, ?1, ?3, 'static-256-i8:256:6355d7a0', ?4, ?5)";
const USAGE: &str = "INSERT INTO usage_metrics (id, user_id, total_requests, cache_hits, cache_misses, total_input_tokens,
        total_output_tokens, total_tokens, tier, monthly_requests_used, created_at, updated_at)
    VALUES (?1, ?2, 1, 0, 1, ?3, ?4, ?3 + ?4, 'guest', 1, ?5, ?5)
    ON CONFLICT (user_id) DO UPDATE SET total_requests = total_requests + 1, cache_misses = cache_misses + 1,
        total_input_tokens = total_input_tokens + ?3, total_output_tokens = total_output_tokens + ?4,
        total_tokens = total_tokens + ?3 + ?4, monthly_requests_used = monthly_requests_used + 1, updated_at = ?5";
const MAPPING: &str = "INSERT INTO cache_content_mapping (id, cache_type, cache_id, user_id, cache_backend, content_backend,
        is_synced, created_at) VALUES (?1, 'message', ?1, ?2, 'sled', 'sqlite', 0, ?3)";
const HISTORY: &str =
    "SELECT m.id, m.sequence, m.role, m.content, m.sent_at, m.created_at FROM conversation_cache c
        JOIN message_cache m ON m.conversation_id = c.id
    WHERE c.user_id = ?1 AND c.platform = 'guest' ORDER BY m.sequence LIMIT 50";
/// Once per commit, as `record` does.
const METRICS: &str = "INSERT INTO cache_metrics (id, recorded_at, total_entries, cache_hits, cache_misses, total_requests,
        avg_response_time, timed_requests, storage_size_mb) VALUES (?1, ?2, ?3, 0, ?3, ?3, 0, 0, 0)
    ON CONFLICT (recorded_at) DO UPDATE SET total_entries = total_entries + ?3, cache_misses = cache_misses + ?3,
        total_requests = total_requests + ?3";

impl HandWritten {
    /// New tables in a file of this folder.
    pub fn open(folder: &Path) -> Self {
        let path = folder.join("by-hand.db");
        let connection = Connection::open(path).expect("a new database");
        connection.execute_batch(PRAGMAS).expect("known settings");
        connection.execute_batch(TABLES).expect("the schema");
        connection.set_prepared_statement_cache_capacity(32);
        Self { connection }
    }

    /// Stores a batch in one transaction.
    pub fn record(&mut self, batch: &Batch) {
        let written = self.write(batch);
        written.expect("messages without a fault");
    }

    /// The messages of a guest: id, sequence, role, content, both times.
    pub fn history(&mut self, guest: &str) -> Vec<(String, u64, String, String, String, String)> {
        let mut read = self.connection.prepare_cached(HISTORY).expect("valid SQL");
        let row = |row: &rusqlite::Row<'_>| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
            ))
        };
        let rows = read.query_map([guest], row).expect("a healthy database");
        rows.collect::<rusqlite::Result<_>>()
            .expect("a healthy database")
    }

    fn write(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        let entries: Vec<&Entry> = batch.groups.iter().flat_map(|group| &group.0).collect();
        let tx = self.connection.transaction()?;
        let at = batch.at.stored();
        for entry in &entries {
            let message = &entry.message;
            let (id, guest) = (message.id.0.to_string(), message.guest.as_str());
            let hash = message.hash.to_hex();
            let mut conversation = tx.prepare_cached(CONVERSATION)?;
            let new_id = Uuid::now_v7().to_string();
            let row = params![
                new_id,
                guest,
                message.content.as_str(),
                hash,
                message.tokens,
                at
            ];
            let (chat, sequence): (String, u64) =
                conversation.query_row(row, |row| Ok((row.get(0)?, row.get(1)?)))?;
            tx.prepare_cached(MESSAGE)?.execute(params![
                id,
                chat,
                message.role.as_str(),
                message.content.as_str(),
                hash,
                message.tokens,
                sequence,
                at
            ])?;
            if let Embedding::Vector(vector) = &entry.embedding {
                let bytes = vector.to_bytes();
                tx.prepare_cached(VECTOR)?
                    .execute(params![id, chat, bytes, bytes.len(), at])?;
            }
            let (said, heard) = match message.role {
                Role::Assistant => (0, message.tokens),
                _ => (message.tokens, 0),
            };
            let usage_id = Uuid::now_v7().to_string();
            tx.prepare_cached(USAGE)?
                .execute(params![usage_id, guest, said, heard, at])?;
            tx.prepare_cached(MAPPING)?
                .execute(params![id, guest, at])?;
        }
        let hour = batch.at.hour().stored();
        let metrics_id = Uuid::now_v7().to_string();
        tx.prepare_cached(METRICS)?
            .execute(params![metrics_id, hour, entries.len()])?;
        tx.commit()
    }
}
