//! Twice as much as the server can carry, at a rate that does not wait for answers.
//!
//! Seen to fail: with a queue that lets everyone wait for a place (`admission` of an hour) it said `nothing was shed: it was no
//! overload`; with too few connections for the load (40) `1021 of 2400 requests were not sent: it was no such load`.

use crate::row::HELLO;
use crate::slow::allow_files;
use crate::wire::Wire;
use guestbook_testkit::process::{Log, Place, Running};
use guestbook_testkit::resources::{Taken, mib};
use rusqlite::{Connection, OpenFlags};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Messages of a request: so many that a client has little to do for each, and can send twice what the server carries.
const MESSAGES: u64 = 64;
/// Requests of a guest, before the next one comes. Lists expire after some seconds here: what is kept has its own memory, and only
/// what should not be kept is looked for.
const OF_A_GUEST: u64 = 10;
/// Clients that wait for each answer, to learn what the server can carry: their messages fill its queue.
const CLOSED_LOOP: usize = 16;
/// Connections of the load that does not wait, for each request a second: a request is under way for little more than the second it
/// may wait for a place, and no connection is left alone for so long that the server closes it.
const CONNECTIONS: u64 = 3;
const MOST_CONNECTIONS: u64 = 1_500;
/// The part of the load that may remain unsent, in percent of it: with more it was not twice what the server can carry.
const UNSENT: u64 = 10;
/// Looks at the memory that are shown as one number: half a minute.
const PART: usize = 120;
/// Bytes of an answer that are looked at.
const BEGINNING: usize = 1 << 10;
/// After the load everything it took is given back by then. Threads that nobody needs end after 10 s.
const SETTLING: Duration = Duration::from_secs(30);

/// What became of the requests.
#[derive(Debug, Default)]
struct Fates {
    saved: AtomicU64,
    /// 503 with Retry-After, and "nothing was stored".
    shed: AtomicU64,
    /// 503 with Retry-After, and it is not known.
    unknown: AtomicU64,
    /// Anything else.
    wrong: AtomicU64,
    /// Due, and never sent: all connections were taken.
    unsent: AtomicU64,
}

/// How long a run lasts, and what it allows.
struct Run {
    measuring: Duration,
    overload: Duration,
    /// How much the memory of the server may grow from the third quarter to the fourth, in percent of it. In the short form the
    /// caches of the stores are still being filled; what leaks per request is a multiple of this in as many requests.
    growth: u64,
}

impl Run {
    fn given() -> Self {
        if std::env::var_os("GUESTBOOK_TEST_LONG").is_some() {
            return Self {
                measuring: Duration::from_secs(15),
                overload: Duration::from_secs(15 * 60),
                growth: 5,
            };
        }
        Self {
            measuring: Duration::from_secs(4),
            overload: Duration::from_secs(20),
            growth: 15,
        }
    }
}

#[tokio::test]
async fn twice_the_load_it_can_carry_is_shed_with_503_and_grows_nothing() {
    allow_files();
    let (place, run) = (Place::new(), Run::given());
    let node = Running::start(place.command(&[
        "--listen",
        "127.0.0.1:0",
        "--write-queue",
        "1024",
        "--log",
        "warn",
        "--list-ttl",
        "5s",
        "--sweep-interval",
        "1s",
    ]));
    let (taken, address) = (Taken(node.id()), node.client.address);
    warm(address);
    let (threads, files) = (taken.threads(), taken.files_at_rest().await);

    let carried = closed_loop(address, run.measuring).await;
    let fates = Arc::new(Fates::default());
    let mut memory = Vec::new();
    open_loop(address, 2 * carried.rate, run.overload, &fates, || {
        memory.push(taken.resident())
    })
    .await;

    let quarter =
        |number: usize| median(&memory[memory.len() * number / 4..memory.len() * (number + 1) / 4]);
    let quarters: Vec<_> = (0..4).map(|number| mib(quarter(number))).collect();
    let (third, fourth) = (quarter(2), quarter(3));
    let parts: Vec<_> = memory.chunks(PART).map(|part| mib(median(part))).collect();
    println!("memory part by part: {}", parts.join(", "));
    let count = |fate: &AtomicU64| fate.load(Ordering::Relaxed);
    println!(
        "figure: overload for {:.0?}: it carries {} requests of {MESSAGES} messages a second, offered {} a second; {} saved, {} shed, {} of \
         unknown outcome, {} wrong, {} not sent; memory by quarters: {}",
        run.overload,
        carried.rate,
        2 * carried.rate,
        count(&fates.saved),
        count(&fates.shed),
        count(&fates.unknown),
        count(&fates.wrong),
        count(&fates.unsent),
        quarters.join(", ")
    );
    assert_eq!(count(&fates.wrong), 0);
    let offered = 2 * carried.rate * run.overload.as_secs();
    assert!(
        count(&fates.unsent) * 100 <= offered * UNSENT,
        "{} of {offered} requests were not sent: it was no such load",
        count(&fates.unsent)
    );
    assert!(
        count(&fates.shed) > 0,
        "nothing was shed: it was no overload"
    );
    assert!(count(&fates.saved) > 0, "nothing was saved");
    assert!(
        fourth <= third + third * run.growth / 100,
        "the memory grew"
    );

    marks_synced(taken, threads, files).await;
    let saved = (carried.saved + count(&fates.saved)) * MESSAGES + WARMING;
    let stored = stored(&place);
    assert!(
        (saved..=saved + count(&fates.unknown) * MESSAGES).contains(&stored),
        "{stored} messages are stored, {saved} were answered as saved"
    );
    let guests = count(&fates.saved) / OF_A_GUEST;
    for guest in (0..guests).step_by(1 + guests as usize / 20) {
        let report = node.client.verify(Some(&format!("g{guest}"))).await;
        assert_eq!(report["ok"], true, "{report:#}");
    }
    node.stop();
}

