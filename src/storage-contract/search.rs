//! Laws of searching, and of choosing a context.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{
    ContextBudget, InclusionReason, Limit, ModelId, NewMessage, Role, Score, SearchResults,
    SearchText, Timestamp, Vector, Words,
};
use guestbook_storage::database::{
    Context, ContextRequest, Embedding, Group, Recorded, SearchQuery, SearchRequest, SearchScope,
    VectorOutcome, VectorUpdate,
};

/// A unit vector of the laws: near 0 it points along one axis, near 90 along another.
fn towards(degrees: u8) -> Vector {
    let angle = f32::from(degrees).to_radians();
    let mut components = [0.0; DIMENSION];
    (components[0], components[1]) = (angle.cos(), angle.sin());
    Vector::quantise(&components, DIMENSION).unwrap()
}

fn query_vector(degrees: u8) -> SearchQuery {
    meaning_of(&model("first"), degrees)
}

fn meaning_of(model: &ModelId, degrees: u8) -> SearchQuery {
    SearchQuery::Meaning {
        model: model.clone(),
        vector: towards(degrees),
    }
}

fn text(words: &str) -> SearchQuery {
    let text = SearchText::parse("q", words).unwrap();
    SearchQuery::Text(Words::of("q", &text).unwrap())
}

fn of_guest(name: &str) -> SearchScope {
    SearchScope::Guest(guest(name))
}

fn of_user(name: &str) -> SearchScope {
    SearchScope::User(owner(name))
}

fn contents(findings: &SearchResults) -> Vec<&str> {
    let hits = findings.hits.iter();
    hits.map(|hit| hit.content.as_str()).collect()
}

impl Fixture {
    /// A guest says something that points in a direction.
    async fn hint(&self, name: &str, text: &str, degrees: u8) -> Recorded {
        let entry = with(
            words(name, Role::User, text),
            Embedding::Vector(towards(degrees)),
        );
        self.keep(at(0), entry).await
    }

    async fn search_at(
        &self,
        scope: SearchScope,
        sought: SearchQuery,
        k: usize,
        now: Timestamp,
    ) -> SearchResults {
        let asked = SearchRequest {
            scope,
            sought,
            k: Limit::new("k", k).unwrap(),
            now,
        };
        self.database.search.search(asked).await.unwrap()
    }

    async fn search(&self, scope: SearchScope, sought: SearchQuery, k: usize) -> SearchResults {
        self.search_at(scope, sought, k, noon()).await
    }

    async fn context_at(
        &self,
        name: &str,
        tokens: u64,
        recent: Option<u64>,
        about: Option<u8>,
        now: Timestamp,
    ) -> Option<Context> {
        let asked = ContextRequest {
            guest: guest(name),
            budget: ContextBudget::new(tokens, recent).unwrap(),
            about: about.map(|degrees| (model("first"), towards(degrees))),
            now,
        };
        self.database.search.context(asked).await.unwrap()
    }

    async fn context(
        &self,
        name: &str,
        tokens: u64,
        recent: Option<u64>,
        about: Option<u8>,
    ) -> Context {
        let found = self.context_at(name, tokens, recent, about, noon()).await;
        found.unwrap()
    }
}

pub async fn the_nearest_vectors_are_found_the_nearest_first(f: &Fixture) {
    for (text, degrees) in [
        ("far", 80),
        ("near", 10),
        ("nearest", 2),
        ("farther", 89),
        ("middle", 40),
    ] {
        f.hint("g1", text, degrees).await;
    }
    let found = f.search(of_guest("g1"), query_vector(0), 3).await;
    assert_eq!(contents(&found), ["nearest", "near", "middle"]);
    assert_eq!((found.searched, found.of), (5, 5));
    for (hit, degrees) in found.hits.iter().zip([2, 10, 40]) {
        let cosine = towards(0).cosine(&towards(degrees)).unwrap();
        assert_eq!(hit.score, Score::new(cosine), "{degrees}");
    }
    let all = f.search(of_guest("g1"), query_vector(0), 100).await;
    assert_eq!(all.hits.len(), 5);
    assert_eq!(all.hits[..3], found.hits);
}

