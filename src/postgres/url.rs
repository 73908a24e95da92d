//! A `postgres://` URL: the server's address, and how to authenticate it.

mod environment;
mod parameters;

use super::NAME;
use super::tls::{self, Tls, TlsTrust};
use guestbook_core::error::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// How long sent bytes may stay unacknowledged before a dead server is given up.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// The address and parameters of a PostgreSQL server. Its Display and Debug hide the password.
#[derive(Clone, Eq, PartialEq)]
pub struct PostgresUrl {
    config: tokio_postgres::Config,
    trust: TlsTrust,
}

impl PostgresUrl {
    /// Reads `postgres://[user[:password]@]host[:port][,host…][/database][?…]`, as libpq does. `sslmode` is one of
    /// disable, prefer (the default), require (encrypted, whoever answers), verify-ca, verify-full; `sslrootcert` is a
    /// PEM file with the authority to trust, else the system's. What the URL leaves out is taken from libpq's variables.
    ///
    /// # Errors
    /// `Invalid`, without repeating the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        Self::parse_in(url, &variable)
    }

    /// As [`Self::parse`], with other environment variables.
    fn parse_in(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        // Else a part of an unescaped password would be taken for a host or a database, and shown.
        if has_stray_at(base) {
            return Err(refused(
                "it has an @ too many (in a user's name or password, write @ as %40 and / as %2F)",
            ));
        }
        parameters::require_known(query)?;
        let (mut mode, mut authority, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value.to_owned()),
                Some(("sslrootcert", value)) => authority = Some(path(value)),
                _ => rest.push(pair),
            }
        }
        let mode = mode.or_else(|| variable("PGSSLMODE"));
        let authority = authority.or_else(|| variable("PGSSLROOTCERT").map(PathBuf::from));
        let trust = TlsTrust::parse(mode.as_deref().unwrap_or("prefer"), authority).ok_or_else(|| {
            refused("sslmode is one of disable, prefer, require, verify-ca, verify-full (or PGSSLMODE, where the URL has none)")
        })?;
        let mut plain = environment::with_ports(base, variable)?;
        if !rest.is_empty() {
            plain = format!("{plain}?{}", rest.join("&"));
        }
        let mut config: tokio_postgres::Config = plain.parse().map_err(|_| {
            refused(
                "it is written like postgres://user:password@host:5432/database?sslmode=require",
            )
        })?;
        environment::complete(&mut config, variable)?;
        if config.get_hosts().is_empty() {
            return Err(refused("it names no host, and PGHOST is not set"));
        }
        config.ssl_mode(match &trust {
            TlsTrust::Plain => SslMode::Disable,
            TlsTrust::IfOffered => SslMode::Prefer,
            _ => SslMode::Require,
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("guestbook");
        }
        config.keepalives_idle(KEEPALIVE_IDLE);
        config.tcp_user_timeout(USER_TIMEOUT);
        Ok(Self { config, trust })
    }

    pub(super) fn config(&self) -> tokio_postgres::Config {
        self.config.clone()
    }

    /// The time limit for trying every host; a name may have two addresses.
    pub(super) fn connect_time(&self) -> Duration {
        let each = self.config.get_connect_timeout().copied();
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(1);
        each.unwrap_or(CONNECT_TIMEOUT) * hosts * 2
    }

    /// How connections are encrypted.
    pub(super) fn tls(&self) -> Result<Tls> {
        tls::open(&self.trust)
    }
}

/// Whether there is an @ anywhere but between credentials and host.
fn has_stray_at(base: &str) -> bool {
    let after_scheme = base.split_once("://").map_or(base, |parts| parts.1);
    let (authority, path) = after_scheme.split_once('/').unwrap_or((after_scheme, ""));
    authority.matches('@').count() > 1 || path.contains('@')
}

/// Unescapes a path of a URL.
fn path(escaped: &str) -> PathBuf {
    PathBuf::from(&*percent_decode_str(escaped).decode_utf8_lossy())
}

fn refused(reason: &str) -> Error {
    let context = format!("--database-url: this is no URL of a PostgreSQL server: {reason}");
    Error::new(ErrorKind::Invalid, NAME, "open", context)
}

/// The URL without user and password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.config.get_ports();
        f.write_str("postgres://")?;
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let url = PostgresUrl::parse("postgres://me:s3cret@db:5433/chats?sslmode=verify-full");
        let url = url.unwrap();
        assert_eq!(url.to_string(), "postgres://db:5433/chats");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert_eq!(url.trust, TlsTrust::Verified { authority: None });
    }

    #[test]
    fn a_wrong_url_says_why_and_no_password() {
        for url in [
            "postgres://me:s3cret@db:port/x",
            "postgres://me:s3cret@db/x?sslmode=perhaps",
            "postgres://me:12/s3cret@db/x",
            "postgres://me:pass@s3cret@db/x",
            "postgres://",
        ] {
            let error = PostgresUrl::parse_in(url, &|_| None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn the_folder_of_a_unix_socket_is_a_host() {
        for url in [
            "postgres://me@%2Frun%2Fpostgresql/chats",
            "postgres://me@/chats?host=/run/postgresql",
        ] {
            let url = PostgresUrl::parse(url).unwrap();
            assert_eq!(
                url.config.get_hosts(),
                [Host::Unix("/run/postgresql".into())]
            );
        }
    }

    #[test]
    fn paths_may_be_escaped() {
        assert_eq!(path("/a%20b%2Fc%"), PathBuf::from("/a b/c%"));
    }
}
