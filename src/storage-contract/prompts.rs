//! Laws of the answers to prompts that were asked before.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{PromptKey, PromptScope, PromptSetting, Timestamp, content_hash};
use guestbook_storage::database::{
    CacheEntry, CacheHits, Embedding, LookupCounts, LookupTotals, Migrated, NewCacheEntry,
    OwnerLookups, PromptStats,
};

pub fn setting(scope: &str) -> PromptSetting {
    PromptSetting {
        scope: PromptScope::parse(scope).unwrap(),
        model: "model".into(),
        temperature: Some(0.2),
        max_tokens: Some(64),
        context_hash: content_hash("you are helpful"),
    }
}

pub fn key(scope: &str, prompt: &str) -> PromptKey {
    PromptKey::new(setting(scope), prompt)
}

/// An answer of 10 bytes and no vector, good for an hour after noon.
fn answer(scope: &str, prompt: &str) -> NewCacheEntry {
    NewCacheEntry {
        key: key(scope, prompt),
        prompt: content(prompt),
        response: content(&format!("{prompt:.<width$}", width = 10 - prompt.len())),
        vector: None,
        generation_ms: 1250.5,
        input_tokens: 3,
        output_tokens: 4,
        expires_at: noon().plus(HOUR),
    }
}

fn with_vector(scope: &str, prompt: &str, seed: u8) -> NewCacheEntry {
    NewCacheEntry {
        vector: Some((model("first"), vector(seed))),
        ..answer(scope, prompt)
    }
}

impl Fixture {
    async fn put(&self, at: Timestamp, answers: impl IntoIterator<Item = NewCacheEntry>) {
        let answers = answers.into_iter().collect();
        self.database
            .prompts
            .prompts_put(answers, at)
            .await
            .unwrap();
    }

    async fn find(&self, key: PromptKey, now: Timestamp) -> Option<CacheEntry> {
        let found = self.database.prompts.prompts_find(&[key], now).await;
        only(found.unwrap())
    }

    async fn has(&self, scope: &str, prompt: &str) -> bool {
        self.find(key(scope, prompt), at(1)).await.is_some()
    }

    /// Keeps an answer in each scope, and finds the first: what is removed later was looked up before.
    async fn keep_and_look_up<const N: usize>(&self, scopes: [&str; N]) {
        self.put(at(0), scopes.map(|it| answer(it, "a"))).await;
        assert!(self.has(scopes[0], "a").await);
    }

    async fn near(&self, setting: &PromptSetting, name: &str, limit: usize) -> Vec<String> {
        let model = model(name);
        let near = self
            .database
            .prompts
            .prompts_near(setting, &model, at(1), limit);
        let near = near.await.unwrap();
        near.iter()
            .map(|it| it.prompt.as_str().to_owned())
            .collect()
    }

    async fn prompt_stats(&self, now: Timestamp) -> PromptStats {
        self.database.prompts.prompts_stats(now).await.unwrap()
    }

    async fn deltas(&self, deltas: LookupTotals, at: Timestamp) {
        self.database
            .prompts
            .lookup_totals(deltas, at)
            .await
            .unwrap();
    }
}

fn given(scope: &str, prompt: &str, hits: u64, last: Timestamp) -> LookupTotals {
    LookupTotals {
        hits,
        given: vec![CacheHits {
            id: key(scope, prompt).id(),
            hits,
            last,
        }],
        ..LookupTotals::default()
    }
}

fn lookups(name: &str, hits: u64, misses: u64, tokens_saved: u64) -> LookupTotals {
    LookupTotals {
        hits,
        misses,
        tokens_saved,
        saved_ms: 1000.0 * hits as f64,
        given: Vec::new(),
        owners: vec![OwnerLookups {
            owner: owner(name),
            counts: LookupCounts {
                hits,
                misses,
                tokens_saved,
            },
        }],
    }
}

pub async fn an_answer_comes_back_as_it_was_kept(f: &Fixture) {
    assert_eq!(f.find(key("tenant:t", "ask"), at(0)).await, None);
    let mut new = with_vector("tenant:t", "ask", 1);
    new.prompt = content("  ask\n");
    f.put(at(0), [new]).await;
    let expected = CacheEntry {
        id: key("tenant:t", "ask").id(),
        prompt: content("  ask\n"),
        response: content("ask...."),
        generation_ms: 1250.5,
        input_tokens: 3,
        output_tokens: 4,
        hits: 0,
        created_at: at(0),
        expires_at: noon().plus(HOUR),
    };
    assert_eq!(f.find(key("tenant:t", "ask"), at(1)).await, Some(expected));
}