pub async fn a_hit_is_the_message_as_it_was_stored(f: &Fixture) {
    let mut message = words("g1", Role::Assistant, "the answer  is\n42");
    message.sent_at = time("2021-03-04T05:06:07.089Z");
    f.hint("g1", "a question", 80).await;
    let stored = f
        .keep(at(0), with(message, Embedding::Vector(towards(0))))
        .await;
    for sought in [query_vector(0), text("answer")] {
        let hit = only(f.search(of_guest("g1"), sought, 1).await.hits);
        assert_eq!(
            (hit.message, hit.conversation),
            (stored.id, stored.conversation)
        );
        assert_eq!((hit.sequence, hit.role), (1, Role::Assistant));
        assert_eq!(hit.content.as_str(), "the answer  is\n42");
        assert_eq!(hit.timestamp, time("2021-03-04T05:06:07.089Z"));
        assert_eq!(hit.score, Score::FULL);
    }
}

pub async fn of_equal_scores_the_newer_comes_first(f: &Fixture) {
    // Stored in one order, their ids in another.
    for n in [5, 1, 9, 3, 7] {
        let message = repeatable(n, "g1", &format!("same {n}"));
        let entry = with(message, Embedding::Vector(towards(30)));
        f.keep(at(0), entry).await;
    }
    for sought in [query_vector(30), text("same")] {
        let found = f.search(of_guest("g1"), sought, 3).await;
        assert_eq!(contents(&found), ["same 7", "same 3", "same 9"]);
    }
}

pub async fn vectors_of_other_models_are_never_compared(f: &Fixture) {
    let moved = f.hint("g1", "moved to another model", 0).await;
    f.hint("g1", "still of the first", 45).await;
    let second = model("second");
    let update = VectorUpdate {
        id: moved.id,
        attempts: 1,
        outcome: VectorOutcome::Vector(towards(0)),
    };
    let updated = f
        .database
        .vectors
        .vectors_update(&second, vec![update], at(1));
    updated.await.unwrap();
    let found = f.search(of_guest("g1"), query_vector(0), 9).await;
    assert_eq!(contents(&found), ["still of the first"]);
    assert_eq!((found.searched, found.of), (1, 2));
    let found = f.search(of_guest("g1"), meaning_of(&second, 0), 9).await;
    assert_eq!(contents(&found), ["moved to another model"]);
    assert_eq!((found.searched, found.of), (1, 2));
    let none = f
        .search(of_guest("g1"), meaning_of(&model("third"), 0), 9)
        .await;
    assert_eq!((none.hits.len(), none.searched, none.of), (0, 0, 2));
}

pub async fn a_message_without_a_vector_is_counted_and_not_compared(f: &Fixture) {
    f.hint("g1", "has one", 0).await;
    for embedding in [Embedding::Pending, Embedding::Nothing, Embedding::Off] {
        let message = words("g1", Role::User, "has none");
        f.keep(at(0), with(message, embedding)).await;
    }
    let found = f.search(of_guest("g1"), query_vector(0), 9).await;
    assert_eq!(contents(&found), ["has one"]);
    assert_eq!((found.searched, found.of), (1, 4));
    let found = f.search(of_guest("g1"), text("has"), 9).await;
    assert_eq!((found.hits.len(), found.searched, found.of), (4, 4, 4));
}

