//! Laws of the vectors.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{EmbeddingState, MessageId, ModelId, Role};
use guestbook_storage::database::{Embedding, FoundVector, Recorded, VectorOutcome, VectorUpdate};

impl Fixture {
    async fn embedded(&self, n: u128, embedding: Embedding) -> Recorded {
        let message = repeatable(n, "g1", &format!("text {n}"));
        self.keep(at(0), with(message, embedding)).await
    }

    async fn pending(&self) -> Vec<MessageId> {
        let pending = self
            .database
            .vectors
            .vectors_pending(None, ALL)
            .await
            .unwrap();
        pending.iter().map(|unembedded| unembedded.id).collect()
    }

    async fn missing(&self, model: &ModelId) -> Vec<MessageId> {
        let missing = self
            .database
            .vectors
            .vectors_missing(model, None, ALL)
            .await;
        let missing: Vec<_> = missing.unwrap().iter().map(|m| m.id).collect();
        let count = self
            .database
            .vectors
            .vectors_missing_count(model)
            .await
            .unwrap();
        assert_eq!(count, missing.len() as u64);
        missing
    }

    async fn update(&self, model: &ModelId, id: MessageId, attempts: u32, outcome: VectorOutcome) {
        let update = VectorUpdate {
            id,
            attempts,
            outcome,
        };
        let updated = self
            .database
            .vectors
            .vectors_update(model, vec![update], at(9));
        updated.await.unwrap();
    }
}

fn found(model: &ModelId) -> Option<FoundVector> {
    Some(FoundVector {
        model: model_name(model),
        dimension: DIMENSION as u64,
        bytes: vector(0).to_bytes().len() as u64,
    })
}

/// Every way a message can come, and what the receipt calls it.
fn every_way() -> [(Embedding, EmbeddingState); 5] {
    [
        (Embedding::Vector(vector(1)), EmbeddingState::Stored),
        (Embedding::Pending, EmbeddingState::Pending),
        (Embedding::Failed("too odd".into()), EmbeddingState::Failed),
        (Embedding::Nothing, EmbeddingState::Nothing),
        (Embedding::Off, EmbeddingState::Off),
    ]
}

pub async fn a_vector_is_stored_with_its_model(f: &Fixture) {
    let recorded = f.embedded(1, Embedding::Vector(vector(1))).await;
    let audited = f.audited(&recorded).await;
    assert_eq!(audited.vector, found(&model("first")));
    assert_eq!(audited.vector_note, None);
    assert!(f.missing(&model("first")).await.is_empty());
}

pub async fn the_receipt_and_the_replay_say_what_became_of_the_vector(f: &Fixture) {
    for (n, (embedding, state)) in (1..).zip(every_way()) {
        let recorded = f.embedded(n, embedding).await;
        assert_eq!(recorded.embedding, state);
        // What is offered at the repetition does not count: nothing is stored twice.
        let again = f.embedded(n, Embedding::Off).await;
        assert_eq!((again.embedding, again.replayed.is_some()), (state, true));
    }
}

pub async fn why_there_is_no_vector_is_noted(f: &Fixture) {
    let mut notes = Vec::new();
    for (n, (embedding, _)) in (1..).zip(every_way()) {
        let recorded = f.embedded(n, embedding).await;
        notes.push(f.audited(&recorded).await.vector_note);
    }
    let note = |state, cause: &str| Some((state, cause.to_owned()));
    let expected = [
        None,
        note(EmbeddingState::Pending, ""),
        note(EmbeddingState::Failed, "too odd"),
        note(EmbeddingState::Nothing, ""),
        None,
    ];
    assert_eq!(notes, expected);
}

pub async fn pending_and_missing_are_told_apart(f: &Fixture) {
    for (n, (embedding, _)) in (1..).zip(every_way()) {
        f.embedded(n, embedding).await;
    }
    assert_eq!(f.pending().await, [id(2)]);
    assert_eq!(f.missing(&model("first")).await, [id(2), id(3), id(5)]);
    // What one model knows nothing of, another may know.
    let other = f.missing(&model("second")).await;
    assert_eq!(other, [id(1), id(2), id(3), id(4), id(5)]);
}

pub async fn a_pending_vector_is_listed_until_it_comes(f: &Fixture) {
    let recorded = f.embedded(1, Embedding::Pending).await;
    let listed = only(f.database.vectors.vectors_pending(None, ALL).await.unwrap());
    assert_eq!((listed.id, listed.attempts), (id(1), 0));
    assert_eq!(listed.conversation, recorded.conversation);
    assert_eq!(listed.content.as_str(), "text 1");
    let first = model("first");
    f.update(&first, id(1), 1, VectorOutcome::Vector(vector(1)))
        .await;
    assert!(f.pending().await.is_empty());
    assert!(f.missing(&first).await.is_empty());
    let audited = f.audited(&recorded).await;
    assert_eq!((audited.vector, audited.vector_note), (found(&first), None));
}

