//! PostgreSQL.

use super::certificates::Certificates;
use super::keeper::{Keeper, give, not_as_root};
use super::port::Port;
use super::{blocking, output, program, psql, run};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PACKAGE: &str = "postgresql";

/// What is unusual about a server.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Lines of postgresql.conf: `max_connections=20`. Without any it is as durable as PostgreSQL is by default.
    pub settings: Vec<String>,
    /// Needed over TCP; otherwise everyone is let in.
    pub password: Option<String>,
    /// TLS is offered beside plain TCP.
    pub tls: bool,
    /// Where its files are to be, if not in a folder of its own: on a disk that fails, say.
    pub data: Option<PathBuf>,
}

impl PostgresOptions {
    /// Loses everything with the machine, but is several times faster: for laws about rows, not about disks.
    pub fn fast() -> Self {
        let settings = [
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
        ];
        Self {
            settings: settings.map(str::to_owned).to_vec(),
            ..Self::default()
        }
    }
}

/// A private server. Its user is `guestbook`.
#[derive(Debug)]
pub struct Postgres {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    port: Port,
    keeper: Keeper,
    data: PathBuf,
    password: Option<String>,
    certificates: Option<Certificates>,
    databases: AtomicUsize,
}

impl Postgres {
    /// A durable server.
    pub async fn start() -> Self {
        Self::start_with(PostgresOptions::default()).await
    }

    pub async fn start_with(options: PostgresOptions) -> Self {
        blocking(|| Self::open(options)).await
    }

    pub(super) fn open(options: PostgresOptions) -> Self {
        let inner = Arc::new(Inner::new(options));
        inner.start();
        Self { inner }
    }

    /// Of a database, over TCP.
    pub fn url(&self, database: &str) -> String {
        let password = self.inner.password.as_ref();
        let password = password.map(|password| format!(":{password}"));
        let password = password.unwrap_or_default();
        format!(
            "postgres://guestbook{password}@{}/{database}",
            self.address()
        )
    }

    pub fn port(&self) -> u16 {
        self.inner.port.number()
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The folder of the unix socket, which needs no password.
    pub fn socket_folder(&self) -> &Path {
        self.inner.keeper.folder()
    }

    /// The certificate of the authority that signed the server's, of a server with TLS.
    pub fn authority(&self) -> &Path {
        let certificates = self.inner.certificates.as_ref();
        &certificates.expect("a server with TLS").authority
    }

    /// A new, empty database; its name.
    pub async fn create_database(&self) -> String {
        let number = self.inner.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("guestbook_{number}");
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        self.psql("postgres", &create).await;
        name
    }

    /// The cells of each row that a statement finds, as text; none may have a `|` or an end of line in it.
    pub async fn rows(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        let told = self.psql(database, sql).await;
        let cells = |line: &str| line.split('|').map(str::to_owned).collect();
        told.lines().map(cells).collect()
    }

    /// Runs SQL and returns the rows, one a line, cells separated by `|`.
    pub async fn psql(&self, database: &str, sql: &str) -> String {
        let connection = self.inner.connection(database);
        let sql = sql.to_owned();
        blocking(move || psql(&connection, &sql)).await
    }

    /// Ends it at once but in order: open transactions are rolled back, and clients are told.
    pub async fn stop(&self) {
        self.with(|inner| inner.keeper.stop("INT")).await;
    }

    /// Kills the server and every process of it.
    pub async fn kill(&self) {
        self.with(|inner| inner.keeper.kill()).await;
    }

    /// Starts it on the same port and files after a stop or kill.
    pub async fn start_again(&self) {
        self.with(Inner::start).await;
    }

    /// Freezes every process of it: connections stay, and nothing is answered.
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
    fn new(options: PostgresOptions) -> Self {
        let keeper = Keeper::new("postgres");
        give(keeper.folder());
        let certificates = options.tls.then(|| {
            let made = Certificates::make(&keeper.folder().join("certificates"));
            fs::set_permissions(&made.key, fs::Permissions::from_mode(0o600)).unwrap();
            give(&made.key);
            made
        });
        let inner = Self {
            port: Port::reserve(),
            data: options.data.unwrap_or_else(|| keeper.folder().join("data")),
            keeper,
            password: options.password,
            certificates,
            databases: AtomicUsize::new(0),
        };
        inner.initialize();
        inner.configure(&options.settings);
        inner
    }

    fn initialize(&self) {
        fs::create_dir(&self.data).unwrap();
        give(&self.data);
        let mut command = Command::new(program("initdb", PACKAGE));
        command.args(["--no-sync", "-U", "guestbook", "-E", "UTF8", "--locale=C"]);
        command.arg("-D").arg(&self.data).arg("--auth-local=trust");
        match &self.password {
            None => {
                command.arg("--auth-host=trust");
            }
            Some(password) => {
                let file = self.keeper.folder().join("password");
                fs::write(&file, password).unwrap();
                command.arg("--auth-host=scram-sha-256");
                command.arg("--pwfile").arg(file);
            }
        }
        command.current_dir(self.keeper.folder());
        not_as_root(&mut command);
        run(&mut command);
    }

    fn configure(&self, settings: &[String]) {
        let folder = self.keeper.folder().display();
        let mut lines = vec![
            "listen_addresses='127.0.0.1'".to_owned(),
            format!("port={}", self.port.number()),
            format!("unix_socket_directories='{folder}'"),
        ];
        if let Some(made) = &self.certificates {
            lines.push("ssl=on".to_owned());
            lines.push(format!("ssl_cert_file='{}'", made.certificate.display()));
            lines.push(format!("ssl_key_file='{}'", made.key.display()));
        }
        lines.extend_from_slice(settings);
        let file = File::options()
            .append(true)
            .open(self.data.join("postgresql.conf"));
        writeln!(file.unwrap(), "{}", lines.join("\n")).unwrap();
    }

    fn start(&self) {
        let mut command = Command::new(program("postgres", PACKAGE));
        command.arg("-D").arg(&self.data);
        command.current_dir(self.keeper.folder());
        not_as_root(&mut command);
        let mut question = Command::new(program("pg_isready", "postgresql-client"));
        question.args(["-q", "-d", &self.connection("postgres")]);
        let question = std::cell::RefCell::new(question);
        self.keeper.start(command, || {
            output(&mut question.borrow_mut()).status.success()
        });
    }

    fn connection(&self, database: &str) -> String {
        format!(
            "host={} port={} user=guestbook dbname={database}",
            self.keeper.folder().display(),
            self.port.number()
        )
    }
}
