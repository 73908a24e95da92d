//! Laws of recounting and mending.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{ConversationId, Role, Timestamp, Ttl, Usage, Window};
use guestbook_storage::database::{AuditScope, Batch, CounterDeltas, Repair, UsageAudit};
use std::sync::Arc;
use uuid::Uuid;

impl Fixture {
    async fn repair(&self, repair: Repair, at: Timestamp) {
        self.database.audit.repair(vec![repair], at).await.unwrap();
    }
}

pub async fn a_conversation_audit_holds_the_rows_as_they_are(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 3).await;
    let conversation_audit = f.conversation_audit(said[0].conversation).await;
    assert_eq!(
        conversation_audit.conversation,
        f.conversation("g1", noon()).await
    );
    assert_eq!(conversation_audit.window, said[2].window);
    let sequences: Vec<_> = conversation_audit
        .messages
        .iter()
        .map(|m| m.sequence)
        .collect();
    assert_eq!(sequences, [0, 1, 2]);
    for (message, recorded) in conversation_audit.messages.iter().zip(&said) {
        assert_eq!(message.id, recorded.id);
        assert_eq!(message.role, Some(Role::User));
        assert_eq!(message.stored_hash, Some(message.found_hash));
        assert_eq!((message.stored_tokens, message.found_tokens), (3, 3));
        assert_eq!(message.created_at, at(message.sequence));
        assert_eq!(message.sent_at, noon());
    }
}

pub async fn conversation_audits_come_page_by_page_each_whole(f: &Fixture) {
    let mut begun = Vec::new();
    for (i, n) in [3, 1, 5, 2, 2].into_iter().enumerate() {
        begun.push(f.chatter(noon(), &format!("g{i}"), n).await[0].conversation);
    }
    begun.sort();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let scope = AuditScope::AllAfter(after);
        let page = f
            .database
            .audit
            .conversation_audits(scope, 4)
            .await
            .unwrap();
        let counts = page.conversation_audits.iter().map(|d| d.messages.len());
        let before_last: usize = counts.rev().skip(1).sum();
        assert!(before_last < 4, "a page goes on after it is full");
        for conversation_audit in &page.conversation_audits {
            let count = conversation_audit.messages.len() as u64;
            assert_eq!(conversation_audit.conversation.message_count, count);
        }
        seen.extend(page.conversation_audits.iter().map(|d| d.conversation.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, begun);
}

/// Also to who opens the tables without being told.
pub async fn it_is_known_how_the_tables_are_served(f: &Fixture) {
    let stored = f.database.settings.stored_settings().await.unwrap();
    let served = stored.held.unwrap();
    assert_eq!(served.list_ttl, Ttl(TTL));
    assert_eq!(served.model, model("first").to_string());
}

pub async fn a_guests_conversation_audits_include_those_a_user_owns_by_now(f: &Fixture) {
    let first = f.say(noon(), "g1", "hello").await;
    f.migrate(at(1), "g1", "u1").await;
    let second = f.say(at(2), "g1", "hello again").await;
    f.say(at(2), "g2", "someone else").await;
    let conversation_audits = f.conversation_audits(AuditScope::Guest(guest("g1"))).await;
    let ids: Vec<_> = conversation_audits
        .iter()
        .map(|d| d.conversation.id)
        .collect();
    let mut expected = [first.conversation, second.conversation];
    expected.sort();
    assert_eq!(ids, expected);
    let nobody = AuditScope::Guest(guest("nobody"));
    assert!(f.conversation_audits(nobody).await.is_empty());
}

pub async fn usage_audits_are_everyone_in_order(f: &Fixture) {
    for name in ["b", "d", "a", "B"] {
        f.chatter(noon(), name, 2).await;
    }
    f.migrate(at(3), "d", "c").await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = f
            .database
            .audit
            .usage_audits(after.as_ref(), 2)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.owner.clone());
        for audit in page {
            assert_eq!(
                f.database.audit.usage_audit(&audit.owner).await.unwrap(),
                audit
            );
            assert_eq!(audit.counted.total_requests, 2);
            seen.push(audit.owner.to_string());
        }
    }
    assert_eq!(seen, ["B", "a", "b", "c"], "ordered by their bytes");
    f.assert_usage_adds_up().await;
}

