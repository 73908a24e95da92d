//! The laws of `--database-url` and `--cache-url`.

use guestbook::core::error::ErrorKind;
use guestbook::open::{CacheUrl, DatabaseUrl};
use std::fmt::Debug;
use std::path::Path;

/// What no error and no form of printing may repeat where it stands as a password.
const SECRET: &str = "s3cr3t";

/// Reads a text as each of the two.
pub(crate) fn urls(text: &str) {
    let database = DatabaseUrl::parse(text);
    if let Ok(DatabaseUrl::Sqlite(path)) = &database {
        assert_is_as_written(path, text, "sqlite:");
    }
    check(text, &database);
    let cache = CacheUrl::parse(text);
    if let Ok(CacheUrl::Sled(path)) = &cache {
        assert_is_as_written(path, text, "sled:");
    }
    check(text, &cache);
}

fn check<T: Debug>(text: &str, url: &Result<T, guestbook::core::error::Error>) {
    match url {
        Ok(url) => {
            let shown = format!("{url:?}");
            assert!(!(is_secret(text) && shown.contains(SECRET)), "{shown}");
        }
        Err(cause) => {
            assert!(matches!(
                cause.kind(),
                ErrorKind::Invalid | ErrorKind::Unsupported
            ));
            let said = format!("{cause} {cause:?}");
            assert!(!said.contains(SECRET), "{said}");
        }
    }
}

/// Whether the secret stands where credentials do, and nowhere else: before an @, of a URL that can have any.
fn is_secret(text: &str) -> bool {
    let (before_query, query) = text.split_once('?').unwrap_or((text, ""));
    let (credentials, place) = before_query.rsplit_once('@').unwrap_or_default();
    if place.contains(SECRET) || query.contains(SECRET) {
        return false;
    }
    // At a unix socket, credentials stand in the query: what comes before it is a path, also with an @ in it.
    let is_path = ["sqlite:", "sled:", "unix:", "redis+unix:"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    credentials.contains(SECRET) && !is_path
}

fn assert_is_as_written(path: &Path, text: &str, scheme: &str) {
    let rest = text.strip_prefix(scheme).expect("the scheme");
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    assert_eq!(path, Path::new(rest));
    assert!(!rest.is_empty());
}
