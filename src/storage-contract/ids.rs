//! Laws of the ids under which clients send messages: each is its conversation's own.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{
    ClientId, ContextBudget, Limit, MessageId, NewMessage, Role, SearchText, Timestamp, Words,
};
use guestbook_storage::database::{
    ChatKey, ContextRequest, Outcome, PageRange, PageStart, Recorded, SearchQuery, SearchRequest,
    SearchScope,
};
use std::sync::Arc;
use tokio::task::JoinSet;

fn sent(id: &str, name: &str, text: &str) -> NewMessage {
    let id = ClientId::parse(id).unwrap();
    words(name, Role::User, text).with_client_id(id)
}

/// The id that the client reads.
fn shown(id: MessageId, external: Option<&str>) -> String {
    external.map_or_else(|| id.to_string(), str::to_owned)
}

impl Fixture {
    async fn keep_one(&self, at: Timestamp, message: NewMessage) -> Recorded {
        self.keep(at, plain(message)).await
    }

    async fn outcome(&self, at: Timestamp, message: NewMessage) -> Outcome {
        only(self.record(at, vec![group([message])]).await)
    }

    /// The ids that a guest reads, in order.
    async fn shown(&self, name: &str) -> Vec<String> {
        let messages = self.messages(name, at(99)).await;
        let shown = messages
            .iter()
            .map(|m| shown(m.id, m.external_id.as_deref()));
        shown.collect()
    }
}

pub async fn the_same_id_of_two_guests_is_stored_for_both(f: &Fixture) {
    for key in [id(7).to_string(), "m1".into()] {
        let first = f.keep_one(at(0), sent(&key, "g1", "mine")).await;
        let second = f.keep_one(at(1), sent(&key, "g2", "yours")).await;
        assert_ne!(first.id, second.id);
        for (name, recorded) in [("g1", &first), ("g2", &second)] {
            assert_eq!(recorded.replayed, None, "{name}");
            let external = recorded.external_id.as_deref();
            assert_eq!(shown(recorded.id, external), key, "{name}");
        }
    }
    let both = [id(7).to_string(), "m1".into()];
    assert_eq!(f.shown("g1").await, both);
    assert_eq!(f.shown("g2").await, both);
    f.assert_usage_adds_up().await;
}

pub async fn a_free_uuid_is_the_messages_own_and_any_other_text_stands_beside(f: &Fixture) {
    let own = f.keep_one(at(0), repeatable(7, "g1", "a")).await;
    assert_eq!((own.id, own.external_id), (id(7), None));
    let text = f
        .keep_one(at(1), sent("\u{1F600} a/b 'c'", "g1", "b"))
        .await;
    assert_eq!(text.external_id.as_deref(), Some("\u{1F600} a/b 'c'"));
    let audited = f.audited(&text).await;
    assert_eq!(audited.external_id.as_deref(), Some("\u{1F600} a/b 'c'"));
    let upper = f
        .keep_one(at(2), sent(&id(8).to_string().to_uppercase(), "g1", "c"))
        .await;
    assert_eq!(upper.id, id(8));
    let again = f.keep_one(at(3), repeatable(8, "g1", "c")).await;
    assert!(again.replayed.is_some());
    assert_eq!(again.external_id, upper.external_id);
    assert_eq!(f.messages("g1", at(3)).await.len(), 3);
}

pub async fn an_id_beside_is_repeated_and_contradicted_like_any_other(f: &Fixture) {
    f.keep_one(at(0), repeatable(7, "g1", "mine")).await;
    for key in [id(7).to_string(), "m1".into()] {
        let first = f.keep_one(at(1), sent(&key, "g2", "yours")).await;
        let again = f.keep_one(at(2), sent(&key, "g2", "yours")).await;
        assert!(again.replayed.is_some());
        let answer = |r: &Recorded| (r.id, r.external_id.clone(), r.conversation, r.sequence);
        assert_eq!(answer(&again), answer(&first));
        let other = f.outcome(at(3), sent(&key, "g2", "other")).await;
        assert_eq!(other, conflict(0, ClientId::parse(&key).unwrap()));
        // Also within one group.
        let twice = [sent(&key, "g3", "a"), sent(&key, "g3", "a")];
        let recorded = stored(&only(f.record(at(4), vec![group(twice)]).await));
        assert_eq!(recorded[0].id, recorded[1].id);
        assert!(recorded[0].replayed.is_none() && recorded[1].replayed.is_some());
        let contrary = [sent(&key, "g4", "a"), sent(&key, "g4", "b")];
        let outcome = only(f.record(at(5), vec![group(contrary)]).await);
        assert_eq!(outcome, conflict(1, ClientId::parse(&key).unwrap()));
    }
    assert_eq!(f.messages("g2", at(9)).await.len(), 2);
    assert_eq!(f.history("g4", at(9)).await, None);
}

