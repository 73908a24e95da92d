//! Laws of looking for words in all conversations.

use crate::Fixture;
use crate::words::*;
use guestbook_core::error::{ErrorKind, Result};
use guestbook_core::{Filters, Limit, Platform, Role, SearchResults, SearchText, Timestamp, Words};
use guestbook_storage::database::{Group, SearchQuery, SearchRequest, SearchScope, WordsRequest};

fn sought(words: &str) -> Words {
    Words::of("q", &SearchText::parse("q", words).unwrap()).unwrap()
}

fn contents(findings: &SearchResults) -> Vec<&str> {
    let hits = findings.hits.iter();
    hits.map(|hit| hit.content.as_str()).collect()
}

impl Fixture {
    async fn ask(
        &self,
        words: &str,
        k: usize,
        filters: Filters,
        now: Timestamp,
    ) -> Result<SearchResults> {
        let asked = WordsRequest {
            words: sought(words),
            k: Limit::new("k", k).unwrap(),
            filters,
            now,
        };
        self.database.search.search_words(asked).await
    }

    async fn everywhere(&self, words: &str) -> SearchResults {
        let found = self.ask(words, 100, Filters::default(), at(99)).await;
        found.unwrap()
    }

    async fn narrowed(&self, words: &str, filters: Filters) -> Vec<String> {
        let found = self.ask(words, 100, filters, at(99)).await.unwrap();
        contents(&found).into_iter().map(str::to_owned).collect()
    }
}

pub async fn words_are_found_in_all_conversations_the_newest_first(f: &Fixture) {
    f.say(at(1), "g1", "order 17 came").await;
    f.say(at(2), "g2", "my ORDER is 17").await;
    f.say(at(3), "g3", "order 171").await;
    let last = f.say(at(4), "g1", "17, the order").await;
    let found = f.everywhere("17 order").await;
    assert_eq!(
        contents(&found),
        ["17, the order", "my ORDER is 17", "order 17 came"]
    );
    assert_eq!((found.searched, found.of), (4, 4));
    let hit = &found.hits[0];
    assert_eq!((hit.message, hit.sequence), (last.id, 1));
    assert_eq!((hit.role, hit.timestamp), (Role::User, noon()));
    assert_eq!(
        (hit.conversation, hit.score.get()),
        (last.conversation, 1.0)
    );
    let two = f.ask("order", 2, Filters::default(), at(99)).await.unwrap();
    assert_eq!(contents(&two), ["17, the order", "order 171"]);
    assert_eq!(contents(&f.everywhere("order 18").await), [""; 0]);
}

/// Of one moment the greater place comes first, however the messages came.
pub async fn messages_of_one_moment_come_in_the_order_of_their_places(f: &Fixture) {
    for name in ["g1", "g2", "g3"] {
        f.say(at(0), name, "hello").await;
    }
    let said = |name: &str| words(name, Role::User, &format!("{name} likes tea"));
    let names = ["g2", "g3", "g1", "g3", "g2"];
    let groups = names.iter().map(|name| group([said(name)])).collect();
    f.record(at(1), groups).await;
    let mut places: Vec<_> = f
        .everywhere("tea")
        .await
        .hits
        .iter()
        .map(|hit| hit.place())
        .collect();
    let k = f.ask("tea", 3, Filters::default(), at(99)).await.unwrap();
    let first: Vec<_> = k.hits.iter().map(|hit| hit.place()).collect();
    assert_eq!(first, places[..3]);
    places.reverse();
    assert!(places.is_sorted() && places.len() == 5, "{places:?}");
}

/// Texts in which words can be told apart, and written, in many ways.
const SAID: [&str; 40] = [
    "order-17 and user_id=7, see foo.bar/baz?x=1",
    "mail to ann.lee@shop.example.org or https://shop.example.org/cart/17?ref=ax-17",
    "that's 1.5e3 of -17 at 3.14 (v1.2.3) 50% 17th 0x1f",
    "can't won't l'homme d'accord",
    "caf\u{e9} au lait",
    "cafe\u{301} noir",
    "STRASSE und straße",
    "ΟΔΟΣ",
    "οδος",
    "ｏｒｄｅｒ ２３",
    "ﬁne",
    "\u{212a}elvin",
    "Привет, МИР!",
    "«привет» — “мир”…",
    "私は日本人です",
    "東京タワーへ行く ax17日",
    "ｶﾀｶﾅ ガギグ か\u{3099}",
    "안녕하세요 세계",
    "สวัสดีครับ",
    "नमस्ते दुनिया",
    "שלום עולם",
    "مرحبا بالعالم",
    "m² and x³ and ½ cup, ①② 20℃",
    "Guestbook™ © 2026 №5",
    "naïve façade über Ångström",
    "emoji🎉party 👩‍💻 coder",
    "a\u{200d}b soft\u{ad}hyphen",
    "tab\tand\nnewline\r\nend",
    "quote\"s and 'single' back\\slash `tick`",
    "AND OR NOT NEAR(x y) col:val* ^start & | ! <-> :*",
    "%_% like o%r",
    "C++ C# .NET node.js",
    "10:30-11:45 2026-11-28T10:30:00Z",
    "+49 (30) 1234-567",
    "snake_case camelCase SCREAMING_CASE",
    "ǅ ﬃ ﷺ",
    "a",
    "I 1 Ⅳ ª º",
    "d41d8cd98f00b204e9800998ecf8427e",
    "ᾳ ᾼ ὈΔΥΣΣΕΎΣ ὀδυσσεύς",
];

