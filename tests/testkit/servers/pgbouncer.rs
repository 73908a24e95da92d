//! PgBouncer: a pool before PostgreSQL that gives a connection to whoever has a transaction.

use super::keeper::{Keeper, give, not_as_root};
use super::port::Port;
use super::{blocking, output, program, psql};
use std::fs;
use std::process::Command;
use std::sync::Arc;

/// A pool in transaction mode of four connections for each database.
#[derive(Debug)]
pub struct PgBouncer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    port: Port,
    keeper: Keeper,
}

impl PgBouncer {
    /// Before the server at this `HOST:PORT`, which asks `guestbook` for no password.
    pub async fn start(server: &str) -> Self {
        Self::start_with(server, &[]).await
    }

    /// With more lines for the `[pgbouncer]` part of its settings; later lines win.
    pub async fn start_with(server: &str, settings: &[&str]) -> Self {
        let (host, port) = server.rsplit_once(':').expect("HOST:PORT");
        let databases = format!("[databases]\n* = host={host} port={port} user=guestbook\n");
        let settings = settings.join("\n");
        blocking(move || {
            let inner = Arc::new(Inner::new(&databases, &settings));
            inner.start();
            Self { inner }
        })
        .await
    }

    /// Of a database of the server behind it.
    pub fn url(&self, database: &str) -> String {
        self.inner.url(database)
    }

    pub fn port(&self) -> u16 {
        self.inner.port.number()
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Runs SQL through the pool; the database `pgbouncer` is its own console (`SHOW POOLS`).
    pub async fn psql(&self, database: &str, sql: &str) -> String {
        let (url, sql) = (self.url(database), sql.to_owned());
        blocking(move || psql(&url, &sql)).await
    }

    pub async fn kill(&self) {
        self.with(|inner| inner.keeper.kill()).await;
    }

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
    fn new(databases: &str, settings: &str) -> Self {
        let (port, keeper) = (Port::reserve(), Keeper::new("pgbouncer"));
        let text = format!(
            "{databases}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 500\n\
             {settings}\n",
            port.number()
        );
        fs::write(keeper.folder().join("pgbouncer.ini"), text).unwrap();
        give(keeper.folder());
        Self { port, keeper }
    }

    fn start(&self) {
        let mut command = Command::new(program("pgbouncer", "pgbouncer"));
        command.arg(self.keeper.folder().join("pgbouncer.ini"));
        not_as_root(&mut command);
        let mut question = Command::new(program("pg_isready", "postgresql-client"));
        question.args(["-q", "-d", &self.url("pgbouncer")]);
        let question = std::cell::RefCell::new(question);
        self.keeper.start(command, || {
            output(&mut question.borrow_mut()).status.success()
        });
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres://guestbook@127.0.0.1:{}/{database}",
            self.port.number()
        )
    }
}