pub async fn one_batch_of_many_guests_may_have_one_id(f: &Fixture) {
    for key in [id(7).to_string(), "m1".into()] {
        let names: Vec<_> = (0..20).map(|n| format!("g{n}")).collect();
        let groups = || names.iter().map(|name| group([sent(&key, name, name)]));
        let both = groups().chain(groups()).collect();
        let outcomes = f.record(at(0), both).await;
        let recorded: Vec<_> = outcomes.iter().map(|one| only(stored(one))).collect();
        let (first, second) = recorded.split_at(20);
        assert!(first.iter().all(|one| one.replayed.is_none()));
        assert!(second.iter().all(|one| one.replayed.is_some()));
        let ids = |all: &[Recorded]| all.iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(first), ids(second));
    }
    for n in 0..20 {
        let both = [id(7).to_string(), "m1".into()];
        assert_eq!(f.shown(&format!("g{n}")).await, both, "g{n}");
    }
}

pub async fn guests_that_send_one_id_at_once_are_all_answered(f: &Fixture) {
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let chats = Arc::clone(&f.database.chats);
        writers.spawn(async move {
            let name = format!("g{}", writer / 2); // each guest from two connections
            let mut first = 0;
            for n in 0..8 {
                let groups = [repeatable(n, &name, "hello"), sent("m1", &name, "text")];
                let groups = groups.map(|one| group([one])).into();
                let outcomes = chats.record(batch(noon(), groups)).await.unwrap();
                let recorded = outcomes.iter().map(|one| only(stored(one)));
                first += recorded.filter(|one| one.replayed.is_none()).count();
            }
            first
        });
    }
    let first: usize = writers.join_all().await.into_iter().sum();
    assert_eq!(first, 8 * 9);
    for n in 0..8 {
        let mut shown = f.shown(&format!("g{n}")).await;
        shown.sort_unstable();
        let mut expected: Vec<_> = (0..8).map(|n| id(n).to_string()).collect();
        expected.push("m1".into());
        assert_eq!(shown, expected);
    }
}

pub async fn an_id_beside_stays_when_the_other_guest_is_erased(f: &Fixture) {
    f.keep_one(at(0), repeatable(7, "g1", "mine")).await;
    let beside = f.keep_one(at(1), repeatable(7, "g2", "yours")).await;
    f.erase(at(2), "g1").await;
    let again = f.keep_one(at(3), repeatable(7, "g2", "yours")).await;
    assert!(again.replayed.is_some());
    assert_eq!(again.id, beside.id);
    let other = f.outcome(at(4), repeatable(7, "g2", "other")).await;
    assert_eq!(other, conflict(0, id(7)));
    // Who was erased may have it anew.
    let anew = f.keep_one(at(5), repeatable(7, "g1", "anew")).await;
    assert_eq!((anew.id, anew.replayed), (id(7), None));
    assert_eq!(f.shown("g2").await, [id(7).to_string()]);
}

pub async fn an_erased_id_may_be_sent_again(f: &Fixture) {
    f.keep_one(at(0), repeatable(7, "g2", "mine")).await;
    for name in ["g1", "g1"] {
        for key in [id(7).to_string(), "m1".into()] {
            let kept = f.keep_one(at(1), sent(&key, name, "hello")).await;
            assert_eq!(kept.replayed, None);
        }
        f.erase(at(2), name).await;
    }
}

pub async fn what_retention_has_ended_is_in_nobodys_way(f: &Fixture) {
    for key in [id(7).to_string(), "m1".into()] {
        f.keep_one(noon(), sent(&key, "g1", "hello")).await;
        f.keep_one(noon(), sent(&key, "g2", "hello")).await;
    }
    let later = noon().plus(KEPT);
    for name in ["g1", "g2"] {
        for key in [id(7).to_string(), "m1".into()] {
            let kept = f.keep_one(later, sent(&key, name, "anew")).await;
            assert_eq!(kept.replayed, None, "{name} {key}");
            let again = f.keep_one(later, sent(&key, name, "anew")).await;
            assert!(again.replayed.is_some());
        }
    }
}

pub async fn a_message_sent_again_after_signing_up_is_replayed(f: &Fixture) {
    f.keep_one(at(0), repeatable(7, "g2", "in the way")).await;
    let keys = [id(7).to_string(), id(8).to_string(), "m1".into()];
    let mut first = Vec::new();
    for key in &keys {
        first.push(f.keep_one(at(1), sent(key, "g1", "hello")).await);
    }
    f.migrate(at(2), "g1", "u1").await;
    for (key, first) in keys.iter().zip(&first) {
        let again = f.keep_one(at(3), sent(key, "g1", "hello")).await;
        assert!(again.replayed.is_some(), "{key}");
        assert_eq!(
            (again.id, again.conversation),
            (first.id, first.conversation)
        );
    }
    assert_eq!(f.history("g1", at(3)).await, None);
}

pub async fn a_new_chat_after_signing_up_has_ids_of_its_own(f: &Fixture) {
    let keys = [id(7).to_string(), "m1".into()];
    for key in &keys {
        f.keep_one(at(0), sent(key, "g1", "before")).await;
    }
    f.migrate(at(1), "g1", "u1").await;
    for key in &keys {
        let new = f.keep_one(at(2), sent(key, "g1", "after")).await;
        assert_eq!(new.replayed, None, "{key}");
        let again = f.keep_one(at(3), sent(key, "g1", "after")).await;
        assert_eq!((again.id, again.conversation), (new.id, new.conversation));
        // Here the id is taken, whatever it was before.
        let before = f.outcome(at(4), sent(key, "g1", "before")).await;
        assert_eq!(before, conflict(0, ClientId::parse(key).unwrap()));
    }
    assert_eq!(f.shown("g1").await, keys);
}

