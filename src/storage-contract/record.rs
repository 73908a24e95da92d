//! Laws of storing: steps 2-7, whole groups, repeated ids.

use crate::Fixture;
use crate::words::*;
use guestbook_core::error::ErrorKind;
use guestbook_core::{
    Digest, EmbeddingState, Metadata, Role, RowState, Timestamp, Window, chain_link, chain_start,
    content_hash,
};
use guestbook_storage::database::{AuditScope, Batch, Outcome, Recorded};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

pub fn metadata(json: &str) -> Option<Metadata> {
    Some(Metadata::parse(json).unwrap())
}

pub async fn a_first_message_begins_every_row(f: &Fixture) {
    let said = f.say(noon(), "g1", "Hello there").await;
    let window = Window {
        from: 0,
        expires_at: noon().plus(TTL),
    };
    let expected = Recorded {
        id: said.id,
        external_id: None,
        conversation: said.conversation,
        sequence: 0,
        conversation_row: RowState::Created,
        usage_row: RowState::Created,
        embedding: EmbeddingState::Off,
        window: Some(window),
        replayed: None,
    };
    assert_eq!(said, expected);
    let found = f.audited(&said).await;
    assert_eq!((found.sequence, found.stored_tokens), (0, 2));
    assert_eq!(found.stored_hash, Some(content_hash("Hello there")));
    let mapping = found.mapping.unwrap();
    assert_eq!((mapping.owner, mapping.is_synced), (owner("g1"), false));
    assert_eq!(f.usage_row("g1").await.total_requests, 1);
    assert_eq!(f.database.audit.metrics_audit().await.unwrap().requests, 1);
}

pub async fn a_second_message_updates_the_rows(f: &Fixture) {
    let first = f.say(at(0), "g1", "one two").await;
    let second = f.say(at(5), "g1", "three").await;
    assert_eq!(second.conversation, first.conversation);
    assert_eq!(second.sequence, 1);
    assert_eq!(second.conversation_row, RowState::Updated);
    assert_eq!(second.usage_row, RowState::Updated);
    let row = f.conversation("g1", at(5)).await;
    assert_eq!((row.message_count, row.total_tokens), (2, 3));
    assert_eq!((row.created_at, row.accessed_at), (at(0), at(5)));
    assert_eq!(row.expires_at, None);
}

pub async fn guests_share_nothing(f: &Fixture) {
    let one = f.say(at(0), "g1", "mine").await;
    let two = f.say(at(0), "g2", "yours").await;
    assert_ne!(one.conversation, two.conversation);
    assert_eq!((one.sequence, two.sequence), (0, 0));
    assert_eq!(two.conversation_row, RowState::Created);
    assert_eq!(f.messages("g1", at(0)).await.len(), 1);
    // Guest ids keep their case.
    assert_eq!(f.say(at(1), "G1", "other").await.sequence, 0);
}

pub async fn sequences_are_dense_under_32_writers(f: &Fixture) {
    let mut writers = JoinSet::new();
    for writer in 0..32 {
        let chats = Arc::clone(&f.database.chats);
        writers.spawn(async move {
            let mut said = Vec::new();
            for i in 0..8 {
                let text = format!("{writer} {i}");
                let own = group([words("g1", Role::User, &text)]);
                let outcomes = chats.record(batch(at(i), vec![own])).await.unwrap();
                said.extend(stored(&outcomes[0]));
            }
            said
        });
    }
    let said: Vec<Recorded> = writers.join_all().await.into_iter().flatten().collect();
    let conversations: BTreeSet<_> = said.iter().map(|r| r.conversation).collect();
    assert_eq!(conversations.len(), 1);
    let sequences: BTreeSet<_> = said.iter().map(|r| r.sequence).collect();
    assert_eq!(sequences, (0..256).collect());
    let began = |r: &&Recorded| r.conversation_row == RowState::Created;
    assert_eq!(said.iter().filter(began).count(), 1);
    assert_eq!(f.messages("g1", noon()).await.len(), 256);
    assert_eq!(f.usage_row("g1").await.total_requests, 256);
}

pub async fn outcomes_come_in_the_order_of_the_groups(f: &Fixture) {
    let groups = (0..20).map(|i| {
        let name = format!("g{}", i % 3);
        group([repeatable(i, &name, "hello")])
    });
    let outcomes = f.record(noon(), groups.collect()).await;
    let ids: Vec<_> = outcomes.iter().map(|o| only(stored(o)).id).collect();
    assert_eq!(ids, (0..20).map(id).collect::<Vec<_>>());
    let sequences = outcomes.iter().map(|o| only(stored(o)).sequence);
    let expected: Vec<u64> = (0..20).map(|i| i / 3).collect();
    assert_eq!(sequences.collect::<Vec<_>>(), expected);
}

