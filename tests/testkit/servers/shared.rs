//! One PostgreSQL for many tests, each with a database of its own.

use super::postgres::{Postgres, PostgresOptions};
use super::{blocking, psql};
use std::env;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The URL of a server on which databases may be created. `tests/with-servers` starts one and sets it.
const VARIABLE: &str = "GUESTBOOK_TEST_POSTGRES";

/// A database for one test. Dropping it drops it there, whoever is still connected.
#[derive(Debug)]
pub struct SharedDatabase {
    server: String,
    name: String,
}

/// A fresh, empty database and its URL: on the server that the environment names, else on one that this process starts for
/// itself.
pub async fn shared_postgres() -> (SharedDatabase, String) {
    blocking(|| {
        let database = SharedDatabase::create(server());
        let url = database.url();
        (database, url)
    })
    .await
}

/// The URL of the shared server.
fn server() -> String {
    static OWN: OnceLock<Postgres> = OnceLock::new();
    let given = env::var(VARIABLE).ok().filter(|url| !url.is_empty());
    given.unwrap_or_else(|| {
        let own = OWN.get_or_init(|| {
            let mut options = PostgresOptions::fast();
            options.settings.push("max_connections=400".to_owned());
            Postgres::open(options)
        });
        own.url("postgres")
    })
}

impl SharedDatabase {
    fn create(server: String) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let name = format!("test_{}_{}_{number}", now.as_nanos(), process::id());
        psql(
            &server,
            &format!("CREATE DATABASE {name} TEMPLATE template0"),
        );
        Self { server, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's URL with this database in place of its own.
    pub fn url(&self) -> String {
        let (server, options) = match self.server.split_once('?') {
            Some((server, options)) => (server, format!("?{options}")),
            None => (self.server.as_str(), String::new()),
        };
        let (server, _) = server
            .rsplit_once('/')
            .filter(|(server, _)| !server.ends_with('/'))
            .unwrap_or_else(|| panic!("{VARIABLE} must end with a database, like …/postgres"));
        format!("{server}/{}{options}", self.name)
    }

    /// Where the server listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        let after_scheme = self.server.split_once("://").map_or("", |parts| parts.1);
        let authority = after_scheme.split('/').next().unwrap_or_default();
        let address = authority.rsplit('@').next().unwrap_or_default();
        match address.contains(':') {
            true => address.to_owned(),
            false => format!("{address}:5432"),
        }
    }

    /// Runs SQL and returns the rows, one a line, cells separated by `|`.
    pub async fn psql(&self, sql: &str) -> String {
        let (url, sql) = (self.url(), sql.to_owned());
        blocking(move || psql(&url, &sql)).await
    }
}

impl Drop for SharedDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        psql(&self.server, &drop);
    }
}
