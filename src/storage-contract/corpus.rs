//! Laws of every vector there is: what an index is made from, and what it is checked against.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{MessageId, Platform, Role, Timestamp};
use guestbook_storage::database::{
    Candidate, CandidateRequest, Embedding, IndexedVector, Recorded, VectorOutcome, VectorUpdate,
};

impl Fixture {
    /// A guest says something under a chosen id, with a vector.
    async fn indexed(&self, at: Timestamp, n: u128, name: &str) -> Recorded {
        let message = repeatable(n, name, &format!("text {n}"));
        let vector = Embedding::Vector(vector(n as u8));
        self.keep(at, with(message, vector)).await
    }

    async fn replace(&self, other: &str, n: u128) {
        let (other, update) = (
            model(other),
            VectorUpdate {
                id: id(n),
                attempts: 1,
                outcome: VectorOutcome::Vector(vector(99)),
            },
        );
        let updated = self
            .database
            .vectors
            .vectors_update(&other, vec![update], at(9));
        updated.await.unwrap();
    }

    /// Every page of a full scan.
    async fn full_scan(&self, limit: usize) -> Vec<IndexedVector> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self
                .database
                .corpus
                .indexable(&model("first"), after, limit)
                .await
                .unwrap();
            all.extend(page.rows);
            match page.next {
                Some(next) => after = Some(next),
                None => return all,
            }
        }
    }

    async fn proposed(&self, now: Timestamp, ids: &[u128]) -> Vec<MessageId> {
        let proposal = CandidateRequest {
            ids: ids.iter().map(|n| id(*n)).collect(),
            platform: None,
            limit: ALL,
        };
        let found = self.candidates(now, proposal).await;
        found.iter().map(|found| found.message.id).collect()
    }

    async fn candidates(&self, now: Timestamp, proposal: CandidateRequest) -> Vec<Candidate> {
        let first = model("first");
        let asked = self.database.corpus.candidates(&first, proposal, now);
        asked.await.unwrap()
    }

    async fn extent(&self) -> u64 {
        self.database
            .corpus
            .searchable(&model("first"))
            .await
            .unwrap()
    }
}

fn ids(rows: &[IndexedVector]) -> Vec<MessageId> {
    rows.iter().map(|row| row.id).collect()
}

pub async fn every_vector_of_a_model_comes_once_in_order_whatever_the_page(f: &Fixture) {
    for n in [5, 2, 9, 1, 7] {
        f.indexed(at(0), n, "g1").await;
    }
    f.keep(at(1), with(repeatable(3, "g1", "none"), Embedding::Nothing))
        .await;
    f.replace("second", 2).await;
    for limit in [1, 2, 3, ALL] {
        assert_eq!(
            ids(&f.full_scan(limit).await),
            [1, 5, 7, 9].map(id),
            "{limit}"
        );
    }
}

pub async fn an_indexable_row_is_what_was_stored(f: &Fixture) {
    let mut message = repeatable(4, "g1", "text");
    message.role = Role::Tool;
    message.sent_at = at(77);
    f.keep(at(0), with(message, Embedding::Vector(vector(4))))
        .await;
    let row = IndexedVector {
        id: id(4),
        role: Role::Tool,
        sent_at: at(77),
        vector: vector(4),
    };
    assert_eq!(f.full_scan(ALL).await, std::slice::from_ref(&row));
    let asked = vec![id(4), id(5)];
    let found = f
        .database
        .corpus
        .indexable_of(&model("first"), asked.clone())
        .await;
    assert_eq!(found.unwrap(), [row]);
    f.replace("second", 4).await;
    let found = f.database.corpus.indexable_of(&model("first"), asked).await;
    assert_eq!(found.unwrap(), []);
}

pub async fn what_is_deleted_is_indexed_no_more(f: &Fixture) {
    f.indexed(at(0), 1, "g1").await;
    f.indexed(at(0), 2, "g2").await;
    f.erase(at(1), "g1").await;
    assert_eq!(ids(&f.full_scan(ALL).await), [id(2)]);
    assert_eq!(f.proposed(at(2), &[1, 2]).await, [id(2)]);
}

pub async fn candidates_come_in_the_order_of_the_proposal_with_everything(f: &Fixture) {
    for n in 1..=4 {
        f.indexed(at(0), n, "g1").await;
    }
    let recorded = f.indexed(at(0), 8, "g2").await;
    assert_eq!(f.proposed(at(1), &[3, 8, 17, 1]).await, [3, 8, 1].map(id));
    let proposal = CandidateRequest {
        ids: [8, 3].map(id).to_vec(),
        platform: None,
        limit: 1,
    };
    let candidate = only(f.candidates(at(1), proposal).await);
    assert_eq!(candidate.conversation, recorded.conversation);
    assert_eq!(candidate.message, only(f.messages("g2", at(1)).await));
    assert_eq!(candidate.vector, vector(8));
    f.replace("second", 3).await;
    assert_eq!(f.proposed(at(1), &[3, 8]).await, [id(8)]);
}

pub async fn candidates_are_of_the_platform_that_is_asked_for(f: &Fixture) {
    f.indexed(at(0), 1, "g1").await;
    f.indexed(at(0), 2, "g2").await;
    f.database
        .chats
        .migrate(&guest("g1"), &owner("u1"), at(1))
        .await
        .unwrap();
    for (platform, expected) in [(Platform::Authenticated, 1), (Platform::Guest, 2)] {
        let proposal = CandidateRequest {
            ids: [2, 1].map(id).to_vec(),
            platform: Some(platform),
            limit: 1,
        };
        let found = only(f.candidates(at(2), proposal).await);
        assert_eq!(found.message.id, id(expected));
    }
}

pub async fn what_retention_has_ended_is_no_candidate(f: &Fixture) {
    f.indexed(noon(), 1, "g1").await;
    f.indexed(noon().plus(DAY), 2, "g2").await;
    assert_eq!(f.proposed(noon().plus(KEPT), &[1, 2]).await, [id(2)]);
}

pub async fn all_messages_can_be_searched_but_those_that_say_nothing(f: &Fixture) {
    assert_eq!(f.extent().await, 0);
    f.indexed(at(0), 1, "g1").await;
    f.keep(at(0), with(repeatable(2, "g1", "?"), Embedding::Nothing))
        .await;
    f.keep(
        at(0),
        with(repeatable(3, "g1", "later"), Embedding::Pending),
    )
    .await;
    assert_eq!(f.extent().await, 2);
    f.erase(at(1), "g1").await;
    assert_eq!(f.extent().await, 0);
}

pub async fn what_others_have_stored_is_found_by_its_time(f: &Fixture) {
    for n in 1..=4 {
        f.indexed(at(u64::try_from(n).unwrap()), n, "g1").await;
    }
    f.replace("second", 1).await; // at 9
    let since = async |seconds, after, limit| {
        let found = f
            .database
            .corpus
            .embedded_since(at(seconds), after, limit)
            .await;
        found
            .unwrap()
            .into_iter()
            .map(|(_, id)| id)
            .collect::<Vec<_>>()
    };
    if !f.database.corpus.is_shared() {
        assert_eq!(since(0, None, ALL).await, []);
        return;
    }
    assert_eq!(since(2, None, ALL).await, [2, 3, 4, 1].map(id));
    assert_eq!(since(2, None, 2).await, [2, 3].map(id));
    assert_eq!(since(3, Some(id(3)), ALL).await, [4, 1].map(id));
    assert_eq!(since(10, None, ALL).await, []);
}