/// As above and shorter, at `debug`, while nobody takes the log: nothing but lines is lost.
#[tokio::test]
async fn an_overload_costs_no_more_where_nobody_takes_the_log() {
    allow_files();
    for log in Log::LOST {
        let place = Place::new();
        let command = place.command(&[
            "--listen",
            "127.0.0.1:0",
            "--write-queue",
            "1024",
            "--log",
            "debug",
        ]);
        let node = Running::start_logging(command, log);
        let (address, second) = (node.client.address, Duration::from_secs(1));
        warm(address);
        let carried = closed_loop(address, second).await;
        let fates = Arc::new(Fates::default());
        open_loop(address, 2 * carried.rate, 2 * second, &fates, || {}).await;
        let count = |fate: &AtomicU64| fate.load(Ordering::Relaxed);
        println!(
            "figure: overload while the log is {log:?}: it carries {} requests a second; {} saved, {} shed, {} of unknown outcome",
            carried.rate,
            count(&fates.saved),
            count(&fates.shed),
            count(&fates.unknown)
        );
        assert_eq!(count(&fates.wrong), 0, "{log:?}");
        assert!(count(&fates.saved) > 0, "{log:?}: nothing was saved");
        let dropped = node.client.get("/readyz").await.json()["log_dropped"].clone();
        assert!(dropped.as_u64() > Some(0), "{log:?} takes it all");
        let saved = (carried.saved + count(&fates.saved)) * MESSAGES + WARMING;
        let unknown = count(&fates.unknown) * MESSAGES;
        node.stop();
        assert!(
            (saved..=saved + unknown).contains(&stored(&place)),
            "{log:?}"
        );
    }
}

/// Single messages before anything is measured.
const WARMING: u64 = 200;

fn warm(address: SocketAddr) {
    let mut wire = Wire::open(address);
    for _ in 0..WARMING {
        wire.send(crate::row::post("warm", "", HELLO).as_bytes());
        assert_eq!(wire.reply(false).unwrap().status, 200);
    }
}

