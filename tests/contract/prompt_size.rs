//! What a prompt cache counts is about what it takes of the disk, however short its texts and however long its names.

use guestbook::core::{Content, PromptKey, PromptScope, PromptSetting, content_hash};
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::Storage;
use guestbook::storage::database::{NewCacheEntry, Prompts};
use guestbook_storage_contract::words::*;

const ENTRIES: usize = 20_000;
const AT_ONCE: usize = 500;

fn entry(n: usize, name: &str, text: &str) -> NewCacheEntry {
    let setting = PromptSetting {
        scope: PromptScope::parse(&format!("tenant:{name}-{}", n % 100)).unwrap(),
        model: format!("model-{name}"),
        temperature: Some(0.5),
        max_tokens: None,
        context_hash: content_hash(&format!("context {}", n % 7)),
    };
    let prompt = format!("{n:x}{text}");
    NewCacheEntry {
        key: PromptKey::new(setting, &prompt),
        prompt: Content::from_stored(&prompt),
        response: Content::from_stored(text),
        vector: None,
        generation_ms: 1.0,
        input_tokens: 1,
        output_tokens: 1,
        expires_at: at(86_400),
    }
}

async fn counted_and_taken(name: &str, text: &str) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let database = SqliteDatabase::open(&folder.path().join("guestbook.db"), forever()).unwrap();
    let before = database.stats().await.unwrap().bytes;
    for first in (0..ENTRIES).step_by(AT_ONCE) {
        let entries = (first..first + AT_ONCE).map(|n| entry(n, name, text));
        let entries = entries.collect();
        database.prompts_put(entries, at(0)).await.unwrap();
    }
    let taken = database.stats().await.unwrap().bytes - before;
    let counted = database.prompts_stats(at(1)).await.unwrap().bytes;
    database.close().await.unwrap();
    (counted, taken)
}

#[tokio::test]
async fn a_cache_of_short_texts_counts_its_rows_keys_and_indexes() {
    for (name, text) in [
        ("x".repeat(100), "y".to_owned()),
        ("x".into(), "y".into()),
        ("x".into(), "y".repeat(2_000)),
    ] {
        let (counted, taken) = counted_and_taken(&name, &text).await;
        let ratio = taken as f64 / counted as f64;
        println!(
            "figure: a prompt cache counts {counted} bytes and takes {taken}, {ratio:.2} of them"
        );
        assert!(
            (0.75..1.25).contains(&ratio),
            "counts {counted}, takes {taken}"
        );
    }
}
