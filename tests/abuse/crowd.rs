//! Clients that want to stay: what each does for it, and how it comes again when it is sent away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const CLIENTS: usize = 1_000;

/// What the server allows for a head, and for a body.
pub(crate) const ALLOWED: Duration = Duration::from_secs(2);
/// How much later a client may be closed that has been too slow. A deadline and no measure: a machine that is busy closes late, and
/// a server that does not close never does.
pub(crate) const IN_TIME: Duration = Duration::from_secs(60);
/// The default of `--body-limit`.
const BODY_LIMIT: u64 = 8 << 20;
/// Between two visits of a client that was sent away.
const PAUSE: Duration = Duration::from_millis(50);
/// How long clients come again that were sent away.
const INSISTENCE: Duration = Duration::from_secs(5);
/// How long they do at most while nobody else was served: a machine that is busy gives others their turn late.
const OBSTINACY: Duration = Duration::from_secs(30);

/// What a client does to stay.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// A byte of its head now and then.
    Head,
    /// A byte of its body now and then.
    Body,
    /// Nearly all of the largest body as fast as it goes, and never the rest.
    Greed,
}

/// Those who insist, and whether anybody else was served while most of them were there.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    open: AtomicUsize,
    pub(crate) was_passed: AtomicBool,
}

impl Crowd {
    pub(crate) fn is_large(&self) -> bool {
        self.open.load(Ordering::Relaxed) > CLIENTS / 2
    }
}

/// Comes again and again when it is sent away; the longest stay.
pub(crate) async fn insist(address: SocketAddr, way: Way, crowd: Arc<Crowd>) -> Duration {
    let (since, mut longest) = (Instant::now(), Duration::ZERO);
    crowd.open.fetch_add(1, Ordering::Relaxed);
    let insists = || match crowd.was_passed.load(Ordering::Relaxed) {
        true => since.elapsed() < INSISTENCE,
        false => since.elapsed() < OBSTINACY,
    };
    while insists() {
        longest = longest.max(stay(address, way).await);
        tokio::time::sleep(PAUSE).await;
    }
    crowd.open.fetch_sub(1, Ordering::Relaxed);
    longest
}

/// Stays as long as the server lets it; how long that was.
async fn stay(address: SocketAddr, way: Way) -> Duration {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return Duration::ZERO; // the crowd at the door is too large for a moment
    };
    let since = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let mut heard = [0; 1024];
    tokio::select! {
        () = talk(&mut writer, way) => {}
        _ = reader.read(&mut heard) => {} // an answer, or the end
        () = tokio::time::sleep(ALLOWED + IN_TIME) => {}
    }
    since.elapsed()
}

/// Ends only when the server does not listen any more.
async fn talk(writer: &mut (impl AsyncWriteExt + Unpin), way: Way) {
    let claim = format!(
        "POST /v1/guest/chat/slow HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_LIMIT}\r\n\r\n"
    );
    let begin = match way {
        Way::Head => "POST /v1/guest/chat/slow HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        Way::Body | Way::Greed => &claim,
    };
    if writer.write_all(begin.as_bytes()).await.is_err() {
        return;
    }
    if matches!(way, Way::Greed) {
        let part = vec![b' '; 64 << 10];
        for _ in 1..BODY_LIMIT as usize / part.len() {
            if writer.write_all(&part).await.is_err() {
                return;
            }
        }
        return std::future::pending().await; // the reader hears the end
    }
    while writer.write_all(b" ").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
