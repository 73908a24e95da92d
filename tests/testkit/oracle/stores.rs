//! Where the oracle looks: a pair of stores, read past the service.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A stored message with what belongs to it.
#[derive(Clone, Debug)]
pub struct Row {
    pub platform: String,
    pub owner: String,
    pub conversation: String,
    pub id: String,
    pub sequence: u64,
    pub role: String,
    pub content: String,
    /// The client's time.
    pub sent_at: Option<DateTime<Utc>>,
    /// The content is what its hash says.
    pub is_whole: bool,
    pub is_synced: bool,
}

/// A pair of stores.
#[async_trait]
pub trait Stores: Sync {
    /// The cells of each row that a statement finds in the tables, as text.
    async fn query(&self, sql: &str) -> Vec<Vec<String>>;

    /// The name of the list store as sessions tell it.
    fn list_store(&self) -> &'static str;

    /// The lists of guests, in their order, as raw as they can be had.
    async fn lists(&self, guests: &[String]) -> Vec<Vec<Value>>;

    /// The guests that have a list, where that can be asked past the service.
    async fn listed_guests(&self) -> Vec<String>;

    /// Runs `guestbook verify`; its exit code and its words.
    async fn verify(&self) -> (i32, String);

    /// Every message, by conversation and sequence.
    async fn rows(&self) -> Vec<Row> {
        self.query(ROWS).await.into_iter().map(row).collect()
    }

    /// One line for each counter that differs from the messages, and for each row that lacks another one.
    async fn counters(&self) -> Vec<String> {
        let lines = self.query(COUNTERS).await.into_iter();
        lines.map(|cells| cells.join(" ")).collect()
    }
}

fn row(cells: Vec<String>) -> Row {
    let cells: [String; 10] = cells.try_into().unwrap();
    let [
        platform,
        owner,
        conversation,
        id,
        sequence,
        role,
        sent_at,
        is_synced,
        hash,
        content,
    ] = cells;
    let digest = Sha256::digest(&content);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Row {
        platform,
        owner,
        conversation,
        id,
        sequence: sequence.parse().unwrap(),
        role,
        sent_at: moment(&sent_at),
        is_synced: matches!(is_synced.as_str(), "t" | "1"),
        is_whole: hash == digest,
        content,
    }
}

/// A time as SQLite's tables, lists and answers tell it, or as PostgreSQL does; `None` of anything else.
pub(super) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let told = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"));
    told.ok().map(|moment| moment.to_utc())
}

// Both statements are of both dialects. A FULL JOIN of messages would read one side again for each row of the other in SQLite,
// which makes no index for it.

const ROWS: &str = "
    SELECT c.platform, c.user_id, c.id, m.id, m.sequence, m.role, m.sent_at, coalesce(p.is_synced, false), m.message_hash, m.content
    FROM message_cache m JOIN conversation_cache c ON c.id = m.conversation_id
    LEFT JOIN cache_content_mapping p ON p.id = m.id ORDER BY c.id, m.sequence";

const COUNTERS: &str = "
    SELECT 'conversation ' || c.id || ' of ' || c.user_id || ' says ' || c.message_count || ' of ' || count(m.id)
        FROM conversation_cache c LEFT JOIN message_cache m ON m.conversation_id = c.id GROUP BY c.id
        HAVING c.message_count <> count(m.id) OR c.total_tokens <> coalesce(sum(m.tokens), 0)
    UNION ALL SELECT 'usage of ' || user_id || ': ' || coalesce(u.cache_misses, -1) || ' of ' || coalesce(m.messages, -1)
        FROM usage_metrics u FULL JOIN (SELECT c.user_id, count(*) AS messages, sum(m.tokens) AS tokens,
            sum(m.tokens) FILTER (WHERE m.role = 'assistant') AS output
            FROM conversation_cache c JOIN message_cache m ON m.conversation_id = c.id GROUP BY 1) m USING (user_id)
        WHERE (u.cache_misses, u.total_requests, u.total_tokens, u.total_output_tokens) IS DISTINCT FROM
            (m.messages, m.messages, m.tokens, coalesce(m.output, 0))
    UNION ALL SELECT 'no mapping of ' || id FROM (SELECT id FROM message_cache
        EXCEPT SELECT cache_id FROM cache_content_mapping) unmapped
    UNION ALL SELECT 'mapping of ' || cache_id FROM (SELECT cache_id FROM cache_content_mapping
        EXCEPT SELECT id FROM message_cache) mapped
    UNION ALL SELECT 'no vector of ' || id FROM (SELECT id FROM message_cache
        EXCEPT SELECT message_id FROM cache_embeddings EXCEPT SELECT message_id FROM embedding_notes) without
    UNION ALL SELECT 'vector of ' || message_id FROM (SELECT * FROM (SELECT message_id FROM cache_embeddings
        UNION ALL SELECT message_id FROM embedding_notes) v EXCEPT SELECT id FROM message_cache) strays
    UNION ALL SELECT 'cache_metrics says ' || total_entries FROM (SELECT total_entries FROM cache_metrics
        ORDER BY recorded_at DESC LIMIT 1) last WHERE total_entries <> (SELECT count(*) FROM message_cache)";
