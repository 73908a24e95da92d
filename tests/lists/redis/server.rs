//! A Redis of one's own: started on a free port in a temporary folder, and killed when it is dropped.
#![allow(dead_code, reason = "each crate of tests uses a part of it")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start, or anything awaited to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Server {
    process: Child,
    folder: TempDir,
    pub(crate) port: u16,
    settings: Vec<String>,
}

impl Server {
    /// A server with these settings more, such as `--maxmemory 5mb`; it answers when this returns.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), settings)
    }

    /// The same in a folder that holds what the settings name.
    pub(crate) fn start_in(folder: TempDir, settings: &[&str]) -> Self {
        let port = free_port();
        let mut all: Vec<String> = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
            .map(str::to_owned)
            .to_vec();
        // With TLS alone, the plain port is closed.
        if !settings.contains(&"--tls-port") {
            all.extend(["--port".to_owned(), port.to_string()]);
        }
        all.extend(
            settings
                .iter()
                .map(|it| it.replace("PORT", &port.to_string())),
        );
        let process = run(folder.path(), &all);
        let server = Self {
            process,
            folder,
            port,
            settings: all,
        };
        server.wait();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("a server that runs");
        self.process.wait().expect("a server that was killed");
    }

    /// Starts it again on the same port, empty.
    pub(crate) fn restart(&mut self) {
        self.process = run(self.folder.path(), &self.settings);
        self.wait();
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.expect("kill").success());
    }

    /// A connection that knows nothing of Guestbook.
    pub(crate) fn raw(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a URL");
        client.get_connection().expect("a server that answers")
    }

    fn wait(&self) {
        let until = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn run(folder: &Path, settings: &[String]) -> Child {
    let started = Command::new("redis-server")
        .args(["--dir", folder.to_str().expect("a plain path")])
        .args(["--logfile", "redis.log"])
        .args(settings)
        .stdout(Stdio::null())
        .spawn();
    started.expect("redis-server is installed")
}
