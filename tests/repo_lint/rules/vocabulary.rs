//! The names: one vocabulary, which is the field's. A name that was once used here for something that has a standard term, and a
//! name that two public types share, are refused.

use crate::rules::layers::none;
use crate::rules::source::{Source, sources};
use std::collections::BTreeMap;

/// Type names that are not used, and the term for what they named.
const TYPES: [(&str, &str); 48] = [
    ("Turn", "ReadPermit, Priority"),
    ("Turns", "ReadLimit"),
    ("Standing", "Freshness"),
    ("Lookout", "DataVersionWatcher"),
    ("Served", "PersistedSettings"),
    ("Partial", "AtomicFile"),
    ("ListDebt", "OutboxEntry"),
    ("Ledger", "ListSyncState"),
    ("Settled", "SyncedRange"),
    ("Marks", "SyncMarks"),
    ("Tally", "CounterDeltas"),
    ("Gathering", "CounterDeltas"),
    ("Dossier", "ConversationAudit"),
    ("Given", "CacheHits"),
    ("Sought", "SearchQuery"),
    ("Unseen", "QueryEmbeddingError"),
    ("Corpus", "VectorSource"),
    ("Indexable", "IndexedVector"),
    ("Proposal", "CandidateRequest"),
    ("Why", "InclusionReason"),
    ("Outline", "MessageSummary"),
    ("Reach", "SelectionRange"),
    ("OpenChat", "ConversationState"),
    ("Stage", "BatchPlan"),
    ("Staged", "PlannedMessage"),
    ("Known", "OptimisticCache"),
    ("Riding", "DeferredCounters"),
    ("Link", "ReconnectingClient"),
    ("Dialer", "Connector"),
    ("Remedy", "Recovery"),
    ("Guarded", "SupervisedStore"),
    ("Asked", "DataSource"),
    ("Places", "StoreUrls"),
    ("Purpose", "OpenMode"),
    ("Refusal", "CliError"),
    ("Crew", "BatchRunner"),
    ("Told", "RunnerEvent"),
    ("Gathered", "PendingBatch"),
    ("Work", "Operation"),
    ("Lane", "Shard"),
    ("Bounded", "TimeoutListCache"),
    ("Promise", "DurabilityReport"),
    ("KeptAnswerAnswer", "PutResponse"),
    ("Everything", "GlobalSearch"),
    ("Probe", "QuantizedQuery"),
    ("Believed", "ClockGuard"),
    ("News", "IndexEvent"),
    ("Follower", "Indexer"),
];

/// File names that are not used, and the term.
const FILES: [(&str, &str); 30] = [
    ("hot", "prompt_read_cache"),
    ("recent", "response_cache"),
    ("turns", "read_limit"),
    ("versions", "cache_versions"),
    ("outside", "data_version"),
    ("changed", "change_hook"),
    ("served", "persisted_settings"),
    ("partial", "atomic_file"),
    ("plans", "query_plan_tests"),
    ("mend", "reconcile"),
    ("ledger", "list_sync_state, oracle"),
    ("known", "optimistic_cache"),
    ("link", "reconnecting_client"),
    ("torn", "crash_tests"),
    ("asked", "data_source"),
    ("copying", "backup_progress"),
    ("ground", "scratch_stores"),
    ("bounded", "timeout_list_cache"),
    ("bodies", "body_budget"),
    ("answers", "response_budget"),
    ("unread", "drain"),
    ("stall", "write_timeout"),
    ("everything", "global_search"),
    ("stage", "batch_plan, harness"),
    ("site", "harness"),
    ("rigs", "support_selftest"),
    ("tidy", "repo_lint"),
    ("hostile", "abuse"),
    ("nodes", "cluster"),
    ("adversity", "chaos"),
];

/// Function names that are not used, and the term.
const FUNCTIONS: [(&str, &str); 9] = [
    ("mend", "reconcile"),
    ("mend_all", "reconcile_all"),
    ("pay_debts", "drain_outbox"),
    ("settle", "mark_synced"),
    ("doubt", "mark_suspect"),
    ("trust", "clear_suspect"),
    ("remove_strangers", "remove_orphaned_lists"),
    ("meaning", "embed_query"),
    ("work_out", "plan"),
];

/// Public types of one name that mean the same, or that Rust's custom names so.
const SHARED: [&str; 4] = ["Err", "Error", "Result", "Armed"];

/// Names of what a keyword declares in a file: the keyword, the name, the line.
fn declared<'a>(
    file: &'a Source,
    keywords: &'a [&str],
) -> impl Iterator<Item = (&'a str, usize, bool)> + 'a {
    file.code
        .lines()
        .enumerate()
        .flat_map(move |(index, line)| {
            keywords.iter().filter_map(move |keyword| {
                let line = line.trim_start();
                let is_public = line.starts_with("pub ");
                let rest = line
                    .split_once(&format!("{keyword} "))
                    .filter(|(before, _)| {
                        before.is_empty()
                            || before.ends_with(' ')
                                && (before.starts_with("pub")
                                    || ["async ", "const "].contains(before))
                    })?;
                let name = rest
                    .1
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()?;
                (!name.is_empty()).then_some((name, index + 1, is_public))
            })
        })
}

const TYPE_WORDS: [&str; 4] = ["struct", "enum", "trait", "type"];

#[test]
fn types_are_called_what_the_field_calls_them() {
    let mut found = Vec::new();
    for file in ["src", "tests"].into_iter().flat_map(sources) {
        for (name, line, _) in declared(&file, &TYPE_WORDS) {
            let term = TYPES.iter().find(|(old, _)| *old == name);
            found
                .extend(term.map(|(_, term)| format!("{} declares {name}: {term}", file.at(line))));
        }
    }
    none(found, "use the standard term (docs/glossary.md)");
}

#[test]
fn files_are_called_what_the_field_calls_them() {
    let mut found = Vec::new();
    for file in ["src", "tests"].into_iter().flat_map(sources) {
        for part in file.path.trim_end_matches(".rs").split('/').skip(1) {
            let term = FILES.iter().find(|(old, _)| *old == part);
            found.extend(term.map(|(_, term)| format!("{}: {term}", file.path)));
        }
    }
    none(found, "use the standard term (docs/glossary.md)");
}

#[test]
fn functions_are_called_what_the_field_calls_them() {
    let mut found = Vec::new();
    for file in sources("src") {
        for (name, line, _) in declared(&file, &["fn"]) {
            let term = FUNCTIONS.iter().find(|(old, _)| *old == name);
            found
                .extend(term.map(|(_, term)| format!("{} declares {name}: {term}", file.at(line))));
        }
    }
    none(found, "use the standard term (docs/glossary.md)");
}

#[test]
fn no_two_public_types_share_a_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources("src") {
        for (name, line, is_public) in declared(&file, &TYPE_WORDS) {
            if is_public && !SHARED.contains(&name) {
                places
                    .entry(name.to_owned())
                    .or_default()
                    .push(file.at(line));
            }
        }
    }
    let twice = places.into_iter().filter(|(_, places)| places.len() > 1);
    let found = twice
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    none(
        found,
        "a reader who sees one of these names cannot know which it is: give each the name of what it is",
    );
}
