//! What a message costs before a store sees it: its hash and link, its times, and its way in through the router.

mod common;

use common::{TEXT, guest, next_number, now};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use guestbook::chat::{
    ConversationId, ManualClock, Role, Timestamp, Ttl, chain_link, chain_start, content_hash,
};
use guestbook::http::HttpSettings;
use guestbook::service::{Parts, Service, Settings};
use guestbook::storage::database::TableSettings;
use guestbook::storage::memory::{MemoryDatabase, MemoryLists};
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
    use axum::body::Body;
    use axum::http::{Method, Request, StatusCode};

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let service = runtime.block_on(async { Service::start(in_memory(), Settings::default()) });
    let app = guestbook::http::router(service.clone(), HttpSettings::default());
    let body =
        format!(r#"{{"role":"user","content":"{TEXT}","timestamp":"2025-12-21T12:00:00Z"}}"#);
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(|| {
            let uri = format!("/v1/guest/chat/{}", guest(next_number()));
            let request = Request::builder().method(Method::POST).uri(uri);
            let request = request.header("content-type", "application/json");
            let request = request.body(Body::from(body.clone())).expect("a request");
            (app.clone(), request)
        })
        .bench_local_values(|(app, request)| {
            let response = runtime.block_on(app.oneshot(request));
            let Ok(response) = response;
            assert_eq!(response.status(), StatusCode::OK);
        });
    runtime.block_on(service.stop()).expect("stores in memory");
}

fn in_memory() -> Parts {
    Parts {
        database: Arc::new(MemoryDatabase::new(TableSettings {
            list_ttl: Ttl(Duration::from_secs(86_400)),
            retention: None,
            model: None,
            cache_backend: "memory",
        })),
        lists: Arc::new(MemoryLists::new()),
        embedder: None,
        clock: Arc::new(ManualClock::new(now())),
    }
}