/// A request with the next guest's messages.
fn request(number: u64) -> Vec<u8> {
    static BODY: LazyLock<String> = LazyLock::new(|| {
        let messages = vec![HELLO; MESSAGES as usize].join(",");
        format!(r#"{{"messages":[{messages}]}}"#)
    });
    let guest = number / OF_A_GUEST;
    crate::row::post(&format!("g{guest}/batch"), "", &BODY).into_bytes()
}

/// What a server can carry.
struct Carried {
    /// Requests a second.
    rate: u64,
    saved: u64,
}

async fn closed_loop(address: SocketAddr, span: Duration) -> Carried {
    let (fates, since) = (Arc::new(Fates::default()), Instant::now());
    let mut clients = JoinSet::new();
    for client in 0..CLOSED_LOOP as u64 {
        let fates = Arc::clone(&fates);
        clients.spawn(async move {
            let (mut line, mut number) = (Line::open(address).await, client);
            while since.elapsed() < span {
                line.ask(&request(number), &fates).await;
                number += CLOSED_LOOP as u64;
            }
        });
    }
    clients.join_all().await;
    let saved = fates.saved.load(Ordering::Relaxed);
    let rate = (saved as f64 / since.elapsed().as_secs_f64()) as u64;
    assert_eq!(
        fates.wrong.load(Ordering::Relaxed) + fates.shed.load(Ordering::Relaxed),
        0
    );
    Carried { rate, saved }
}

/// Sends requests when they are due, whatever has become of those before; `look` is called four times a second.
async fn open_loop(
    address: SocketAddr,
    rate: u64,
    span: Duration,
    fates: &Arc<Fates>,
    mut look: impl FnMut(),
) {
    let (due, waiting) = async_channel(rate);
    let mut lines = JoinSet::new();
    for _ in 0..(CONNECTIONS * rate).min(MOST_CONNECTIONS) {
        let (waiting, fates) = (Arc::clone(&waiting), Arc::clone(fates));
        lines.spawn(async move {
            let mut line = Line::open(address).await;
            loop {
                let next = waiting.lock().await.recv().await;
                let Some(number) = next else { return };
                line.ask(&request(number), &fates).await;
            }
        });
    }
    let (since, mut sent, mut looks) = (Instant::now(), 0, 0);
    let mut tick = tokio::time::interval(Duration::from_millis(2));
    while since.elapsed() < span {
        tick.tick().await;
        let wanted = (since.elapsed().as_secs_f64() * rate as f64) as u64;
        for number in sent..wanted {
            if due.try_send(number).is_err() {
                fates.unsent.fetch_add(1, Ordering::Relaxed);
            }
        }
        sent = wanted;
        if since.elapsed().as_millis() / 250 > looks {
            looks += 1;
            look();
        }
    }
    drop(due);
    lines.join_all().await;
}

/// What is due, and who is free to send it. A second's worth may be due at a time: a client that was kept from sending by its
/// neighbours on the machine sends all the same.
fn async_channel(
    rate: u64,
) -> (
    mpsc::Sender<u64>,
    Arc<tokio::sync::Mutex<mpsc::Receiver<u64>>>,
) {
    let (due, waiting) = mpsc::channel(usize::try_from(rate).unwrap());
    (due, Arc::new(tokio::sync::Mutex::new(waiting)))
}

/// A connection that is opened again when it was closed.
struct Line {
    address: SocketAddr,
    stream: Option<TcpStream>,
    heard: Vec<u8>,
}

impl Line {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.ok();
        Self {
            address,
            stream,
            heard: vec![0; 16 << 10],
        }
    }

    /// Sends a request and notes what becomes of it.
    async fn ask(&mut self, request: &[u8], fates: &Fates) {
        let fate = match self.answer(request).await {
            Some((200, _)) => &fates.saved,
            Some((503, text))
                if text.contains("retry-after: 1") && text.contains("nothing was stored") =>
            {
                &fates.shed
            }
            Some((503, text)) if text.contains("retry-after: 1") && text.contains("not known") => {
                &fates.unknown
            }
            other => {
                if fates.wrong.load(Ordering::Relaxed) < 5 {
                    println!("wrong: {other:?}");
                }
                self.stream = None;
                &fates.wrong
            }
        };
        fate.fetch_add(1, Ordering::Relaxed);
    }

    /// The status of the answer and its beginning.
    async fn answer(&mut self, request: &[u8]) -> Option<(u16, String)> {
        if self.stream.is_none() {
            self.stream = Some(TcpStream::connect(self.address).await.ok()?);
        }
        let stream = self.stream.as_mut()?;
        stream.write_all(request).await.ok()?;
        let mut held = 0;
        let end = loop {
            held += heard(stream, &mut self.heard[held..]).await?;
            if let Some(end) = self.heard[..held]
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(&self.heard[..end]).ok()?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut left = (end + length?.parse::<usize>().ok()?).checked_sub(held)?;
        // Of a long answer the beginning is kept.
        while left > 0 {
            let at = held.min(BEGINNING);
            let more = heard(stream, &mut self.heard[at..]).await?;
            (held, left) = (at + more, left.checked_sub(more)?);
        }
        let begin = String::from_utf8_lossy(&self.heard[..held.min(BEGINNING)]).into_owned();
        Some((begin.get(9..12)?.parse().ok()?, begin))
    }
}

/// What comes next; `None` at the end.
async fn heard(stream: &mut TcpStream, place: &mut [u8]) -> Option<usize> {
    let count = stream.read(place).await.ok();
    count.filter(|count| *count > 0)
}

fn median(numbers: &[u64]) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// Connections and threads are given back.
async fn marks_synced(taken: Taken, threads: u64, files: usize) {
    let since = Instant::now();
    while taken.threads() > threads || taken.files() > files + 2 {
        assert!(
            since.elapsed() < SETTLING,
            "{} threads and {} files, before the load {threads} and {files}",
            taken.threads(),
            taken.files()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn stored(place: &Place) -> u64 {
    let connection =
        Connection::open_with_flags(place.file(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    connection
        .query_row("SELECT count(*) FROM message_cache", [], |row| row.get(0))
        .unwrap()
}