pub async fn a_text_is_found_by_all_of_its_words(f: &Fixture) {
    for said in [
        "order 17 came",
        "my ORDER is 17",
        "order 171",
        "17 cafés",
        "STRASSE 17",
        "the order",
        "\u{212a}elvin 17",
        "100% of_it",
    ] {
        f.say(noon(), "g1", said).await;
    }
    let found = async |words: &str| {
        let found = f.search(of_guest("g1"), text(words), 9).await;
        contents(&found).join(" | ")
    };
    assert_eq!(found("17 order").await, "my ORDER is 17 | order 17 came");
    assert_eq!(found("cafe\u{301}s").await, "17 cafés");
    assert_eq!(found("straße").await, "STRASSE 17");
    assert_eq!(found("kelvin").await, "\u{212a}elvin 17");
    assert_eq!(found("of_it").await, "100% of_it");
    assert_eq!(found("o%r").await, "");
    assert_eq!(found("order 18").await, "");
}

pub async fn guests_and_users_find_their_own_only(f: &Fixture) {
    f.hint("g1", "of g1", 0).await;
    f.hint("g2", "of g2", 0).await;
    for sought in [query_vector(0), text("of")] {
        let found = f.search(of_guest("g1"), sought.clone(), 9).await;
        assert_eq!(contents(&found), ["of g1"]);
        assert_eq!(found.of, 1);
        // A guest is no user, whatever its id.
        let found = f.search(of_user("g1"), sought.clone(), 9).await;
        assert_eq!(found, SearchResults::default());
        let found = f.search(of_guest("nobody"), sought, 9).await;
        assert_eq!(found, SearchResults::default());
    }
}

pub async fn a_users_conversations_are_searched_together(f: &Fixture) {
    for (n, degrees) in [(1, 30), (2, 10), (3, 30)] {
        let name = format!("g{n}");
        f.hint(&name, &format!("first of {n}"), degrees).await;
        f.hint(&name, &format!("second of {n}"), 80).await;
        f.migrate(at(1), &name, "u1").await;
    }
    f.hint("g9", "another user's", 0).await;
    f.migrate(at(1), "g9", "u2").await;
    let found = f.search(of_user("u1"), query_vector(0), 3).await;
    assert_eq!(contents(&found), ["first of 2", "first of 3", "first of 1"]);
    assert_eq!((found.searched, found.of), (6, 6));
    let found = f.search(of_user("u1"), text("of"), 3).await;
    assert_eq!(
        contents(&found),
        ["second of 3", "first of 3", "second of 2"]
    );
    assert_eq!((found.searched, found.of), (6, 6));
    let found = f.search(of_guest("g1"), query_vector(0), 3).await;
    assert_eq!(found, SearchResults::default());
}

pub async fn what_was_erased_is_not_found_in_the_moment_after(f: &Fixture) {
    f.hint("g1", "a secret", 0).await;
    f.erase(at(1), "g1").await;
    for sought in [query_vector(0), text("secret")] {
        let found = f.search(of_guest("g1"), sought, 9).await;
        assert_eq!(found, SearchResults::default());
    }
    assert_eq!(f.context_at("g1", 99, None, Some(0), at(1)).await, None);
    f.hint("g1", "a fresh start", 50).await;
    let found = f.search(of_guest("g1"), query_vector(0), 9).await;
    assert_eq!(contents(&found), ["a fresh start"]);
    assert_eq!(f.context("g1", 99, None, None).await.messages.len(), 1);
}

/// Beside these laws, because no index is kept for them.
pub async fn all_conversations_are_searched_for_words_only_with_an_index(f: &Fixture) {
    crate::text::without_an_index_it_says_how_to_have_one(f).await;
}

pub async fn a_long_chat_is_searched_to_its_beginning(f: &Fixture) {
    let message = |n: u64| words("g1", Role::User, &format!("message {n} of many"));
    let entry = |n: u64| {
        let degrees = if n == 3 { 0 } else { 60 + (n % 30) as u8 };
        with(message(n), Embedding::Vector(towards(degrees)))
    };
    for thousand in 0..5 {
        let entries = (thousand * 1000..(thousand + 1) * 1000).map(entry);
        f.record(at(0), vec![Group(entries.collect())]).await;
    }
    let found = f.search(of_guest("g1"), query_vector(0), 1).await;
    assert_eq!(contents(&found), ["message 3 of many"]);
    assert_eq!((found.searched, found.of), (5000, 5000));
    let found = f.search(of_guest("g1"), text("many 7 message"), 9).await;
    assert_eq!(contents(&found), ["message 7 of many"]);
    let found = f.search(of_guest("g1"), text("many"), 2).await;
    assert_eq!(
        contents(&found),
        ["message 4999 of many", "message 4998 of many"]
    );
    let context = f.context("g1", 8, Some(1), Some(0)).await;
    assert_eq!(sequences(&context), [3, 4999]);
}

