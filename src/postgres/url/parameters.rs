//! The parameters after the `?` of a URL. The driver rejects unknown ones without naming them.

use super::refused;
use guestbook_core::error::{Error, Result};

/// The known parameters.
const KNOWN: [&str; 20] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Parameters of other programs, and what to use instead.
const OTHERS: [(&str, &str); 9] = [
    (
        "pgbouncer",
        "leave it out: nothing has to be told for a way through PgBouncer",
    ),
    (
        "schema",
        "leave it out, or choose a schema with options=-csearch_path%3DNAME",
    ),
    (
        "connection_limit",
        "leave it out; --database-connections says how many there are at most",
    ),
    (
        "pool_timeout",
        "leave it out; a request waits 2 s for a connection at most",
    ),
    (
        "pool_max_conns",
        "leave it out; --database-connections says how many there are at most",
    ),
    (
        "statement_cache_size",
        "leave it out: no statement is prepared under a name",
    ),
    (
        "prepared_statements",
        "leave it out: no statement is prepared under a name",
    ),
    (
        "sslcert",
        "leave it out: there are no client certificates here, a role has a password",
    ),
    (
        "sslkey",
        "leave it out: there are no client certificates here, a role has a password",
    ),
];

/// Fails unless each parameter is known and readable.
///
/// # Errors
/// Names the first wrong one, and what to do. A value is never shown.
pub(super) fn require_known(query: &str) -> Result<()> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .try_for_each(require_one)
}

fn require_one(pair: &str) -> Result<()> {
    // Text after an @, or without a name, may be a part of a password with a question mark.
    let is_name = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let named = pair.split_once('=').filter(|(name, _)| is_name(name));
    let Some((name, _)) = named.filter(|_| !pair.contains('@')) else {
        return Err(refused(
            "after ? it has something that is not name=value (in a password, write ? as %3F)",
        ));
    };
    if let Some((_, instead)) = OTHERS.iter().find(|(other, _)| *other == name) {
        return Err(unknown(name, instead));
    }
    if !KNOWN.contains(&name) {
        return Err(unknown(
            name,
            "leave it out; sslmode, sslrootcert, application_name, connect_timeout, options and target_session_attrs are known",
        ));
    }
    let alone = format!("postgres://host/?{pair}");
    let is_ours = matches!(name, "sslmode" | "sslrootcert");
    match is_ours || alone.parse::<tokio_postgres::Config>().is_ok() {
        true => Ok(()),
        false => Err(refused(&format!(
            "the value of its parameter {name} cannot be read"
        ))),
    }
}

fn unknown(name: &str, instead: &str) -> Error {
    refused(&format!(
        "its parameter {name} is not known here: {instead}"
    ))
}