pub async fn answers_come_in_the_order_of_the_keys(f: &Fixture) {
    f.put(at(0), ["a", "b"].map(|it| answer("tenant:t", it)))
        .await;
    let keys = ["b", "x", "a", "b"].map(|it| key("tenant:t", it));
    let found = f.database.prompts.prompts_find(&keys, at(1)).await.unwrap();
    let prompts: Vec<_> = found
        .iter()
        .map(|it| it.as_ref().map(|it| it.prompt.as_str()))
        .collect();
    assert_eq!(prompts, [Some("b"), None, Some("a"), Some("b")]);
    assert!(
        f.database
            .prompts
            .prompts_find(&[], at(1))
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn an_answer_never_leaves_its_scope_its_context_or_its_setting(f: &Fixture) {
    f.put(at(0), [with_vector("tenant:t", "ask", 1)]).await;
    assert!(f.has("tenant:t", "ask").await);
    let change: [fn(&mut PromptSetting); 8] = [
        |it| it.scope = PromptScope::parse("tenant:T").unwrap(),
        |it| it.scope = PromptScope::parse("guest:t").unwrap(),
        |it| it.context_hash = content_hash("you are rude"),
        |it| it.model = "model2".into(),
        |it| it.temperature = Some(0.3),
        |it| it.temperature = None,
        |it| it.max_tokens = Some(65),
        |it| it.max_tokens = None,
    ];
    for change in change {
        let mut other = setting("tenant:t");
        change(&mut other);
        let found = f.find(PromptKey::new(other.clone(), "ask"), at(1)).await;
        assert_eq!(found, None, "{other:?}");
        assert!(f.near(&other, "first", ALL).await.is_empty(), "{other:?}");
    }
    assert_eq!(f.find(key("tenant:t", "Ask"), at(1)).await, None);
}

pub async fn settings_that_are_not_given_are_found_as_such(f: &Fixture) {
    let mut open = setting("tenant:t");
    (open.temperature, open.max_tokens) = (None, None);
    let mut new = with_vector("tenant:t", "ask", 1);
    new.key = PromptKey::new(open.clone(), "ask");
    f.put(at(0), [new]).await;
    assert!(
        f.find(PromptKey::new(open.clone(), "ask"), at(1))
            .await
            .is_some()
    );
    assert_eq!(f.near(&open, "first", ALL).await, ["ask"]);
}

pub async fn a_later_answer_takes_the_place_and_keeps_the_hits(f: &Fixture) {
    f.put(at(0), [answer("tenant:t", "ask")]).await;
    assert!(f.has("tenant:t", "ask").await);
    f.deltas(given("tenant:t", "ask", 3, at(1)), at(1)).await;
    let counted = f.find(key("tenant:t", "ask"), at(1)).await.unwrap();
    assert_eq!(counted.hits, 3);
    let [mut second, mut third] = [with_vector("tenant:t", "ask", 1), answer("tenant:t", "ask")];
    second.response = content("second");
    third.response = content("third");
    third.expires_at = at(7200);
    f.put(at(2), [second, third]).await;
    let found = f.find(key("tenant:t", "ask"), at(3)).await.unwrap();
    assert_eq!((found.response.as_str(), found.hits), ("third", 3));
    assert_eq!((found.created_at, found.expires_at), (at(2), at(7200)));
    assert!(
        f.near(&setting("tenant:t"), "first", ALL).await.is_empty(),
        "its vector has gone"
    );
    assert_eq!(f.prompt_stats(at(3)).await.entries, 1);
}

pub async fn an_answer_is_good_until_its_end_and_not_at_it(f: &Fixture) {
    f.put(at(0), [with_vector("tenant:t", "a", 1)]).await;
    let end = noon().plus(HOUR);
    assert!(f.find(key("tenant:t", "a"), at(3599)).await.is_some());
    assert_eq!(f.find(key("tenant:t", "a"), end).await, None);
    let (here, first) = (setting("tenant:t"), model("first"));
    let near = f.database.prompts.prompts_near(&here, &first, end, ALL);
    assert_eq!(near.await.unwrap(), []);
    let stats = f.prompt_stats(end).await;
    assert_eq!((stats.entries, stats.expired), (0, 1));
    assert_eq!(
        f.database
            .prompts
            .prompts_expire(at(3599), ALL)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        f.database.prompts.prompts_expire(end, ALL).await.unwrap(),
        1
    );
    assert_eq!(f.prompt_stats(end).await.expired, 0);
}

pub async fn expiring_takes_at_most_what_it_is_asked_for(f: &Fixture) {
    f.put(at(0), ["a", "b", "c"].map(|it| answer("tenant:t", it)))
        .await;
    let late = at(9999);
    for expected in [2, 1, 0] {
        assert_eq!(
            f.database.prompts.prompts_expire(late, 2).await.unwrap(),
            expected
        );
    }
}

pub async fn near_prompts_are_of_one_model_the_last_used_first(f: &Fixture) {
    for (second, prompt) in [(0, "a"), (1, "b"), (2, "c")] {
        f.put(at(second), [with_vector("tenant:t", prompt, 1)])
            .await;
    }
    let mut other = with_vector("tenant:t", "d", 1);
    other.vector = Some((model("second"), vector(1)));
    f.put(at(3), [other, answer("tenant:t", "e")]).await;
    f.deltas(given("tenant:t", "a", 1, at(9)), at(9)).await;
    let here = setting("tenant:t");
    assert_eq!(f.near(&here, "first", ALL).await, ["a", "c", "b"]);
    assert_eq!(f.near(&here, "first", 2).await, ["a", "c"]);
    assert_eq!(f.near(&here, "second", ALL).await, ["d"]);
    let first = model("first");
    let found = f.database.prompts.prompts_near(&here, &first, at(1), 1);
    assert_eq!(only(found.await.unwrap()).vector, vector(1));
}

pub async fn the_least_recently_used_are_evicted(f: &Fixture) {
    for (second, prompt) in [(0, "a"), (1, "b"), (2, "c"), (3, "d")] {
        f.put(at(second), [answer("tenant:t", prompt)]).await;
    }
    assert!(
        f.has("tenant:t", "b").await,
        "also one that was looked up before"
    );
    f.deltas(given("tenant:t", "a", 1, at(9)), at(9)).await;
    let each = f.prompt_stats(at(9)).await.bytes / 4;
    assert_eq!(each, answer("tenant:t", "a").bytes());
    let evict = |bytes, limit| f.database.prompts.prompts_evict(bytes, limit);
    assert_eq!(evict(4 * each, ALL).await.unwrap(), 0);
    assert_eq!(
        evict(3 * each - 1, 1).await.unwrap(),
        1,
        "at most what it is asked for"
    );
    assert!(
        !f.has("tenant:t", "b").await,
        "the longest unused goes first"
    );
    assert_eq!(evict(3 * each - 1, ALL).await.unwrap(), 1);
    assert!(f.has("tenant:t", "a").await && f.has("tenant:t", "d").await);
    assert_eq!(evict(0, ALL).await.unwrap(), 2);
    assert_eq!(f.prompt_stats(at(9)).await.bytes, 0);
}

pub async fn a_use_noted_late_does_not_make_an_answer_older(f: &Fixture) {
    f.put(at(5), [answer("tenant:t", "a"), answer("tenant:t", "b")])
        .await;
    f.deltas(given("tenant:t", "b", 1, at(8)), at(8)).await;
    f.deltas(given("tenant:t", "b", 1, at(1)), at(9)).await;
    let each = answer("tenant:t", "a").bytes();
    let evicted = f.database.prompts.prompts_evict(each, ALL).await;
    assert_eq!(evicted.unwrap(), 1);
    let found = f.find(key("tenant:t", "b"), at(9)).await.unwrap();
    assert_eq!(found.hits, 2);
}

pub async fn a_scope_is_removed_and_no_other(f: &Fixture) {
    for scope in ["tenant:t", "tenant:t2", "guest:t"] {
        f.put(at(0), ["a", "b", "c"].map(|it| answer(scope, it)))
            .await;
    }
    assert_eq!(f.prompt_stats(at(1)).await.scopes, 3);
    assert!(
        f.has("tenant:t", "a").await,
        "also one that was looked up before"
    );
    let scope = PromptScope::parse("tenant:t").unwrap();
    for expected in [2, 1, 0] {
        let removed = f.database.prompts.prompts_remove(Some(&scope), 2).await;
        assert_eq!(removed.unwrap(), expected);
    }
    assert!(!f.has("tenant:t", "a").await);
    assert!(f.has("tenant:t2", "a").await && f.has("guest:t", "c").await);
    assert_eq!(
        f.database.prompts.prompts_remove(None, ALL).await.unwrap(),
        6
    );
    assert_eq!(f.prompt_stats(at(1)).await.entries, 0);
}

pub async fn erasing_a_guest_removes_what_was_kept_for_it_alone(f: &Fixture) {
    f.say(at(0), "g1", "hello").await;
    f.keep_and_look_up(["guest:g1", "guest:g2", "tenant:g1"])
        .await;
    assert_eq!(f.erase(at(1), "g1").await.prompts, 1);
    assert!(!f.has("guest:g1", "a").await);
    assert!(f.has("guest:g2", "a").await && f.has("tenant:g1", "a").await);
    // Also one who has never said anything.
    let erased = f.erase(at(1), "g2").await;
    assert_eq!((erased.prompts, erased.messages), (1, 0));
    assert!(!f.has("guest:g2", "a").await);
}

pub async fn a_guest_who_becomes_a_user_leaves_no_answers(f: &Fixture) {
    f.say(at(0), "g1", "hello").await;
    f.keep_and_look_up(["guest:g1", "tenant:g1"]).await;
    f.migrate(at(1), "g1", "u1").await;
    assert!(!f.has("guest:g1", "a").await && f.has("tenant:g1", "a").await);
}

pub async fn a_guest_without_a_chat_who_becomes_a_user_leaves_no_answers(f: &Fixture) {
    f.keep_and_look_up(["guest:g1", "guest:g2", "tenant:g1"])
        .await;
    assert_eq!(f.migrate(at(1), "g1", "u1").await, Migrated::default());
    assert!(!f.has("guest:g1", "a").await);
    assert!(f.has("guest:g2", "a").await && f.has("tenant:g1", "a").await);
}

pub async fn lookups_are_counted_for_their_owner_and_the_sums_stay_right(f: &Fixture) {
    f.chatter(at(0), "g1", 2).await;
    f.deltas(lookups("g1", 3, 1, 21), at(5)).await;
    f.deltas(lookups("g1", 0, 2, 0), at(6)).await;
    f.deltas(lookups("nobody", 1, 1, 7), at(6)).await;
    let row = f.usage_row("g1").await;
    assert_eq!(row.total_requests, 2 + 3 + 3);
    assert_eq!((row.cache_hits, row.cache_misses), (3, 2 + 3));
    assert_eq!((row.lookup_misses, row.tokens_saved), (3, 21));
    assert_eq!(
        f.usage("nobody").await.row,
        None,
        "who has said nothing is nobody"
    );
    f.say(at(7), "g1", "more").await;
    f.assert_usage_adds_up().await;
    let stats = f.prompt_stats(at(9)).await;
    assert_eq!((stats.hits, stats.misses, stats.tokens_saved), (4, 4, 28));
    assert!((stats.saved_ms - 4000.0).abs() < 1e-9);
    let metrics = f.database.audit.metrics_audit().await.unwrap();
    assert_eq!((metrics.requests, metrics.entries), (3 + 8, 3));
}

pub async fn lookups_go_with_the_guest_to_the_user(f: &Fixture) {
    f.say(at(0), "g1", "hello").await;
    f.say(at(0), "g2", "hello").await;
    f.deltas(lookups("g1", 2, 1, 10), at(1)).await;
    f.deltas(lookups("g2", 1, 4, 5), at(1)).await;
    f.migrate(at(2), "g1", "u1").await;
    f.migrate(at(3), "g2", "u1").await;
    let row = f.usage_row("u1").await;
    assert_eq!(
        (row.cache_hits, row.lookup_misses, row.tokens_saved),
        (3, 5, 15)
    );
    f.assert_usage_adds_up().await;
}

pub async fn a_repair_of_usage_keeps_the_lookups(f: &Fixture) {
    use guestbook_storage::database::Repair;
    f.chatter(at(0), "g1", 2).await;
    f.deltas(lookups("g1", 3, 1, 21), at(5)).await;
    let before = f.usage_row("g1").await;
    let repair = Repair::Usage(f.usage("g1").await);
    f.database
        .audit
        .repair(vec![repair], before.updated_at)
        .await
        .unwrap();
    assert_eq!(f.usage_row("g1").await, before);
}

pub async fn a_message_costs_no_answer_and_an_answer_no_message(f: &Fixture) {
    f.put(at(0), [with_vector("guest:g1", "a", 1)]).await;
    let entry = with(repeatable(1, "g1", "hello"), Embedding::Vector(vector(2)));
    f.keep(at(0), entry).await;
    assert!(f.database.audit.orphans(ALL).await.unwrap().is_empty());
    assert_eq!(f.database.backend.stats().await.unwrap().entries, 1);
    assert!(f.has("guest:g1", "a").await);
}