fn sequences(context: &Context) -> Vec<u64> {
    let messages = context.messages.iter();
    messages.map(|one| one.message.sequence).collect()
}

/// Questions and answers by turns, each of four tokens.
async fn talk(f: &Fixture, degrees: &[u8]) {
    for (n, degrees) in degrees.iter().enumerate() {
        let entry = |role, text: String| {
            let message: NewMessage = words("g1", role, &text);
            with(message, Embedding::Vector(towards(*degrees)))
        };
        let entries = vec![
            entry(Role::User, format!("what of number {n}")),
            entry(Role::Assistant, format!("this on number {n}")),
        ];
        f.record(at(0), vec![Group(entries)]).await;
    }
}

pub async fn a_context_is_the_newest_that_fits(f: &Fixture) {
    talk(f, &[0, 0, 0]).await;
    let context = f.context("g1", 23, None, None).await;
    assert_eq!(sequences(&context), [2, 3, 4, 5]);
    assert!(
        context
            .messages
            .iter()
            .all(|one| one.why == InclusionReason::Recent && one.tokens == 4)
    );
    assert_eq!((context.searched, context.of), (0, 0));
    assert_eq!(
        context.messages[0].message,
        f.messages("g1", noon()).await[2]
    );
    assert_eq!(
        sequences(&f.context("g1", 24, None, None).await),
        [0, 1, 2, 3, 4, 5]
    );
    assert_eq!(sequences(&f.context("g1", 24, Some(1), None).await), [4, 5]);
    assert!(f.context("g1", 7, None, None).await.messages.is_empty());
}

pub async fn a_context_has_what_is_relevant_among_the_older(f: &Fixture) {
    talk(f, &[50, 5, 70, 20, 90]).await;
    let context = f.context("g1", 24, Some(2), Some(0)).await;
    assert_eq!(sequences(&context), [2, 3, 6, 7, 8, 9]);
    let why: Vec<_> = context.messages.iter().map(|one| one.why).collect();
    let score = |degrees| Score::new(towards(0).cosine(&towards(degrees)).unwrap());
    let relevant = |degrees| InclusionReason::Relevant(score(degrees));
    assert_eq!(
        why,
        [
            relevant(5),
            relevant(5),
            relevant(20),
            relevant(20),
            InclusionReason::Recent,
            InclusionReason::Recent
        ]
    );
    assert_eq!((context.searched, context.of), (10, 10));
}

pub async fn there_is_no_context_of_a_stranger(f: &Fixture) {
    assert_eq!(f.context_at("g1", 99, None, None, noon()).await, None);
    assert_eq!(f.context_at("g1", 99, None, Some(0), noon()).await, None);
}

pub async fn what_retention_has_ended_is_not_found(f: &Fixture) {
    f.hint("g1", "kept a week", 0).await;
    let end = at(0).plus(KEPT);
    let before = Timestamp::from_ms(end.ms() - 1);
    for sought in [query_vector(0), text("week")] {
        let found = f.search_at(of_guest("g1"), sought.clone(), 9, before).await;
        assert_eq!(contents(&found), ["kept a week"]);
        let found = f.search_at(of_guest("g1"), sought, 9, end).await;
        assert_eq!(found, SearchResults::default());
    }
    assert!(
        f.context_at("g1", 99, None, Some(0), before)
            .await
            .is_some()
    );
    assert_eq!(f.context_at("g1", 99, None, Some(0), end).await, None);
}