pub async fn a_retry_stays_pending_and_keeps_its_cause(f: &Fixture) {
    let recorded = f.embedded(1, Embedding::Pending).await;
    let busy = VectorOutcome::Retry("busy".into());
    f.update(&model("first"), id(1), 3, busy).await;
    let listed = only(f.database.vectors.vectors_pending(None, ALL).await.unwrap());
    assert_eq!(listed.attempts, 3);
    let note = f.audited(&recorded).await.vector_note;
    assert_eq!(note, Some((EmbeddingState::Pending, "busy".into())));
}

pub async fn a_failed_vector_is_missing_but_not_pending(f: &Fixture) {
    let recorded = f.embedded(1, Embedding::Pending).await;
    let refused = VectorOutcome::Failed("refused".into());
    f.update(&model("first"), id(1), 5, refused).await;
    assert!(f.pending().await.is_empty());
    assert_eq!(f.missing(&model("first")).await, [id(1)]);
    let note = f.audited(&recorded).await.vector_note;
    assert_eq!(note, Some((EmbeddingState::Failed, "refused".into())));
    let late = VectorOutcome::Vector(vector(1));
    f.update(&model("first"), id(1), 6, late).await;
    assert!(f.missing(&model("first")).await.is_empty());
}

pub async fn a_text_known_to_have_no_vector_is_not_missing(f: &Fixture) {
    let recorded = f.embedded(1, Embedding::Pending).await;
    f.update(&model("first"), id(1), 1, VectorOutcome::Nothing)
        .await;
    assert!(f.pending().await.is_empty());
    assert!(f.missing(&model("first")).await.is_empty());
    let again = f.embedded(1, Embedding::Off).await;
    assert_eq!(again.embedding, EmbeddingState::Nothing);
    assert_eq!(f.audited(&recorded).await.vector, None);
}

pub async fn another_models_vector_is_missing_and_replaced(f: &Fixture) {
    let recorded = f.embedded(1, Embedding::Vector(vector(1))).await;
    let second = model("second");
    assert_eq!(f.missing(&second).await, [id(1)]);
    f.update(&second, id(1), 1, VectorOutcome::Vector(vector(2)))
        .await;
    assert!(f.missing(&second).await.is_empty());
    assert_eq!(f.missing(&model("first")).await, [id(1)]);
    assert_eq!(f.audited(&recorded).await.vector, found(&second));
    let erased = f.erase(at(9), "g1").await;
    assert_eq!(erased.embeddings, 1, "replaced, not added");
}

pub async fn a_vector_of_this_model_is_not_lost_to_a_late_failure(f: &Fixture) {
    let recorded = f.embedded(1, Embedding::Vector(vector(1))).await;
    let first = model("first");
    f.update(&first, id(1), 2, VectorOutcome::Failed("late".into()))
        .await;
    f.update(&first, id(1), 2, VectorOutcome::Nothing).await;
    let audited = f.audited(&recorded).await;
    assert_eq!((audited.vector, audited.vector_note), (found(&first), None));
}

pub async fn missing_vectors_come_page_by_page_in_order(f: &Fixture) {
    // Stored in another order than that of their ids.
    for n in [5, 3, 9, 1, 7] {
        f.embedded(n, Embedding::Pending).await;
    }
    let (mut pending, mut after) = (Vec::new(), None);
    loop {
        let page = f.database.vectors.vectors_pending(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        pending.extend(page.iter().map(|m| m.id));
    }
    assert_eq!(pending, [1, 3, 5, 7, 9].map(id));
    let first = model("first");
    let page = f.database.vectors.vectors_missing(&first, Some(id(3)), 2);
    let page: Vec<_> = page.await.unwrap().iter().map(|m| m.id).collect();
    assert_eq!(page, [5, 7].map(id));
}

pub async fn a_vector_of_a_deleted_message_is_passed_over(f: &Fixture) {
    let entry = with(words("g2", Role::User, "kept"), Embedding::Pending);
    let kept = f.keep(at(0), entry).await;
    f.embedded(1, Embedding::Pending).await;
    f.erase(at(1), "g1").await;
    let update = |id| VectorUpdate {
        id,
        attempts: 1,
        outcome: VectorOutcome::Vector(vector(1)),
    };
    let both = vec![update(id(1)), update(kept.id)];
    let first = model("first");
    let updated = f.database.vectors.vectors_update(&first, both, at(2));
    updated.await.unwrap();
    assert!(f.audited(&kept).await.vector.is_some());
    assert!(f.database.audit.orphans(ALL).await.unwrap().is_empty());
}