/// What a search within a guest's chat finds, the index must have proposed: word by word, and each text as a whole. Whether a
/// server knows capitals beyond ASCII depends on its locale, so texts with such are for the others.
pub async fn words_are_the_same_as_within_a_chat(f: &Fixture) {
    let knows_capitals = f.database.backend.name() != "postgresql";
    let is_capital = |c: char| !c.is_ascii() && !c.to_lowercase().eq([c]);
    let texts = SAID.into_iter();
    let texts = texts.filter(|text| knows_capitals || !text.contains(is_capital));
    let said: Vec<_> = texts.collect();
    let messages = said.iter().map(|text| words("g1", Role::User, text));
    f.record(at(0), vec![group(messages)]).await;
    let pieces = said.iter().flat_map(|text| text.split_whitespace());
    let (mut looked_for, mut missed) = (0, Vec::new());
    for asked in said.iter().copied().chain(pieces) {
        let text = SearchText::parse("q", asked).unwrap();
        let Ok(sought) = Words::of("q", &text) else {
            continue; // signs alone
        };
        let within = SearchRequest {
            scope: SearchScope::Guest(guest("g1")),
            sought: SearchQuery::Text(sought),
            k: Limit::new("k", 100).unwrap(),
            now: at(99),
        };
        let within = f.database.search.search(within).await.unwrap();
        assert!(!within.hits.is_empty(), "{asked}");
        if f.everywhere(asked).await != within {
            missed.push(asked);
        }
        looked_for += 1;
    }
    assert_eq!(missed, [""; 0]);
    assert!(looked_for > 80, "{looked_for}");
}

pub async fn what_is_deleted_or_has_ended_is_not_found(f: &Fixture) {
    f.say(at(0), "g1", "an old secret").await;
    f.say(at(0).plus(DAY), "g2", "a new secret").await;
    let found = async |now| {
        let found = f.ask("secret", 9, Filters::default(), now).await.unwrap();
        contents(&found).join(" | ")
    };
    let before = at(0).plus(KEPT - SECOND);
    assert_eq!(found(before).await, "a new secret | an old secret");
    assert_eq!(found(at(0).plus(KEPT)).await, "a new secret");
    f.database
        .chats
        .expire(at(0).plus(KEPT), ALL)
        .await
        .unwrap();
    assert_eq!(found(at(0).plus(KEPT)).await, "a new secret");
    f.erase(at(1).plus(DAY), "g2").await;
    assert_eq!(found(at(1).plus(DAY)).await, "");
    // The next messages may take the places of the old ones.
    f.say(at(2).plus(DAY), "g2", "a plain one").await;
    f.say(at(2).plus(DAY), "g3", "another secret").await;
    assert_eq!(found(at(3).plus(DAY)).await, "another secret");
}

pub async fn words_are_narrowed_by_role_platform_and_time(f: &Fixture) {
    for (n, name, role) in [
        (1, "g1", Role::User),
        (2, "g2", Role::User),
        (3, "g2", Role::Assistant),
    ] {
        let mut message = words(name, role, &format!("tea number {n}"));
        message.sent_at = at(n);
        f.keep(at(10 + n), plain(message)).await;
    }
    f.migrate(at(20), "g1", "u1").await;
    let all = Filters::default;
    let role = Some(Role::User);
    let of_role = f.narrowed("tea", Filters { role, ..all() }).await;
    assert_eq!(of_role, ["tea number 2", "tea number 1"]);
    let platform = Some(Platform::Authenticated);
    let of_users = f.narrowed("tea", Filters { platform, ..all() }).await;
    assert_eq!(of_users, ["tea number 1"]);
    let (from, to) = (Some(at(2)), Some(at(3)));
    let of_time = f.narrowed("tea", Filters { from, to, ..all() }).await;
    assert_eq!(of_time, ["tea number 2"]);
}

/// Far more messages have the parts of a word than the word itself.
pub async fn a_hit_is_found_below_any_number_of_near_ones(f: &Fixture) {
    f.say(at(0), "g1", "the user_id").await;
    for batch in 1..=4 {
        let near = (0..1000).map(|_| words("g2", Role::User, "the user has an id"));
        f.record(at(batch), vec![group(near)]).await;
    }
    assert_eq!(contents(&f.everywhere("user_id").await), ["the user_id"]);
    assert_eq!(f.everywhere("user id").await.hits.len(), 100);
}

pub async fn no_message_is_too_much_for_the_index(f: &Fixture) {
    let one_word = "x".repeat(65_536);
    let many: String = (0..9000).map(|n| format!("w{n} ")).collect();
    let signs: String = ('\u{10000}'..).take(16_000).collect();
    let grows = "\u{fdfa}".repeat(20_000);
    for text in [&one_word, &many, &signs, &grows] {
        let group = Group(vec![plain(words("g1", Role::User, text))]);
        f.record(at(0), vec![group]).await;
    }
    assert_eq!(f.everywhere("w17 w8999").await.hits.len(), 1);
}

pub(crate) async fn without_an_index_it_says_how_to_have_one(f: &Fixture) {
    f.say(at(0), "g1", "hello").await;
    let refused = f.ask("hello", 9, Filters::default(), at(1)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.context().contains("--text-index on"), "{refused}");
}
