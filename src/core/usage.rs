//! What a guest or user has consumed.

use super::{Role, Timestamp};

/// The counters of one `usage_metrics` row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Requests: one per stored message, and one per lookup of the prompt cache.
    pub total_requests: u64,
    /// Answers that came from a cache.
    pub cache_hits: u64,
    /// Answers that did not: one per stored message, and one per lookup that found nothing.
    pub cache_misses: u64,
    /// Of these, lookups of the prompt cache.
    pub lookup_misses: u64,
    /// Tokens that answers from the prompt cache have saved.
    pub tokens_saved: u64,
    /// Tokens of user, system and tool messages.
    pub total_input_tokens: u64,
    /// Tokens of assistant messages.
    pub total_output_tokens: u64,
    /// Requests of the UTC month that `updated_at` lies in.
    pub monthly_requests_used: u64,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

impl Usage {
    /// Counts one stored message: one request, one miss, its tokens on the side its role stands on.
    pub fn count(&mut self, role: Role, tokens: u64) {
        self.total_requests += 1;
        self.cache_misses += 1;
        match role {
            Role::Assistant => self.total_output_tokens += tokens,
            Role::User | Role::System | Role::Tool => self.total_input_tokens += tokens,
        }
    }

    /// Input and output together.
    pub fn total_tokens(&self) -> u64 {
        self.total_input_tokens + self.total_output_tokens
    }

    /// Hits among hits and misses, 0 when there were neither.
    pub fn hit_rate(&self) -> f64 {
        match self.cache_hits + self.cache_misses {
            0 => 0.0,
            asked => self.cache_hits as f64 / asked as f64,
        }
    }
}
