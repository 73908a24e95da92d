//! Redis, alone and as a cluster.

use super::certificates::Certificates;
use super::keeper::Keeper;
use super::port::Port;
use super::{blocking, output, program, run};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PACKAGE: &str = "redis-server";
const DEADLINE: Duration = Duration::from_secs(120);

/// What is unusual about a server.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Settings as on its command line: `["--appendonly", "yes"]`. Without any, nothing is written to disk.
    pub arguments: Vec<String>,
    pub password: Option<String>,
    /// TLS and nothing else on its port.
    pub tls: bool,
}

/// A private server.
#[derive(Debug)]
pub struct Redis {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    port: Port,
    keeper: Keeper,
    options: RedisOptions,
    certificates: Option<Certificates>,
}

impl Redis {
    /// An empty server that keeps nothing.
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    pub async fn start_with(options: RedisOptions) -> Self {
        blocking(|| {
            let inner = Arc::new(Inner::new(options));
            inner.start();
            Self { inner }
        })
        .await
    }

    /// `redis://` or `rediss://`, with the password.
    pub fn url(&self) -> String {
        let scheme = if self.inner.options.tls {
            "rediss"
        } else {
            "redis"
        };
        let password = self.inner.options.password.as_ref();
        let password = password.map(|password| format!(":{password}@"));
        let password = password.unwrap_or_default();
        format!("{scheme}://{password}127.0.0.1:{}", self.port())
    }

    pub fn port(&self) -> u16 {
        self.inner.port.number()
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The certificate of the authority that signed the server's, of a server with TLS.
    pub fn authority(&self) -> &Path {
        let certificates = self.inner.certificates.as_ref();
        &certificates.expect("a server with TLS").authority
    }

    /// What `redis-cli` prints for a command.
    pub async fn command(&self, words: &[&str]) -> String {
        let inner = Arc::clone(&self.inner);
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        blocking(move || run(inner.client().args(words))).await
    }

    /// Ends it as a service manager does.
    pub async fn stop(&self) {
        self.with(|inner| inner.keeper.stop("TERM")).await;
    }

    /// Ends it with SIGKILL.
    pub async fn kill(&self) {
        self.with(|inner| inner.keeper.kill()).await;
    }

    /// Starts it on the same port and folder after a stop or kill.
    pub async fn start_again(&self) {
        self.with(Inner::start).await;
    }

    /// Freezes it: connections stay, and nothing is answered.
    pub async fn pause(&self) {
        self.with(|inner| inner.keeper.pause()).await;
    }

    pub async fn resume(&self) {
        self.with(|inner| inner.keeper.resume()).await;
    }

    pub fn log(&self) -> String {
        self.inner.keeper.log()
    }

    async fn with(&self, work: impl FnOnce(&Inner) + Send + 'static) {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner)).await;
    }
}

impl Inner {
    fn new(options: RedisOptions) -> Self {
        let keeper = Keeper::new("redis-server");
        let certificates = options.tls.then(|| Certificates::make(keeper.folder()));
        Self {
            port: Port::reserve(),
            keeper,
            options,
            certificates,
        }
    }

    fn start(&self) {
        let port = self.port.number().to_string();
        let mut command = Command::new(program("redis-server", PACKAGE));
        command.args(["--bind", "127.0.0.1", "--daemonize", "no", "--save", ""]);
        command.arg("--dir").arg(self.keeper.folder());
        match &self.certificates {
            None => {
                command.args(["--port", &port]);
            }
            Some(made) => {
                command.args(["--port", "0", "--tls-port", &port]);
                command.args(["--tls-auth-clients", "no"]);
                command.arg("--tls-cert-file").arg(&made.certificate);
                command.arg("--tls-key-file").arg(&made.key);
                command.arg("--tls-ca-cert-file").arg(&made.authority);
            }
        }
        if let Some(password) = &self.options.password {
            command.args(["--requirepass", password]);
        }
        command.args(&self.options.arguments);
        self.keeper.start(command, || {
            let answer = output(self.client().arg("PING")).stdout;
            answer.starts_with(b"PONG")
        });
    }

    fn client(&self) -> Command {
        let mut command = Command::new(program("redis-cli", "redis-tools"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.number().to_string()]);
        if let Some(password) = &self.options.password {
            command.env("REDISCLI_AUTH", password);
        }
        if let Some(made) = &self.certificates {
            command.arg("--tls").arg("--cacert").arg(&made.authority);
        }
        command
    }
}

/// A cluster of three servers without replicas: every slot is on exactly one.
#[derive(Debug)]
pub struct RedisCluster {
    pub nodes: [Redis; 3],
}

impl RedisCluster {
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    /// Each node gets these options.
    pub async fn start_with(mut options: RedisOptions) -> Self {
        let settings =
            "--cluster-enabled yes --cluster-config-file nodes.conf --cluster-node-timeout 2000";
        let own = std::mem::take(&mut options.arguments);
        let settings = settings.split(' ').map(str::to_owned);
        options.arguments = settings.chain(own).collect();
        let nodes = [
            Redis::start_with(options.clone()).await,
            Redis::start_with(options.clone()).await,
            Redis::start_with(options).await,
        ];
        let cluster = Self { nodes };
        let addresses = cluster.addresses();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "0", "--cluster-yes"]);
        cluster.nodes[0].command(&create).await;
        cluster.wait_until_well().await;
        cluster
    }

    /// `redis+cluster://127.0.0.1:p1,127.0.0.1:p2,127.0.0.1:p3`
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.addresses().join(","))
    }

    pub fn addresses(&self) -> [String; 3] {
        self.nodes.each_ref().map(Redis::address)
    }

    /// What `redis-cli` prints for a command to the node that has the key.
    pub async fn command(&self, words: &[&str]) -> String {
        let words: Vec<_> = [&["-c"], words].concat();
        self.nodes[0].command(&words).await
    }

    /// Waits until every node knows every other one and serves.
    pub async fn wait_until_well(&self) {
        let deadline = Instant::now() + DEADLINE;
        for node in &self.nodes {
            loop {
                let told = node.command(&["CLUSTER", "INFO"]).await;
                let has = |line| told.lines().any(|told| told.trim_end() == line);
                if has("cluster_state:ok") && has("cluster_known_nodes:3") {
                    break;
                }
                assert!(Instant::now() < deadline, "no cluster:\n{told}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
