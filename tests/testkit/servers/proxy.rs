//! A network that is slow, dead or cut, without any privilege: a TCP proxy before a server.

use super::port::Port;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Shutdown};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as handover};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes read at once, and how many such parts may be under way in one direction of one connection.
const PART: usize = 16 * 1024;
const PARTS: usize = 4096;

/// A proxy on a port of its own, on a thread of its own: what the test does with its runtime does not slow it down.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    orders: watch::Sender<Orders>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug, Default)]
struct Orders {
    delays: [Duration; 2],
    stalled: [bool; 2],
    refusing: bool,
    /// Connections made before the last cut are to end.
    cuts: usize,
    /// Connections of fewer than this many accepted before them pass nothing any more.
    forgotten: usize,
    over: bool,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    /// For each connection there is, how many cuts came before it.
    open: Mutex<Vec<usize>>,
    /// What is, not what is ordered.
    refusing: AtomicBool,
}

impl Counts {
    fn open(&self) -> MutexGuard<'_, Vec<usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self, cuts: usize) {
        let mut open = self.open();
        let at = open.iter().position(|its| *its == cuts);
        open.swap_remove(at.expect("it was open"));
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug)]
enum Way {
    There,
    Back,
}

impl Proxy {
    /// Before the server at this `HOST:PORT`, which need not run yet.
    pub fn start(server: &str) -> Self {
        let (orders, followed) = watch::channel(Orders::default());
        let counts = Arc::new(Counts::default());
        let (told, ready) = handover::channel();
        let (server, shared) = (server.to_owned(), Arc::clone(&counts));
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let port = Port::reserve();
                let listener = listen(port.number()).await;
                told.send(port.number()).unwrap();
                serve(listener, &port, &server, followed, &shared).await;
            });
        });
        Self {
            port: ready.recv().expect("a proxy that listens"),
            orders,
            counts,
            thread: Some(thread),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A URL of the server with the proxy in place of its `127.0.0.1:PORT`.
    pub fn before(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("{scheme}://{user}{}{rest}", self.address())
    }

    /// How long each byte is under way from now on. Bytes keep their order, and any number may be under way.
    pub fn delay(&self, there: Duration, back: Duration) {
        self.order(|orders| orders.delays = [there, back]);
    }

    /// Accepts connections and takes bytes, but passes on none until [`Proxy::resume`].
    pub fn stall(&self) {
        self.order(|orders| orders.stalled = [true, true]);
    }

    /// Passes requests on, but no answers until [`Proxy::resume`]: what is done is not learned.
    pub fn stall_answers(&self) {
        self.order(|orders| orders.stalled = [false, true]);
    }

    /// Ends every present connection with a reset; what was under way is lost.
    pub fn cut(&self) {
        self.order(|orders| orders.cuts += 1);
        let cuts = self.orders.borrow().cuts;
        self.wait_for("the connections to end", || {
            self.counts.open().iter().all(|before| *before >= cuts)
        });
    }

    /// Passes nothing more over present connections and does not end them, as a firewall that has forgotten them; new ones are
    /// as good as ever.
    pub fn forget(&self) {
        let accepted = self.accepted();
        self.order(|orders| orders.forgotten = accepted);
    }

    /// Listens no more until [`Proxy::resume`]; present connections stay.
    pub fn refuse(&self) {
        self.order(|orders| orders.refusing = true);
        self.wait_for("it to close", || self.is_refusing());
    }

    /// Neither stalls nor refuses any more. Delays stay.
    pub fn resume(&self) {
        self.order(|orders| {
            orders.stalled = [false, false];
            orders.refusing = false;
        });
        self.wait_for("it to listen", || !self.is_refusing());
    }

    /// How many connections it has accepted so far.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.counts.open().len()
    }

    fn is_refusing(&self) -> bool {
        self.counts.refusing.load(Ordering::SeqCst)
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(change);
    }

    fn wait_for(&self, what: &str, done: impl Fn() -> bool) {
        let since = std::time::Instant::now();
        while !done() {
            assert!(since.elapsed().as_secs() < 60, "the proxy waits for {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.order(|orders| orders.over = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen(port: u16) -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.expect("a reserved port")
}

/// Waits until a port is closed: a process that another thread is just starting may have it open for a moment.
async fn closed(port: u16) {
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .is_ok()
    {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn serve(
    listener: TcpListener,
    port: &Port,
    server: &str,
    mut orders: watch::Receiver<Orders>,
    counts: &Arc<Counts>,
) {
    let mut listener = Some(listener);
    loop {
        let now = orders.borrow_and_update().clone();
        if now.over {
            return;
        }
        match (now.refusing, listener.is_some()) {
            (true, true) => {
                listener = None;
                closed(port.number()).await;
            }
            (false, false) => listener = Some(listen(port.number()).await),
            _ => {}
        }
        counts.refusing.store(now.refusing, Ordering::SeqCst);
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = orders.changed() => {}
            Ok((client, _)) = accepted => {
                let number = counts.accepted.fetch_add(1, Ordering::SeqCst);
                let cuts = orders.borrow().cuts;
                counts.open().push(cuts);
                let (server, orders) = (server.to_owned(), orders.clone());
                let counts = Arc::clone(counts);
                tokio::spawn(async move {
                    // How it ended, its two sides have seen.
                    let _ = connection(client, &server, orders, (number, cuts)).await;
                    counts.closed(cuts);
                });
            }
        }
    }
}

/// One connection from its beginning to its end.
async fn connection(
    client: TcpStream,
    server: &str,
    orders: watch::Receiver<Orders>,
    (number, cuts): (usize, usize),
) -> io::Result<()> {
    let client = Socket::new(client)?;
    let mut cut = orders.clone();
    tokio::select! {
        _ = cut.wait_for(|orders| orders.cuts > cuts) => Ok(()),
        ended = relay(client, server, orders, number) => ended,
    }
}

async fn relay(
    client: Socket,
    server: &str,
    mut orders: watch::Receiver<Orders>,
    number: usize,
) -> io::Result<()> {
    // Whoever is stalled does not learn whether the server is there.
    let _ = orders.wait_for(|orders| !orders.stalled[0]).await;
    let server = Socket::new(TcpStream::connect(server).await?)?;
    tokio::try_join!(
        pass(&client, &server, (Way::There, number), orders.clone()),
        pass(&server, &client, (Way::Back, number), orders.clone()),
    )?;
    client.is_done.store(true, Ordering::Relaxed);
    server.is_done.store(true, Ordering::Relaxed);
    Ok(())
}

/// Passes bytes on in one direction, each when its time has come. A queue, so that a delay is no limit to how many come.
async fn pass(
    from: &Socket,
    to: &Socket,
    (way, number): (Way, usize),
    mut orders: watch::Receiver<Orders>,
) -> io::Result<()> {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(PARTS);
    let read_orders = orders.clone();
    let reading = async move {
        let mut part = vec![0; PART];
        let mut latest = Instant::now();
        loop {
            let length = from.read(&mut part).await?;
            let delay = read_orders.borrow().delays[way as usize];
            // Also after the delay has become shorter.
            latest = latest.max(Instant::now() + delay);
            let sent = queue.send((latest, part[..length].to_vec())).await;
            sent.map_err(|_| ErrorKind::BrokenPipe)?;
            if length == 0 {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((due, part)) = queued.recv().await {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let _ = orders
                .wait_for(|orders| !orders.stalled[way as usize] && number >= orders.forgotten)
                .await;
            if part.is_empty() {
                return to.end();
            }
            to.write(&part).await?;
        }
        Ok(())
    };
    tokio::try_join!(reading, writing)?;
    Ok(())
}

/// One side of a connection. Dropping it resets it, unless both sides had said all.
struct Socket {
    stream: TcpStream,
    /// The same one, which can be shut down through a shared reference.
    twin: std::net::TcpStream,
    is_done: AtomicBool,
}

impl Socket {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let twin = stream.try_clone()?;
        Ok(Self {
            stream: TcpStream::from_std(stream)?,
            twin,
            is_done: AtomicBool::new(false),
        })
    }

    /// Zero bytes are the end.
    async fn read(&self, part: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(part) {
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    async fn write(&self, mut part: &[u8]) -> io::Result<()> {
        while !part.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(part) {
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                written => part = &part[written?..],
            }
        }
        Ok(())
    }

    /// Says that no more bytes come.
    fn end(&self) -> io::Result<()> {
        self.twin.shutdown(Shutdown::Write)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.is_done.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}
