//! What a message costs before a store sees it: its hash and link, its times, and its way in through the router.

mod common;

use common::{TEXT, guest, next_number, now};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use guestbook::core::{
    ConversationId, ManualClock, Role, Timestamp, Ttl, chain_link, chain_start, content_hash,
};
use guestbook::http::HttpSettings;
use guestbook::service::{Service, ServiceParts, Settings};
use guestbook::storage::Stores;
use guestbook::storage::database::TableSettings;
use guestbook::storage::memory::{MemoryDatabase, MemoryLists};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;
use uuid::Uuid;

fn main() {
    divan::main();
}

#[divan::bench]
fn hash_of_content(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(1_usize))
        .counter(BytesCount::of_str(TEXT))
        .bench_local(|| content_hash(black_box(TEXT)));
}

#[divan::bench]
fn bare_sha2_of_content(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(1_usize))
        .counter(BytesCount::of_str(TEXT))
        .bench_local(|| <[u8; 32]>::from(Sha256::digest(black_box(TEXT).as_bytes())));
}

/// As many bytes as a link has, which lie there already.
#[divan::bench]
fn bare_sha2_of_a_link(bencher: Bencher<'_, '_>) {
    let mut link = [7_u8; 81];
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let head = <[u8; 32]>::from(Sha256::digest(black_box(&link)));
        link[..32].copy_from_slice(&head);
        head
    });
}

#[divan::bench]
fn link_of_the_chain(bencher: Bencher<'_, '_>) {
    let mut head = chain_start(ConversationId(Uuid::nil()));
    let content = content_hash(TEXT);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        head = chain_link(head, black_box(7), Role::User, content, now());
        head
    });
}

#[divan::bench(args = ["2025-12-21T12:00:00Z", "2025-12-21T13:00:00.123+01:00", "2025-12-21T12:00:00"])]
fn time_in(bencher: Bencher<'_, '_>, text: &str) {
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| Timestamp::parse(black_box(text)).expect("a time"));
}

#[divan::bench]
fn time_to_the_tables(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| black_box(now()).stored());
}

#[divan::bench]
fn time_to_the_client(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| black_box(now()).to_string());
}

/// JSON in, checks, queue, both stores in memory, JSON out: everything but the network and the disk.
#[divan::bench(sample_count = 200, sample_size = 20)]
fn post_through_the_router(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let service = runtime.block_on(async { Service::start(in_memory(), Settings::default()) });
    let app = guestbook::http::router(service.clone(), HttpSettings::default());
    let body = body();
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(|| (app.clone(), post(&body)))
        .bench_local_values(|(app, request)| {
            let Ok(response) = runtime.block_on(app.oneshot(request));
            assert_eq!(response.status(), axum::http::StatusCode::OK);
        });
    runtime.block_on(service.stop()).expect("stores in memory");
}

/// The JSON of a message, and of its answer, as serde_json alone would have them.
#[derive(Deserialize)]
struct Said<'a> {
    role: &'a str,
    content: &'a str,
    timestamp: &'a str,
}

#[derive(Serialize)]
struct Stored<'a> {
    status: &'a str,
    guest_id: &'a str,
    message_id: Uuid,
    conversation_id: Uuid,
    sequence: u64,
    stored_in: [&'a str; 2],
    receipt: [(&'a str, &'a str); 7],
}

fn read_and_answer(body: &[u8], guest: &str) -> Vec<u8> {
    let said: Said<'_> = serde_json::from_slice(body).expect("JSON of a message");
    assert!(!said.role.is_empty() && !said.content.is_empty() && !said.timestamp.is_empty());
    let answer = Stored {
        status: "saved",
        guest_id: guest,
        message_id: Uuid::now_v7(),
        conversation_id: Uuid::nil(),
        sequence: 7,
        stored_in: ["sled", "sqlite"],
        receipt: [("conversation", "created"); 7],
    };
    serde_json::to_vec(&answer).expect("plain types")
}

/// JSON in and out without anything between.
#[divan::bench]
fn bare_serde_json_in_and_out(bencher: Bencher<'_, '_>) {
    let body = body();
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| read_and_answer(black_box(body.as_bytes()), "guest-0007"));
}

/// The same behind a bare router: what a POST costs when nothing is stored.
#[divan::bench(sample_count = 200, sample_size = 20)]
fn post_through_a_bare_router(bencher: Bencher<'_, '_>) {
    use axum::extract::Path;

    let answer = |Path(guest): Path<String>, body: axum::body::Bytes| async move {
        let json = [("content-type", "application/json")];
        (json, read_and_answer(&body, &guest))
    };
    let app = axum::Router::new().route("/v1/guest/chat/{guest_id}", axum::routing::post(answer));
    let runtime = runtime();
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(|| (app.clone(), post(&body())))
        .bench_local_values(|(app, request)| {
            let Ok(response) = runtime.block_on(app.oneshot(request));
            assert_eq!(response.status(), axum::http::StatusCode::OK);
        });
}

fn runtime() -> tokio::runtime::Runtime {
    let built = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build();
    built.expect("a runtime")
}

fn body() -> String {
    format!(r#"{{"role":"user","content":"{TEXT}","timestamp":"2025-12-21T12:00:00Z"}}"#)
}

fn post(body: &str) -> axum::http::Request<axum::body::Body> {
    let uri = format!("/v1/guest/chat/{}", guest(next_number()));
    let request = axum::http::Request::builder().method("POST").uri(uri);
    let request = request.header("content-type", "application/json");
    let body = axum::body::Body::from(body.to_owned());
    request.body(body).expect("a request")
}

fn in_memory() -> ServiceParts {
    ServiceParts {
        database: Stores::of(Arc::new(MemoryDatabase::new(TableSettings {
            list_ttl: Ttl(Duration::from_secs(86_400)),
            retention: None,
            model: None,
            cache_backend: "memory",
            text_index: false,
        }))),
        lists: Arc::new(MemoryLists::new()),
        embedder: None,
        clock: Arc::new(ManualClock::new(now())),
    }
}
