//! A model that is slow or refuses for a while.

use crate::embedding_worker::harness::{
    embedded, given_up, good, impatient, note, status, vectors,
};
use axum::response::IntoResponse;
use guestbook::core::EmbeddingState;
use guestbook::service::verify::AuditedTable;
use guestbook_testkit::embedding_server::serve;
use guestbook_testkit::service_harness::Plan;
use guestbook_testkit::service_harness::words::{PATIENCE, says, until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_message_is_answered_as_pending_and_has_its_vector_later() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let (base, _) = serve(move |inputs| {
        if gate.load(Ordering::SeqCst) {
            good(inputs)
        } else {
            status(503)
        }
    })
    .await;
    let mut plan = impatient(Plan::memory(), &base);
    plan.settings.embed_attempts = 1_000;
    plan.settings.embed_backoff = Duration::from_millis(1);
    let harness = plan.start().ready().await;
    let said = harness.say("ada", "hello").await;
    assert_eq!(said.receipt.embedding, EmbeddingState::Pending);
    assert_eq!(
        note(&harness, "ada", 0).await.unwrap().0,
        EmbeddingState::Pending
    );
    open.store(true, Ordering::SeqCst);
    embedded(&harness, "ada", 1).await;
    assert_eq!(note(&harness, "ada", 0).await, None);
    harness.mended().await;
    harness.assert_well().await;
    harness.stop().await;
}

/// The server takes the connection and says nothing: messages go on, and the service stops at once.
#[tokio::test]
async fn a_model_that_stalls_holds_up_neither_messages_nor_the_stop() {
    let (_listener, base) = guestbook_testkit::embedding_server::listen().await;
    let harness = impatient(Plan::memory(), &base).start().ready().await;
    for text in ["one", "two"] {
        let said = tokio::time::timeout(PATIENCE, harness.say("ada", text))
            .await
            .unwrap();
        assert_eq!(said.receipt.embedding, EmbeddingState::Pending);
    }
    let began = Instant::now();
    harness.stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "less than the time-out of a request"
    );
}

#[tokio::test]
async fn a_500_is_tried_again_with_back_off_and_then_stored() {
    let tries = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tries);
    let (base, _) = serve(move |inputs| {
        let mut seen = seen.lock().unwrap();
        seen.push(Instant::now());
        if seen.len() < 3 {
            status(500)
        } else {
            good(inputs)
        }
    })
    .await;
    let mut plan = impatient(Plan::memory(), &base);
    plan.settings.embed_backoff = Duration::from_millis(40);
    let harness = plan.start().ready().await;
    harness.say("ada", "hello").await;
    embedded(&harness, "ada", 1).await;
    let tries = tries.lock().unwrap().clone();
    assert_eq!(tries.len(), 3);
    assert!(
        tries[1] - tries[0] >= Duration::from_millis(40),
        "the first wait"
    );
    assert!(
        tries[2] - tries[1] >= Duration::from_millis(80),
        "the second wait is twice as long"
    );
    harness.stop().await;
}

/// More than one page of messages.
const MANY: usize = 300;

/// A page asks whether the model is back; the others wait with it, and what is said meanwhile does not ask again.
#[tokio::test]
async fn a_model_that_is_down_is_asked_once_however_many_wait() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (base, _) = serve(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        status(503)
    })
    .await;
    let mut plan = impatient(Plan::memory(), &base);
    plan.settings.embed_attempts = 1_000;
    plan.settings.embed_backoff = Duration::from_secs(3600);
    let harness = plan.start().ready().await;
    let said = (0..MANY).map(|n| says("ada", &n.to_string()));
    harness.store(vec![said.collect()]).await;
    until("it was asked", || async {
        asked.load(Ordering::SeqCst) > 0
    })
    .await;
    for n in 0..20 {
        harness.say("bob", &n.to_string()).await;
    }
    harness.stop().await;
    // Each page, and each message that woke it, would have asked. Once more may be due on a machine that stood still.
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked <= 2, "{asked} requests");
}

#[tokio::test]
async fn all_that_wait_are_embedded_once_the_model_is_back() {
    let open = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let (gate, count) = (Arc::clone(&open), Arc::clone(&asked));
    let (base, _) = serve(move |inputs| {
        count.fetch_add(1, Ordering::SeqCst);
        match gate.load(Ordering::SeqCst) {
            true => good(inputs),
            false => status(503),
        }
    })
    .await;
    let mut plan = impatient(Plan::memory(), &base);
    plan.settings.embed_attempts = 1_000;
    let harness = plan.start().ready().await;
    let said = (0..MANY).map(|n| says("ada", &n.to_string()));
    harness.store(vec![said.collect()]).await;
    until("it was asked again", || async {
        asked.load(Ordering::SeqCst) > 3
    })
    .await;
    open.store(true, Ordering::SeqCst);
    embedded(&harness, "ada", MANY).await;
    harness.stop().await;
}

#[tokio::test]
async fn a_429_is_tried_again_no_sooner_than_the_server_says() {
    let tries = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tries);
    let (base, _) = serve(move |inputs| {
        let mut seen = seen.lock().unwrap();
        seen.push(Instant::now());
        match seen.len() {
            1 => (
                axum::http::StatusCode::TOO_MANY_REQUESTS,
                [("retry-after", "1")],
            )
                .into_response(),
            _ => good(inputs),
        }
    })
    .await;
    let harness = impatient(Plan::memory(), &base).start().ready().await;
    harness.say("ada", "hello").await;
    until("it was asked once", || async {
        !tries.lock().unwrap().is_empty()
    })
    .await;
    harness
        .say("ada", "another, which is asked for at once")
        .await;
    embedded(&harness, "ada", 2).await;
    let tries = tries.lock().unwrap().clone();
    assert!(tries.last().unwrap().duration_since(tries[0]) >= Duration::from_secs(1));
    harness.stop().await;
}

#[tokio::test]
async fn after_the_last_try_the_cause_is_in_the_note_in_verify_and_in_the_log() {
    let (guard, log) = errors();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let (base, _) = serve(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        status(500)
    })
    .await;
    let harness = impatient(Plan::memory(), &base).start().ready().await;
    let said = harness.say("ada", "hello").await;
    let cause = given_up(&harness, "ada", 0).await;
    assert!(cause.contains("500"), "{cause}");
    assert_eq!(
        asked.load(Ordering::SeqCst),
        3,
        "as often as embed_attempts says"
    );
    assert_eq!(vectors(&harness, "ada").await, 0);
    let report = harness.verify().await;
    let named = &report.table(AuditedTable::Embeddings).differences;
    assert!(!report.ok && named.len() == 1, "{report:#?}");
    assert!(
        named[0].reason.contains("failed") && named[0].reason.contains("500"),
        "{named:?}"
    );
    assert_eq!(
        named[0].id.as_deref(),
        Some(said.recorded.id.to_string().as_str())
    );
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains(&said.recorded.id.to_string()));
    let line = line.unwrap_or_else(|| panic!("not in the log: {log}"));
    assert!(
        line.contains("ERROR") && line.contains("embedding") && line.contains("500"),
        "{line}"
    );
    drop(guard);
    harness.stop().await;
}

/// Everything logged at `error` on this thread, on which the whole test runs.
fn errors() -> (tracing::subscriber::DefaultGuard, Arc<Mutex<Vec<u8>>>) {
    struct Writer(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_ansi(false)
        .with_writer(move || Writer(Arc::clone(&log)))
        .finish();
    (tracing::subscriber::set_default(subscriber), kept)
}
