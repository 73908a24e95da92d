//! The prompt cache.

use super::ranges::{BYTES, count, duration};
use clap::Args;
use std::time::Duration;

/// Which answers to prompts are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Prompt cache")]
pub struct PromptArgs {
    /// How long an answer to a prompt is good at most; a request may ask for less
    #[arg(long, global = true, env = "GUESTBOOK_PROMPT_CACHE_TTL", default_value = "24h", value_parser = duration, value_name = "TIME")]
    pub prompt_cache_ttl: Duration,
    /// Bytes that all answers take in the tables at most, rows and indexes included, beyond which the least recently used go; up to a sixteenth more for a moment
    #[arg(long, global = true, env = "GUESTBOOK_PROMPT_CACHE_SIZE", default_value_t = 256 << 20, value_name = "BYTES", value_parser = count::<usize>(BYTES))]
    pub prompt_cache_size: usize,
}