pub async fn an_empty_batch_is_no_error(f: &Fixture) {
    assert_eq!(f.record(noon(), Vec::new()).await, Vec::new());
    let metrics = f.database.audit.metrics_audit().await.unwrap();
    assert_eq!((metrics.requests, metrics.messages), (0, 0));
}

pub async fn a_repeated_id_is_replayed_and_stores_nothing(f: &Fixture) {
    f.say(at(0), "g1", "before").await;
    let first = f.keep(at(1), plain(repeatable(7, "g1", "hello"))).await;
    let conversation = f.conversation("g1", at(1)).await;
    let usage = f.usage("g1").await;
    let metrics = f.database.audit.metrics_audit().await.unwrap();

    let again = f.keep(at(9), plain(repeatable(7, "g1", "hello"))).await;
    assert!(again.replayed.is_some());
    assert_eq!(again.window, None);
    let answer = |r: &Recorded| (r.id, r.conversation, r.sequence, r.embedding);
    assert_eq!(answer(&again), answer(&first));
    assert_eq!(f.conversation("g1", at(9)).await, conversation);
    assert_eq!(f.usage("g1").await, usage);
    assert_eq!(f.database.audit.metrics_audit().await.unwrap(), metrics);
}

pub async fn a_replay_says_created_only_of_the_first_message(f: &Fixture) {
    for n in 0..2 {
        f.keep(at(0), plain(repeatable(n, "g1", "hello"))).await;
    }
    let first = f.keep(at(1), plain(repeatable(0, "g1", "hello"))).await;
    let second = f.keep(at(1), plain(repeatable(1, "g1", "hello"))).await;
    let rows = |r: &Recorded| (r.conversation_row, r.usage_row);
    assert_eq!(rows(&first), (RowState::Created, RowState::Created));
    assert_eq!(rows(&second), (RowState::Updated, RowState::Updated));
}