/// Also where the first of the two is not stored anew, because it is in a chat that is a user's now.
pub async fn a_group_says_one_thing_under_an_id(f: &Fixture) {
    for key in [id(7).to_string(), "m1".into()] {
        f.keep_one(at(0), sent(&key, "g1", "before")).await;
        f.migrate(at(1), "g1", "u1").await;
        let again = || sent(&key, "g1", "before");
        let both = group([again(), sent(&key, "g1", "after")]);
        let expected = conflict(1, ClientId::parse(&key).unwrap());
        assert_eq!(only(f.record(at(2), vec![both]).await), expected);
        let twice = stored(&only(
            f.record(at(3), vec![group([again(), again()])]).await,
        ));
        assert!(twice.iter().all(|one| one.replayed.is_some()), "{key}");
        assert_eq!(f.history("g1", at(4)).await, None);
    }
}

pub async fn fewer_messages_under_a_key_are_another_request(f: &Fixture) {
    f.keep_one(at(0), repeatable(2, "other", "in the way"))
        .await;
    f.keep_one(at(0), repeatable(9, "other", "in the way"))
        .await;
    let part = |n: u128, text: &str| repeatable(n, "g1", text).as_part();
    // Part n has the id n; 9 is that of a message alone under the same key.
    let request = |parts: Vec<NewMessage>| {
        let mut parts = parts;
        let next = id(parts.len() as u128 + 1).into();
        if let Some(last) = parts.last_mut() {
            last.rules_out = vec![next, id(9).into()];
        }
        group(parts)
    };
    let whole = || request(vec![part(1, "a"), part(2, "b"), part(3, "a")]);
    let first = stored(&only(f.record(at(1), vec![whole()]).await));
    assert_eq!(first.len(), 3);
    let fewer = request(vec![part(1, "a"), part(2, "b")]);
    let reordered = request(vec![part(1, "b"), part(2, "a"), part(3, "a")]);
    let alone = group([repeatable(9, "g1", "a").ruling_out([id(1).into()])]);
    let refused = [
        (fewer, conflict(2, id(3))),
        (reordered, conflict(0, id(1))),
        (alone, conflict(1, id(1))),
    ];
    for (request, expected) in refused {
        // Also beside the first request itself, in the same batch.
        let outcomes = f.record(at(2), vec![whole(), request.clone()]).await;
        assert_eq!(outcomes[1], expected);
        let again = stored(&outcomes[0]);
        assert!(again.iter().all(|one| one.replayed.is_some()));
        assert_eq!(only(f.record(at(3), vec![request]).await), expected);
    }
    assert_eq!(f.messages("g1", at(4)).await.len(), 3);
    f.erase(at(5), "g1").await;
    let fewer = request(vec![part(1, "a"), part(2, "b")]);
    let anew = stored(&only(f.record(at(6), vec![fewer]).await));
    assert!(anew.iter().all(|one| one.replayed.is_none()));
    // And one alone rules out several.
    let single = repeatable(9, "g2", "a").ruling_out([id(1).into()]);
    f.keep_one(at(7), single).await;
    let several = [repeatable(1, "g2", "a")
        .as_part()
        .ruling_out([id(9).into()])];
    let outcome = only(f.record(at(8), vec![group(several)]).await);
    assert_eq!(outcome, conflict(1, id(9)));
}

pub async fn every_reader_is_shown_the_id_that_was_sent(f: &Fixture) {
    let said = f.keep_one(at(0), sent("m1", "g1", "a word")).await;
    let key = ChatKey::Conversation(said.conversation);
    for from in [PageStart::At(0), PageStart::Below(9)] {
        let page = PageRange { limit: 9, from };
        let read = f.database.chats.history(&key, page, at(1)).await;
        let message = only(read.unwrap().unwrap().messages);
        assert_eq!(message.external_id.as_deref(), Some("m1"));
    }
    let text = SearchText::parse("q", "word").unwrap();
    let asked = SearchRequest {
        scope: SearchScope::Guest(guest("g1")),
        sought: SearchQuery::Text(Words::of("q", &text).unwrap()),
        k: Limit::default(),
        now: at(1),
    };
    let hit = only(f.database.search.search(asked).await.unwrap().hits);
    assert_eq!(
        (hit.message, hit.external_id.as_deref()),
        (said.id, Some("m1"))
    );
    let asked = ContextRequest {
        guest: guest("g1"),
        budget: ContextBudget::new(9, None).unwrap(),
        about: None,
        now: at(1),
    };
    let context = f.database.search.context(asked).await.unwrap().unwrap();
    let message = only(context.messages).message;
    assert_eq!(message.external_id.as_deref(), Some("m1"));
}
