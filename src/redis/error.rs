//! Converts the server's errors to those of [`guestbook_core::error`].

use ::redis::{ErrorKind as Cause, RedisError, ServerErrorKind};
use guestbook_core::error::{Error, ErrorKind};

/// The name that tables and receipts show.
pub(super) const NAME: &str = "redis";

const REFUSED: &str = "the server refused the credentials; check user and password of --cache-url";
const NO_DATABASE: &str = "the server has no database of the number in --cache-url";
const REPLICA: &str =
    "the server is a replica, which takes no writes; give the address of the primary";
const NOT_ALLOWED: &str = "the server does not let this user do what lists take; docs/deployment/postgres-redis.md names the keys and commands";
const FOREIGN_NODE: &str = "this server is one node of a cluster; begin --cache-url with redis+cluster:// or rediss+cluster://";

/// Converts an error of the driver.
pub(super) fn convert(operation: &'static str, cause: RedisError) -> Error {
    let (kind, context) = judge(&cause);
    Error::caused(kind, NAME, operation, context, cause)
}

/// A failure of this store that the driver did not detect.
pub(super) fn failed(
    kind: ErrorKind,
    operation: &'static str,
    context: impl Into<String>,
) -> Error {
    Error::new(kind, NAME, operation, context)
}

/// Whether the connection has failed, so that a retry on another one may succeed.
pub(super) fn is_lost(cause: &RedisError) -> bool {
    !matches!(cause.kind(), Cause::Server(_) | Cause::Extension)
}

/// Whether the next command should use another connection: this one leads to a server that has changed its role, or its users.
pub(super) fn is_misplaced(cause: &RedisError) -> bool {
    let changed = ["READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "NOAUTH"];
    changed.iter().any(|code| cause.code() == Some(code))
}

/// Whether the server has forgotten a script, as it does when it is restarted.
pub(super) fn is_unknown_script(cause: &RedisError) -> bool {
    cause.kind() == Cause::Server(ServerErrorKind::NoScript)
}

fn judge(cause: &RedisError) -> (ErrorKind, &'static str) {
    let text = cause.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if cause.code() == Some("OOM") || has(&["OOM command not allowed"]) {
        return (
            ErrorKind::Full,
            "the server has no memory left; raise its maxmemory or choose an eviction policy",
        );
    }
    let refusals = [
        "NOAUTH",
        "WRONGPASS",
        "AuthenticationFailed",
        "invalid password",
    ];
    if cause.kind() == Cause::AuthenticationFailed || has(&refusals) {
        return (ErrorKind::Unavailable, REFUSED);
    }
    if has(&["refused to switch database"]) {
        return (ErrorKind::Unavailable, NO_DATABASE);
    }
    // What servers of different versions refuse to a script.
    if has(&[
        "The user executing the script can't",
        "ACL failure in script",
    ]) {
        return (ErrorKind::Unavailable, NOT_ALLOWED);
    }
    match cause.kind() {
        Cause::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            (ErrorKind::Unavailable, FOREIGN_NODE)
        }
        Cause::Server(ServerErrorKind::NoPerm) => (ErrorKind::Unavailable, NOT_ALLOWED),
        Cause::Server(ServerErrorKind::ReadOnly) => (ErrorKind::Unavailable, REPLICA),
        Cause::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot) => {
            (ErrorKind::Internal, "the server does not take the command")
        }
        Cause::Extension if cause.code() == Some("WRONGTYPE") => {
            (ErrorKind::Corrupt, "a key is of another type than ours")
        }
        Cause::Server(_) | Cause::Extension => {
            (ErrorKind::Unavailable, "the server cannot serve now")
        }
        Cause::InvalidClientConfig => (ErrorKind::Invalid, "the server cannot be spoken to so"),
        Cause::UnexpectedReturnType => (ErrorKind::Internal, "the server answered something else"),
        _ if cause.is_timeout() => (ErrorKind::Unavailable, "the server did not answer in time"),
        _ => (ErrorKind::Unavailable, "the server cannot be reached"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::redis::parse_redis_value;

    fn converted(line: &str) -> Error {
        let value = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        convert("apply", value.extract_error().unwrap_err())
    }

    #[test]
    fn what_the_server_says_decides_the_kind() {
        let cases = [
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                ErrorKind::Full,
            ),
            (
                "ERR Error running script: -OOM command not allowed",
                ErrorKind::Full,
            ),
            (
                "READONLY You can't write against a read only replica.",
                ErrorKind::Unavailable,
            ),
            (
                "LOADING Redis is loading the dataset in memory",
                ErrorKind::Unavailable,
            ),
            (
                "MASTERDOWN Link with MASTER is down",
                ErrorKind::Unavailable,
            ),
            ("CLUSTERDOWN The cluster is down", ErrorKind::Unavailable),
            (
                "MISCONF Redis is configured to save RDB snapshots",
                ErrorKind::Unavailable,
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                ErrorKind::Unavailable,
            ),
            ("WRONGTYPE Operation against a key", ErrorKind::Corrupt),
            ("NOPERM User x has no permissions", ErrorKind::Unavailable),
            (
                "ERR The user executing the script can't run this command or subcommand",
                ErrorKind::Unavailable,
            ),
            (
                "ERR ACL failure in script: User x has no permissions",
                ErrorKind::Unavailable,
            ),
            ("ERR unknown command", ErrorKind::Internal),
        ];
        for (line, kind) in cases {
            assert_eq!(converted(line).kind(), kind, "{line}");
        }
    }

    #[test]
    fn refused_credentials_are_called_so() {
        for line in [
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
        ] {
            let error = converted(line);
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(
                error.context().contains("refused the credentials"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_node_of_a_cluster_says_how_to_name_it() {
        let error = converted("MOVED 1234 127.0.0.1:7001");
        assert!(error.context().contains("redis+cluster://"), "{error}");
    }
}
