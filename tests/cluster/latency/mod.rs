//! A node far from its servers: every byte to PostgreSQL and to Redis takes its time each way. What is checked is that
//! everything is saved; how fast is printed, and asserted nowhere.
//!
//! The figures of docs/benchmarks.md: `cargo test --release --all-features --test cluster latency -- --nocapture`, with
//! `GUESTBOOK_DISTANCE_SECONDS` (2), `GUESTBOOK_DISTANCE_MS` (5, each way), `GUESTBOOK_DISTANCE_CONNECTIONS` (64) and
//! `GUESTBOOK_DISTANCE_GUESTS` (256). The servers are durable: PostgreSQL as it comes, Redis with `appendfsync everysec`.

#![cfg(all(feature = "postgres", feature = "redis"))]
#![allow(clippy::unwrap_used)] // a test may fail

use guestbook_testkit::servers::{Postgres, Proxy, Redis, RedisOptions};
use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

fn setting(name: &str, default: u64) -> u64 {
    let given = env::var(format!("GUESTBOOK_DISTANCE_{name}"));
    given.map_or(default, |text| text.parse().unwrap())
}

/// A node that is killed when the test ends.
struct Node {
    process: Child,
    address: String,
}

impl Node {
    fn start(database: &str, cache: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_guestbook"))
            .args(["--listen", "127.0.0.1:0"])
            .args(["--log", &env::var("GUESTBOOK_LOG").unwrap_or("warn".into())])
            .args(["--database-url", database, "--cache-url", cache])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let stdout = process.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut first).unwrap();
        let address = first.split(" on ").nth(1).expect("the banner says where");
        let address = address.trim().to_owned();
        Self { process, address }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// What one client saw.
#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    pending: usize,
    wrong: Vec<String>,
}

/// Posts one message after another until the time is over.
async fn client(address: Arc<str>, number: u64, guests: u64, until: Instant) -> Seen {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut seen, mut turn) = (Seen::default(), number);
    while Instant::now() < until {
        let guest = turn % guests;
        turn += setting("CONNECTIONS", 64);
        let body = format!(
            r#"{{"role":"user","content":"message {turn} of connection {number}: what does it cost to send a parcel to Berlin?","timestamp":"2026-11-24T10:00:00Z"}}"#
        );
        let began = Instant::now();
        let asked = http
            .post(format!("{address}/v1/guest/chat/guest-{guest}"))
            .header("content-type", "application/json")
            .body(body);
        match asked.send().await {
            Ok(answer) if answer.status().is_success() => {
                let text = answer.text().await.unwrap();
                seen.pending += usize::from(text.contains(r#""list":"pending""#));
                seen.times.push(began.elapsed());
            }
            Ok(answer) => seen.wrong.push(format!("{}", answer.status())),
            Err(cause) => seen.wrong.push(cause.to_string()),
        }
    }
    seen
}

/// The shortest of some round trips through a proxy: timers add their own part to the delay.
async fn nearest(address: &str) -> Duration {
    let mut redis = TcpStream::connect(address).await.unwrap();
    redis.set_nodelay(true).unwrap();
    let mut shortest = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        redis.write_all(b"PING\r\n").await.unwrap();
        redis.read_exact(&mut [0; 7]).await.unwrap(); // +PONG and the end of the line
        shortest = shortest.min(began.elapsed());
    }
    shortest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distant_node_saves_everything() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (seconds, delay) = (setting("SECONDS", 2), setting("MS", 5));
    let (connections, guests) = (setting("CONNECTIONS", 64), setting("GUESTS", 256));
    let postgres = Postgres::start().await;
    let name = postgres.create_database().await;
    let redis = Redis::start_with(RedisOptions {
        arguments: ["--appendonly", "yes", "--appendfsync", "everysec"]
            .map(Into::into)
            .to_vec(),
        ..RedisOptions::default()
    });
    let redis = redis.await;
    let (far_postgres, far_redis) = (
        Proxy::start(&postgres.address()),
        Proxy::start(&redis.address()),
    );
    for proxy in [&far_postgres, &far_redis] {
        let delay = Duration::from_millis(delay);
        proxy.delay(delay, delay);
    }
    let (database, cache) = (
        far_postgres.before(&postgres.url(&name)),
        far_redis.before(&redis.url()),
    );
    let node = Node::start(&database, &cache);
    let address: Arc<str> = node.address.as_str().into();

    let until = Instant::now() + Duration::from_secs(seconds);
    let mut clients = JoinSet::new();
    for number in 0..connections {
        clients.spawn(client(Arc::clone(&address), number, guests, until));
    }
    let mut all = Seen::default();
    for seen in clients.join_all().await {
        all.times.extend(seen.times);
        all.pending += seen.pending;
        all.wrong.extend(seen.wrong);
    }
    all.times.sort_unstable();
    let at = |share: f64| all.times[((all.times.len() - 1) as f64 * share) as usize];
    println!(
        "there and back to Redis: {:?} at best",
        nearest(&far_redis.address()).await
    );
    println!(
        "{connections} connections, {guests} guests, {delay} ms each way, {seconds} s: {:.0} messages/s, p50 {:?}, p99 {:?}, \
         max {:?}, {} pending",
        all.times.len() as f64 / seconds as f64,
        at(0.5),
        at(0.99),
        at(1.0),
        all.pending,
    );
    assert_eq!(all.wrong, Vec::<String>::new());
    let stored = postgres
        .psql(&name, "SELECT count(*) FROM message_cache")
        .await;
    assert_eq!(stored, all.times.len().to_string(), "every answer is a row");
    let verified = reqwest::get(format!("{address}/v1/verify")).await.unwrap();
    let report = verified.text().await.unwrap();
    assert!(report.contains(r#""ok":true"#), "{report}");
}
