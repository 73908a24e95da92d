//! A server in a process of its own, from the same binary: so its processor time and memory are its own, and it can be killed.

use super::BenchError;
use super::process::children;
use super::scratch_stores::ScratchStores;
use super::wire::HttpConnection;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take to be ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(1);
/// Lines of a server's log that are shown when it fails.
const SHOWN: usize = 5;
/// What the child must not take from our environment: what the scratch stores decide.
const OURS: [&str; 9] = [
    "DATABASE_URL",
    "CACHE_URL",
    "REDIS_URL",
    "GUESTBOOK_API_KEY",
    "GUESTBOOK_LISTEN",
    "GUESTBOOK_DATA_DIR",
    "GUESTBOOK_DURABILITY",
    "GUESTBOOK_LOG",
    "GUESTBOOK_LOG_FORMAT",
];

/// What is looked at while it runs.
#[derive(Clone, Debug)]
pub(super) enum ServerStats {
    /// Nothing that would slow it.
    Nothing,
    /// Its batches, by its log, and its fsyncs, by strace into this file where there is a strace.
    Everything(Option<PathBuf>),
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(super) struct BenchServer {
    child: Child,
    /// The process that serves: the child, or the child's child.
    pub(super) id: u32,
    pub(super) address: SocketAddr,
    pub(super) ready_after: Duration,
    log: Arc<Mutex<ServerLog>>,
}

#[derive(Debug, Default)]
struct ServerLog {
    last: Vec<String>,
    batches: Vec<u64>,
}

impl BenchServer {
    /// Starts one on a free port and waits until it is ready.
    pub(super) async fn start(
        scratch: &ScratchStores,
        watch: &ServerStats,
    ) -> Result<Self, BenchError> {
        let since = Instant::now();
        let mut server = tokio::task::block_in_place(|| Self::spawn(command(scratch, watch)?))?;
        if matches!(watch, ServerStats::Everything(Some(_))) {
            server.id = children(server.id).first().copied().unwrap_or(server.id);
        }
        while !is_ready(server.address).await {
            if since.elapsed() > PATIENCE {
                return Err(server.failed("was not ready in time"));
            }
            tokio::time::sleep(POLL).await;
        }
        server.ready_after = since.elapsed();
        Ok(server)
    }

    fn spawn(mut command: Command) -> Result<Self, BenchError> {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let cannot = |cause| format!("a server for the bench could not be started: {cause}");
        let mut child = command.spawn().map_err(cannot)?;
        let log = Arc::new(Mutex::new(ServerLog::default()));
        if let Some(stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || follow(stderr, &log));
        }
        let mut banner = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            let mut stdout = BufReader::new(stdout);
            stdout.read_line(&mut banner).map_err(cannot)?;
        }
        let address = banner
            .rsplit_once("http://")
            .map(|(_, address)| address.trim());
        let mut server = Self {
            id: child.id(),
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            ready_after: Duration::ZERO,
            log,
        };
        match address.and_then(|text| text.parse().ok()) {
            Some(address) => server.address = address,
            None => {
                let _ = server.child.wait(); // its log is complete then
                std::thread::sleep(Duration::from_millis(20));
                return Err(server.failed("did not start"));
            }
        }
        Ok(server)
    }

    /// Ends it as a power cut does, but for the disk.
    pub(super) fn kill(mut self) -> Result<(), BenchError> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed
            .map(drop)
            .map_err(|cause| format!("the bench's server could not be killed: {cause}"))
    }

    /// Lets it finish what it does.
    pub(super) async fn stop(mut self) -> Result<(), BenchError> {
        let id = self.id.to_string();
        let told = Command::new("kill").args(["-s", "TERM", &id]).status();
        if !told.is_ok_and(|status| status.success()) {
            return self.kill();
        }
        let since = Instant::now();
        while !self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            if since.elapsed() > PATIENCE {
                return Err(self.failed("did not stop in time"));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// The sizes of the batches since this was asked last.
    pub(super) fn take_batches(&self) -> Vec<u64> {
        std::mem::take(&mut lock(&self.log).batches)
    }

    fn failed(&self, what: &str) -> BenchError {
        let last = lock(&self.log).last.join(" | ");
        format!("the bench's server {what}: {last}")
    }
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        if self.id != self.child.id() {
            let id = self.id.to_string();
            let _ = Command::new("kill").args(["-s", "KILL", &id]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(log: &Mutex<ServerLog>) -> std::sync::MutexGuard<'_, ServerLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a log to its end, so that the server never waits for us.
fn follow(log: impl Read, into: &Mutex<ServerLog>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        let event: Option<serde_json::Value> = serde_json::from_str(&line).ok();
        let batch = event.filter(|event| event["message"] == "batch committed");
        let mut log = lock(into);
        match batch.and_then(|batch| batch["messages"].as_u64()) {
            Some(messages) => log.batches.push(messages),
            None => {
                if log.last.len() == SHOWN {
                    log.last.remove(0);
                }
                log.last.push(line);
            }
        }
    }
}

fn command(scratch: &ScratchStores, watch: &ServerStats) -> Result<Command, BenchError> {
    let binary = std::env::current_exe()
        .map_err(|cause| format!("the path of this program is not known: {cause}"))?;
    let mut command = match watch {
        ServerStats::Everything(Some(trace)) => traced(&binary, trace),
        _ => Command::new(binary),
    };
    for variable in OURS {
        command.env_remove(variable);
    }
    let stores = &scratch.settings;
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(scratch.folder.path());
    command.args(["--embedder", &stores.embedder]);
    if let Some(durability) = stores.durability {
        command.args(["--durability", durability.as_str()]);
    }
    // By the environment, so that no process list shows a password.
    command.envs(stores.database_url.iter().map(|url| ("DATABASE_URL", url)));
    command.envs(stores.cache_url.iter().map(|url| ("CACHE_URL", url)));
    command.args(match watch {
        ServerStats::Nothing => ["--log", "warn", "--log-format", "text"],
        ServerStats::Everything(_) => ["--log", "warn,guestbook=info", "--log-format", "json"],
    });
    Ok(command)
}

/// With the kernel's own filter, only the calls that are counted are stopped at.
fn traced(binary: &Path, trace: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync,fdatasync"]);
    command.args(["-e", "signal=none", "-o"]).arg(trace);
    command.arg(binary);
    command
}

async fn is_ready(address: SocketAddr) -> bool {
    let request = b"GET /readyz HTTP/1.1\r\nHost: bench\r\n\r\n";
    match HttpConnection::connect(address).await {
        Ok(mut wire) => wire.ask(request).await.is_ok_and(|status| status == 200),
        Err(_) => false,
    }
}
