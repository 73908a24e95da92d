//! What `benches/goals` measures Guestbook against, and the clients it has no other tool for. Each prints one line.
//!
//! | arguments | what it does |
//! |---|---|
//! | `loop BATCH SECONDS` | a hand-written rusqlite loop, so many messages a commit; messages a second |
//! | `answer FILE` | a bare axum handler that answers every GET with these bytes; its address, then it serves until it is killed |
//! | `store` | a bare axum handler over that loop, one message a commit; its address, then it serves until it is killed |
//! | `ingest ADDRESS MESSAGES CONNECTIONS` | lines of JSON to `/v1/messages/batch`; messages a second |
//!
//! Without arguments it does each for a moment, so that it does not rot.

mod common;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use common::by_hand::HandWritten;
use common::{TEXT, batch, batch_of};
use guestbook::core::{Content, GuestId, MessageId, NewMessage, Role};
use guestbook::embed::table::StaticTable;
use guestbook::storage::database::Batch;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Lines of one request: about 5 MiB, below the limit of a body.
const LINES: u64 = 20_000;
/// Batches prepared before the clock runs, so that the loop is charged for none of it.
const PREPARED: usize = 4096;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["loop", batch, seconds] => {
            let rate = hand_written(number(batch), Duration::from_secs(number(seconds) as u64));
            println!("{rate:.0}");
        }
        ["answer", file] => answer(std::fs::read(file).expect("a file to answer with")),
        ["store"] => store(),
        ["ingest", address, messages, connections] => {
            let address = address.parse().expect("ADDRESS:PORT");
            let rate = ingest(address, number(messages) as u64, number(connections));
            println!("{rate:.0}");
        }
        // cargo bench and cargo test have flags of their own.
        _ => {
            let rate = hand_written(16, Duration::from_millis(50));
            assert!(rate > 0.0 && lines(3, 7).lines().count() == 3);
            println!("see the head of benches/baseline.rs for its arguments");
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a whole number")
}

/// Messages a second.
fn hand_written(size: usize, span: Duration) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut writer = HandWritten::open(folder.path());
    let model = StaticTable::new();
    writer.record(&batch(&model, common::GUESTS as usize));
    let (mut written, mut took) = (0, Duration::ZERO);
    while took < span {
        let batches = (PREPARED / size).max(1);
        let prepared: Vec<_> = (0..batches).map(|_| batch(&model, size)).collect();
        let began = Instant::now();
        for batch in &prepared {
            writer.record(batch);
            written += size;
            if took + began.elapsed() > span {
                break;
            }
        }
        took += began.elapsed();
    }
    written as f64 / took.as_secs_f64()
}

/// Answers with these bytes until it is killed.
fn answer(bytes: Vec<u8>) {
    let body = Bytes::from(bytes);
    let handler = move || async move { ([(CONTENT_TYPE, "application/json")], body.clone()) };
    serve(axum::Router::new().fallback(handler));
}

/// What a message is sent as.
#[derive(serde::Deserialize)]
struct Said {
    content: String,
}

/// Stores until it is killed: parses, makes the vector, hands the message to the thread that owns the connection, and answers after
/// the commit. No server that shares one connection among its clients can do less.
fn store() {
    let (sender, receiver) = std::sync::mpsc::channel::<(Arc<Batch>, oneshot::Sender<()>)>();
    std::thread::spawn(move || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut writer = HandWritten::open(folder.path());
        for (batch, reply) in receiver {
            writer.record(&batch);
            let _ = reply.send(()); // a client that went away
        }
    });
    let model = Arc::new(StaticTable::new());
    let handler = move |Path(guest): Path<String>, body: Bytes| {
        let (sender, model) = (sender.clone(), Arc::clone(&model));
        async move {
            let said: Said = serde_json::from_slice(&body).expect("a message");
            let guest = GuestId::parse(&guest).expect("the id of a guest");
            let content = Content::parse(&said.content, 65_536).expect("a text");
            let id = MessageId(Uuid::now_v7());
            let message = NewMessage::new(id, guest, Role::User, content, common::now());
            let (reply, stored) = oneshot::channel();
            let batch = batch_of(&model, std::iter::once(message));
            sender.send((batch, reply)).expect("a writer");
            stored.await.expect("a commit");
            StatusCode::CREATED
        }
    };
    serve(axum::Router::new().route("/v1/guest/chat/{guest}", post(handler)));
}

/// Says where it listens, and serves until it is killed.
fn serve(app: axum::Router) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        println!("http://{}", listener.local_addr().expect("an address"));
        let server = axum_server::from_tcp(listener).expect("a listener");
        server
            .acceptor(axum_server::accept::NoDelayAcceptor::new())
            .serve(app.into_make_service())
            .await
            .expect("a server");
    });
}

/// Messages a second, from the first byte sent to the last answer.
fn ingest(address: SocketAddr, messages: u64, connections: usize) -> f64 {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let next = Arc::clone(&next);
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("a server");
                loop {
                    let first = next.fetch_add(LINES, Ordering::Relaxed);
                    if first >= messages {
                        return;
                    }
                    let count = LINES.min(messages - first);
                    send(&mut stream, &lines(count, first), count);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every message is stored");
    }
    messages as f64 / began.elapsed().as_secs_f64()
}

/// Messages of different guests, as `/v1/messages/batch` takes them.
fn lines(count: u64, first: u64) -> String {
    let mut lines = String::new();
    for at in first..first + count {
        let role = if at.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        // Ten messages a guest, and the guests of some thousand messages at a time.
        let guest = at / 10_000 * 1000 + at % 1000;
        let line = writeln!(
            lines,
            r#"{{"guest_id":"g-{guest}","role":"{role}","content":"{TEXT}","timestamp":"2025-12-21T12:00:00Z"}}"#
        );
        line.expect("a String takes everything");
    }
    lines
}

/// Sends lines and sees each of them stored.
fn send(stream: &mut TcpStream, lines: &str, count: u64) {
    let head = format!(
        "POST /v1/messages/batch HTTP/1.1\r\nHost: goals\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        lines.len()
    );
    stream
        .write_all(head.as_bytes())
        .expect("a server that listens");
    stream
        .write_all(lines.as_bytes())
        .expect("a server that listens");
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a head");
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("an answer");
    let body = String::from_utf8(body).expect("an answer in UTF-8");
    let stored = body.matches(r#""status":"saved""#).count() as u64;
    assert_eq!(stored, count, "not every message was stored: {:.300}", body);
}
