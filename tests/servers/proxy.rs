//! A network that is slow, dead or cut, without any privilege: a TCP proxy before a server.

use super::port::Port;
use std::net::{Ipv4Addr, Shutdown};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak, mpsc as handover};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::ErrorKind;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Bytes read at once, and how many such parts may be under way in one direction of one connection.
const PART: usize = 16 * 1024;
const PARTS: usize = 4096;

/// A proxy on a port of its own, on a thread of its own: what the test does with its runtime does not slow it down.
#[derive(Debug)]
pub(crate) struct Proxy {
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
    over: bool,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// Whether the orders about listening are carried out.
    refusing: watch::Sender<bool>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug)]
enum Way {
    There,
    Back,
}

impl Proxy {
    /// Before the server at this `HOST:PORT`, which need not run yet.
    pub(crate) fn start(server: &str) -> Self {
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

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A URL of the server with the proxy in place of its `127.0.0.1:PORT`.
    pub(crate) fn before(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("{scheme}://{user}{}{rest}", self.address())
    }

    /// How long each byte is under way from now on. Bytes keep their order, and any number may be under way.
    pub(crate) fn delay(&self, there: Duration, back: Duration) {
        self.order(|orders| orders.delays = [there, back]);
    }

    /// Accepts connections and takes bytes, but passes on none until [`Proxy::resume`].
    pub(crate) fn stall(&self) {
        self.order(|orders| orders.stalled = [true, true]);
    }

    /// Passes requests on, but no answers until [`Proxy::resume`]: what is done is not learned.
    pub(crate) fn stall_answers(&self) {
        self.order(|orders| orders.stalled = [false, true]);
    }

    /// Ends every present connection with a reset; what was under way is lost.
    pub(crate) fn cut(&self) {
        self.order(|orders| orders.cuts += 1);
        self.wait_for("the connections to end", || self.open() == 0);
    }

    /// Listens no more until [`Proxy::resume`]; present connections stay.
    pub(crate) fn refuse(&self) {
        self.order(|orders| orders.refusing = true);
        self.wait_for("it to close", || *self.counts.refusing.borrow());
    }

    /// Neither stalls nor refuses any more. Delays stay.
    pub(crate) fn resume(&self) {
        self.order(|orders| {
            orders.stalled = [false, false];
            orders.refusing = false;
        });
        self.wait_for("it to listen", || !*self.counts.refusing.borrow());
    }

    /// How many connections it has accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
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
            (true, true) => listener = None,
            (false, false) => listener = Some(listen(port.number()).await),
            _ => {}
        }
        counts.refusing.send_replace(now.refusing);
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = orders.changed() => {}
            Ok((client, _)) = accepted => {
                counts.accepted.fetch_add(1, Ordering::SeqCst);
                counts.open.fetch_add(1, Ordering::SeqCst);
                // What is connected in the moment of a cut belongs to either side of it.
                let cuts = orders.borrow().cuts;
                let (server, orders) = (server.to_owned(), orders.clone());
                let counts = Arc::clone(counts);
                tokio::spawn(async move {
                    connection(client, &server, orders, cuts).await;
                    counts.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    }
}

/// One connection from its beginning to its end.
async fn connection(
    client: TcpStream,
    server: &str,
    mut orders: watch::Receiver<Orders>,
    cuts: usize,
) {
    let client = Socket::new(client);
    let mut cut = orders.clone();
    let works = async {
        // Whoever is stalled does not learn whether the server is there.
        let _ = orders.wait_for(|orders| !orders.stalled[0]).await;
        let Ok(server) = TcpStream::connect(server).await else {
            client.reset();
            return;
        };
        let server = Socket::new(server);
        let both = async {
            tokio::join!(
                pass(&client, &server, Way::There, orders.clone()),
                pass(&server, &client, Way::Back, orders.clone())
            )
        };
        let mut cut = orders.clone();
        tokio::select! {
            (there, back) = both => {
                if there.is_err() || back.is_err() {
                    client.reset();
                    server.reset();
                }
            }
            _ = cut.wait_for(|orders| orders.cuts > cuts) => server.reset(),
        }
    };
    tokio::select! {
        biased;
        () = works => {}
        _ = cut.wait_for(|orders| orders.cuts > cuts) => {}
    }
    if orders_cut(&cut, cuts) {
        client.reset();
    }
}