pub async fn an_id_with_other_content_conflicts_and_stores_nothing_of_its_group(f: &Fixture) {
    f.keep(at(0), plain(repeatable(7, "g1", "hello"))).await;
    let mut as_tool = repeatable(7, "g1", "hello");
    as_tool.role = Role::Tool;
    let mut later = repeatable(7, "g1", "hello");
    later.sent_at = at(55);
    let tagged = repeatable(7, "g1", "hello").with_metadata(metadata(r#"{"k":1}"#));
    for imposter in [repeatable(7, "g1", "other"), as_tool, later, tagged] {
        let companions = [words("g1", Role::User, "a"), imposter];
        let outcome = only(f.record(at(1), vec![group(companions)]).await);
        assert_eq!(outcome, conflict(1, id(7)));
    }
    assert_eq!(f.messages("g1", at(1)).await.len(), 1);
    assert_eq!(f.database.audit.metrics_audit().await.unwrap().requests, 1);
}

pub async fn a_replay_has_the_same_metadata_and_the_time_if_it_has_one(f: &Fixture) {
    let sent = |json: Option<&str>| {
        let message = repeatable(7, "g1", "hello");
        message.with_metadata(json.and_then(metadata))
    };
    f.keep(at(0), plain(sent(Some(r#"{"a":1,"b":[2]}"#)))).await;
    let mut untimed = sent(Some(r#"{"a":1,"b":[2]}"#)).untimed();
    untimed.sent_at = at(55); // ours, and another one at each try
    for again in [untimed, sent(Some(r#"{ "b":[2], "a":1 }"#))] {
        assert!(f.keep(at(1), plain(again)).await.replayed.is_some());
    }
    for other in [None, Some("{}"), Some(r#"{"a":1,"b":[3]}"#)] {
        let outcome = only(f.record(at(1), vec![group([sent(other)])]).await);
        assert_eq!(outcome, conflict(0, id(7)), "{other:?}");
    }
    let message = only(f.messages("g1", at(1)).await);
    assert_eq!(message.sent_at, noon());
    assert_eq!(message.metadata.unwrap().as_str(), r#"{"a":1,"b":[2]}"#);
}

pub async fn a_group_is_whole_or_not_at_all(f: &Fixture) {
    f.keep(at(0), plain(repeatable(1, "g1", "hello"))).await;
    let bad = group([
        repeatable(10, "g1", "a"),
        repeatable(1, "g1", "not hello"),
        repeatable(11, "g1", "b"),
    ]);
    let good = group([repeatable(12, "g1", "c"), repeatable(13, "g1", "d")]);
    let outcomes = f.record(at(1), vec![bad, good]).await;
    assert!(matches!(outcomes[0], Outcome::Conflict { index: 1, .. }));
    let sequences: Vec<_> = stored(&outcomes[1]).iter().map(|r| r.sequence).collect();
    assert_eq!(sequences, [1, 2]);
    let ids: Vec<_> = f.messages("g1", at(1)).await.iter().map(|m| m.id).collect();
    assert_eq!(ids, [id(1), id(12), id(13)]);
}

pub async fn a_group_may_be_part_new_and_part_repeated(f: &Fixture) {
    f.keep(at(0), plain(repeatable(1, "g1", "hello"))).await;
    let mixed = group([repeatable(1, "g1", "hello"), repeatable(2, "g1", "again")]);
    let recorded = stored(&only(f.record(at(1), vec![mixed]).await));
    assert_eq!((recorded[0].sequence, recorded[1].sequence), (0, 1));
    assert!(recorded[0].replayed.is_some() && recorded[1].replayed.is_none());
}

pub async fn parts_under_one_key_are_all_new_or_all_repeated(f: &Fixture) {
    let part = |n: u128, text: &str| repeatable(n, "g1", text).as_part();
    let both = || group([part(1, "hello"), part(2, "again")]);
    let more = group([part(1, "hello"), part(2, "again"), part(3, "more")]);
    let first = stored(&only(f.record(at(0), vec![both()]).await));
    assert_eq!((first[0].sequence, first[1].sequence), (0, 1));
    let conflict = conflict(2, id(3));
    let beside = group([repeatable(4, "g1", "beside")]);
    let outcomes = f.record(at(1), vec![more.clone(), beside, more]).await;
    assert_eq!((&outcomes[0], &outcomes[2]), (&conflict, &conflict));
    assert_eq!(stored(&outcomes[1])[0].sequence, 2);
    let again = stored(&only(f.record(at(2), vec![both()]).await));
    assert!(again.iter().all(|recorded| recorded.replayed.is_some()));
    // Also within one batch, where the first group is not in the tables yet.
    let grown = group([part(5, "a"), part(6, "b"), part(7, "c")]);
    let outcomes = [group([part(5, "a"), part(6, "b")]), grown];
    let outcomes = f.record(at(3), outcomes.into()).await;
    assert_eq!(stored(&outcomes[0]).len(), 2);
    assert!(matches!(outcomes[1], Outcome::Conflict { index: 2, .. }));
    let ids: Vec<_> = f.messages("g1", at(3)).await.iter().map(|m| m.id).collect();
    assert_eq!(ids, [1, 2, 4, 5, 6].map(id));
}

pub async fn an_id_repeated_within_a_group_is_stored_once(f: &Fixture) {
    let twice = group([repeatable(1, "g1", "hello"), repeatable(1, "g1", "hello")]);
    let recorded = stored(&only(f.record(at(0), vec![twice]).await));
    assert!(recorded[0].replayed.is_none() && recorded[1].replayed.is_some());
    assert_eq!(recorded[1].sequence, 0);
    let contrary = group([repeatable(2, "g1", "yes"), repeatable(2, "g1", "no")]);
    let outcome = only(f.record(at(1), vec![contrary]).await);
    assert_eq!(outcome, conflict(1, id(2)));
    assert_eq!(f.messages("g1", at(1)).await.len(), 1);
}

pub async fn an_id_repeated_within_a_batch_is_stored_once(f: &Fixture) {
    let groups = vec![
        group([repeatable(1, "g1", "hello")]),
        group([repeatable(1, "g1", "hello")]),
        group([repeatable(1, "g1", "other")]),
    ];
    let outcomes = f.record(at(0), groups).await;
    assert!(only(stored(&outcomes[0])).replayed.is_none());
    assert!(only(stored(&outcomes[1])).replayed.is_some());
    assert!(matches!(outcomes[2], Outcome::Conflict { index: 0, .. }));
    assert_eq!(f.messages("g1", at(0)).await.len(), 1);
}

pub async fn a_refused_group_leaves_its_other_ids_free(f: &Fixture) {
    f.keep(at(0), plain(repeatable(1, "g1", "hello"))).await;
    let groups = vec![
        group([repeatable(2, "g1", "mine"), repeatable(1, "g1", "no")]),
        group([repeatable(2, "g2", "not yours")]),
    ];
    let outcomes = f.record(at(1), groups).await;
    assert!(matches!(outcomes[0], Outcome::Conflict { index: 1, .. }));
    assert_eq!(only(stored(&outcomes[1])).replayed, None);
    assert_eq!(only(f.messages("g2", at(1)).await).id, id(2));
}

pub async fn an_unannounced_repetition_fails_the_whole_batch(f: &Fixture) {
    let once = words("g1", Role::User, "hello");
    f.keep(at(0), plain(once.clone())).await;
    let groups = vec![
        group([words("g2", Role::User, "innocent")]),
        group([once]),
        group([words("g3", Role::User, "innocent too")]),
    ];
    let tallied = Batch {
        deltas: reads(1, 1),
        ..Arc::unwrap_or_clone(batch(at(1), groups))
    };
    let refused = f
        .database
        .chats
        .record(Arc::new(tallied))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(f.messages("g1", at(1)).await.len(), 1);
    for innocent in ["g2", "g3"] {
        assert_eq!(f.history(innocent, at(1)).await, None);
        assert_eq!(f.usage(innocent).await.row, None);
    }
    assert_eq!(f.database.audit.metrics_audit().await.unwrap().requests, 1);
}

pub async fn the_hash_chain_covers_every_message(f: &Fixture) {
    let roles = [Role::System, Role::User, Role::Assistant, Role::Tool];
    for (i, role) in roles.into_iter().enumerate() {
        let mut message = words("g1", role, &format!("text {i}"));
        message.sent_at = Timestamp::from_ms(i as i64 * 1001);
        f.keep(at(i as u64), plain(message)).await;
    }
    let history = f.history("g1", at(9)).await.unwrap();
    let mut head: Digest = chain_start(history.conversation.id);
    for m in &history.messages {
        let content = content_hash(m.content.as_str());
        head = chain_link(head, m.sequence, m.role, content, m.sent_at);
    }
    assert_eq!(history.conversation.hash, head.to_hex());
}

pub async fn the_title_is_the_first_user_message(f: &Fixture) {
    let title = async |role, text: &str| {
        f.keep(at(0), plain(words("g1", role, text))).await;
        f.conversation("g1", at(0)).await.title
    };
    assert_eq!(title(Role::System, "You are kind").await, "Guest Chat - g1");
    let long = "é".repeat(60);
    assert_eq!(title(Role::User, &long).await, "é".repeat(50));
    assert_eq!(title(Role::User, "later words").await, "é".repeat(50));
}

pub async fn a_title_is_one_line_and_ends_between_characters(f: &Fixture) {
    let flags = "🇫🇷".repeat(60);
    for (guest, text, title) in [
        ("g1", "  two\r\n\tlines \u{7} of it\n", "two lines of it"),
        ("g2", &*flags, &*"🇫🇷".repeat(50)),
        (
            "g3",
            &*format!("{}👨‍👩‍👧‍👦 and more", "x".repeat(49)),
            &*format!("{}👨‍👩‍👧‍👦", "x".repeat(49)),
        ),
        ("g4", "\u{1}", "Guest Chat - g4"),
    ] {
        f.keep(at(0), plain(words(guest, Role::User, text))).await;
        assert_eq!(f.conversation(guest, at(0)).await.title, title);
        f.keep(at(1), plain(words(guest, Role::User, "later words")))
            .await;
        assert_eq!(f.conversation(guest, at(1)).await.title, title);
    }
}

pub async fn a_message_is_returned_as_it_was_sent(f: &Fixture) {
    let text = "  two\n\"lines\" \u{1F600} of \\text  ";
    let json = r#"{"b":[1,2.50,null],"a":"é"}"#;
    let mut message = words("g1", Role::Assistant, text);
    message.sent_at = time("1999-12-31T23:59:59.999Z");
    message.metadata = Some(Metadata::parse(json).unwrap());
    let recorded = f.keep(at(3), plain(message)).await;
    let found = only(f.messages("g1", at(3)).await);
    assert_eq!((found.id, found.sequence), (recorded.id, 0));
    assert_eq!(
        (found.role, found.content.as_str()),
        (Role::Assistant, text)
    );
    assert_eq!(found.sent_at, time("1999-12-31T23:59:59.999Z"));
    assert_eq!(found.created_at, at(3));
    assert_eq!(found.metadata.unwrap().as_str(), json);
}

pub async fn a_large_batch_is_stored_like_a_small_one(f: &Fixture) {
    let whole = (0..1000).map(|i| words("g1", Role::User, &format!("line {i}")));
    let recorded = stored(&only(f.record(noon(), vec![group(whole)]).await));
    let sequences: Vec<_> = recorded.iter().map(|r| r.sequence).collect();
    assert_eq!(sequences, (0..1000).collect::<Vec<_>>());
    assert_eq!(f.messages("g1", noon()).await.len(), 1000);
    let conversation_audit = only(f.conversation_audits(AuditScope::Guest(guest("g1"))).await);
    assert_eq!(conversation_audit.conversation.message_count, 1000);
    f.assert_usage_adds_up().await;
}