pub async fn the_usage_of_a_stranger_is_zeros(f: &Fixture) {
    let nothing = UsageAudit {
        owner: owner("nobody"),
        row: None,
        counted: Usage::default(),
    };
    assert_eq!(f.usage("nobody").await, nothing);
    assert!(
        f.database
            .audit
            .usage_audits(None, 5)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn usage_tells_input_from_output(f: &Fixture) {
    let texts = ["one", "one two", "one two three", "one two three four"];
    for (role, text) in Role::ALL.into_iter().zip(texts) {
        f.keep(noon(), plain(words("g1", role, text))).await;
    }
    let expected = Usage {
        total_requests: 4,
        cache_hits: 0,
        cache_misses: 4,
        lookup_misses: 0,
        tokens_saved: 0,
        total_input_tokens: 1 + 3 + 4,
        total_output_tokens: 2,
        monthly_requests_used: 4,
        updated_at: noon(),
    };
    assert_eq!(f.usage_row("g1").await, expected);
}

pub async fn the_month_rolls_over(f: &Fixture) {
    f.chatter(time("2100-06-30T23:59:50Z"), "g1", 3).await;
    assert_eq!(f.usage_row("g1").await.monthly_requests_used, 3);
    f.chatter(time("2100-07-01T00:00:00Z"), "g1", 2).await;
    let usage = f.usage_row("g1").await;
    assert_eq!((usage.total_requests, usage.monthly_requests_used), (5, 2));
    assert_eq!(usage.updated_at, time("2100-07-01T00:00:01Z"));
    // The same month of another year is another month.
    f.say(time("2101-07-01T00:00:00Z"), "g1", "hello").await;
    assert_eq!(f.usage_row("g1").await.monthly_requests_used, 1);
}

pub async fn metrics_count_by_utc_hour(f: &Fixture) {
    f.say(time("2100-06-15T12:59:59.999Z"), "g1", "hello").await;
    f.say(time("2100-06-15T13:00:00Z"), "g1", "hello").await;
    f.say(time("2100-06-15T13:30:00Z"), "g2", "hello").await;
    let metrics = f.database.audit.metrics_audit().await.unwrap();
    assert_eq!((metrics.hours_expected, metrics.hours_found), (2, 2));
    assert!(metrics.missing.is_empty());
    assert_eq!((metrics.entries, metrics.messages), (3, 3));
    assert_eq!(metrics.requests, 3);
}

pub async fn reads_are_counted_once_wherever_they_were_deferred(f: &Fixture) {
    let deferred = Batch {
        deltas: reads(3, 2),
        ..Arc::unwrap_or_clone(batch(noon(), vec![group([repeatable(1, "g1", "hello")])]))
    };
    f.database.chats.record(Arc::new(deferred)).await.unwrap();
    let requests = async || f.database.audit.metrics_audit().await.unwrap().requests;
    assert_eq!(requests().await, 6);
    let next_hour = noon().plus(HOUR);
    let alone = f
        .database
        .outbox
        .mark_synced(Vec::new(), reads(4, 0), next_hour);
    alone.await.unwrap();
    assert_eq!(requests().await, 10);
    let timed = CounterDeltas {
        timed: 9,
        timed_ms: 4.5,
        ..CounterDeltas::default()
    };
    let timed = f.database.outbox.mark_synced(Vec::new(), timed, next_hour);
    timed.await.unwrap();
    let metrics = f.database.audit.metrics_audit().await.unwrap();
    assert_eq!(metrics.requests, 10, "a timing is not a request");
    assert_eq!(metrics.entries, 1, "an hour of reads only knows them too");
}

pub async fn counters_are_mended(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 3).await;
    let conversation = said[0].conversation;
    let hash = f.conversation_audit(conversation).await.conversation.hash;
    let counters = |message_count, total_tokens| Repair::Counters {
        conversation,
        hash: hash.clone(),
        message_count,
        total_tokens,
    };
    f.repair(counters(30, 90), at(5)).await;
    let row = f.conversation_audit(conversation).await.conversation;
    assert_eq!((row.message_count, row.total_tokens), (30, 90));
    f.repair(counters(3, 9), at(6)).await;
    let row = f.conversation("g1", at(6)).await;
    assert_eq!((row.message_count, row.total_tokens), (3, 9));
    assert_eq!(row.accessed_at, at(2), "a repair is no message");
    assert_eq!(f.say(at(7), "g1", "on").await.sequence, 3);
}

pub async fn a_window_is_mended(f: &Fixture) {
    let said = f.chatter(noon(), "g1", 3).await;
    let conversation = said[0].conversation;
    let window = Window {
        from: 1,
        expires_at: at(500),
    };
    for window in [Some(window), None, said[2].window] {
        let repair = Repair::Window {
            conversation,
            hash: f.conversation_audit(conversation).await.conversation.hash,
            window,
        };
        f.repair(repair, at(5)).await;
        assert_eq!(f.conversation_audit(conversation).await.window, window);
        let row = f
            .database
            .outbox
            .list_row(&guest("g1"), at(5))
            .await
            .unwrap();
        assert_eq!(row.map(|row| row.window), window);
    }
}

pub async fn usage_is_mended_and_hits_are_kept(f: &Fixture) {
    f.chatter(noon(), "g1", 3).await;
    let right = f.usage("g1").await;
    let mut wrong = right.clone();
    wrong.counted.total_requests = 50;
    wrong.counted.total_input_tokens = 70;
    f.repair(Repair::Usage(wrong), at(5)).await;
    let damaged = f.usage_row("g1").await;
    assert_eq!(damaged.total_requests, 50);
    assert_eq!(damaged.total_input_tokens, 70);
    f.repair(Repair::Usage(right.clone()), at(6)).await;
    let mended = f.usage("g1").await;
    assert_adds_up(&mended);
    let (mended, right) = (mended.row.unwrap(), right.row.unwrap());
    assert_eq!(mended.cache_hits, right.cache_hits);
    assert_eq!(mended.monthly_requests_used, right.monthly_requests_used);
}

pub async fn a_lost_usage_row_is_mended_and_an_idle_one_removed(f: &Fixture) {
    f.chatter(noon(), "g1", 2).await;
    let right = f.usage("g1").await;
    let none = UsageAudit {
        counted: Usage::default(),
        ..right.clone()
    };
    f.repair(Repair::Usage(none), at(5)).await;
    assert_eq!(f.usage("g1").await.row, None);
    let audits = f.database.audit.usage_audits(None, ALL).await.unwrap();
    assert_eq!(only(audits).counted, right.counted, "still listed");
    f.repair(Repair::Usage(right), at(6)).await;
    let row = f.usage_row("g1").await;
    assert_eq!((row.total_requests, row.updated_at), (2, at(6)));
    f.assert_usage_adds_up().await;
}

pub async fn a_mapping_is_mended(f: &Fixture) {
    let said = f.say(noon(), "g1", "hello").await;
    for (name, is_synced) in [("wrong", true), ("g1", false), ("g1", true)] {
        let repair = Repair::Mapping {
            message: said.id,
            owner: owner(name),
            is_synced,
        };
        f.repair(repair, at(1)).await;
        let mapping = f.audited(&said).await.mapping.unwrap();
        assert_eq!((mapping.owner, mapping.is_synced), (owner(name), is_synced));
    }
    let erased = f.erase(at(2), "g1").await;
    assert_eq!(erased.mappings, 1, "corrected, not added");
}

pub async fn metrics_that_are_right_stay_as_they_are(f: &Fixture) {
    f.repair(Repair::Metrics, noon()).await;
    f.chatter(noon(), "g1", 3).await;
    let before = f.database.audit.metrics_audit().await.unwrap();
    f.repair(Repair::Metrics, at(5)).await;
    assert_eq!(f.database.audit.metrics_audit().await.unwrap(), before);
}

pub async fn what_is_gone_is_not_brought_back_by_a_repair(f: &Fixture) {
    let said = f.say(noon(), "g1", "hello").await;
    f.erase(at(1), "g1").await;
    let repairs = vec![
        Repair::Counters {
            conversation: said.conversation,
            hash: String::new(),
            message_count: 1,
            total_tokens: 1,
        },
        Repair::Window {
            conversation: ConversationId(Uuid::now_v7()),
            hash: String::new(),
            window: said.window,
        },
        Repair::Mapping {
            message: said.id,
            owner: owner("g1"),
            is_synced: true,
        },
    ];
    f.database.audit.repair(repairs, at(2)).await.unwrap();
    assert_eq!(f.history("g1", at(2)).await, None);
    assert!(
        f.conversation_audits(AuditScope::AllAfter(None))
            .await
            .is_empty()
    );
    assert!(f.database.audit.orphans(ALL).await.unwrap().is_empty());
}

pub async fn a_busy_life_leaves_no_orphans(f: &Fixture) {
    for i in 0..6 {
        let name = format!("g{i}");
        let said = f.chatter(at(i), &name, 4).await;
        f.mark_synced(at(9), &said).await;
    }
    f.erase(at(20), "g0").await;
    for (from, to) in [("g1", "u1"), ("g2", "u1"), ("g3", "g3")] {
        f.migrate(at(21), from, to).await;
    }
    f.chatter(at(30), "g1", 2).await;
    f.database
        .outbox
        .lapse(noon().plus(TTL * 2), ALL)
        .await
        .unwrap();
    assert!(f.database.audit.orphans(ALL).await.unwrap().is_empty());
    f.assert_usage_adds_up().await;
    let metrics = f.database.audit.metrics_audit().await.unwrap();
    assert_eq!(metrics.entries, metrics.messages);
    assert_eq!(metrics.messages, 22);
}
