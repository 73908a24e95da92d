//! Where an OpenAI-compatible server is: a checked URL that can be shown in errors.
//!
//! A type of its own, because a URL may hold secrets (`user:password@`, `?key=`) and errors, logs and `--help` must
//! not: the full URL stays private here, and everything else sees only what may be shown.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// The base URL of an OpenAI-compatible server, such as `https://api.openai.com/v1`. Shows itself without its query.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The base without query and trailing slash: safe to show, and the identity of the server.
    shown: String,
    /// The whole URL of the embeddings call.
    call: Url,
}

/// Why a text is not the URL of a server. Never repeats the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It cannot be read as a URL.
    #[error("it is not a URL ({0})")]
    Syntax(String),
    /// Neither `http` nor `https`.
    #[error("its scheme must be http or https")]
    Scheme,
    /// A user name or password stands before the host.
    #[error("it must not hold a user name or password; give the key by its own setting")]
    Credentials,
    /// It ends with `#…`, which a server never sees.
    #[error("it must not have a fragment (#...)")]
    Fragment,
}

impl Endpoint {
    /// The URL to post to: the base, `/embeddings`, and the query if there was one. May hold secrets.
    pub(super) fn call(&self) -> &Url {
        &self.call
    }

    /// Whether the server is spoken to through TLS.
    pub(super) fn is_https(&self) -> bool {
        self.call.scheme() == "https"
    }

    /// The base URL, with no trailing slash and no query.
    pub fn as_str(&self) -> &str {
        &self.shown
    }
}

impl FromStr for Endpoint {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let url = Url::parse(text).map_err(|error| BadUrl::Syntax(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadUrl::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadUrl::Credentials);
        }
        if url.fragment().is_some() {
            return Err(BadUrl::Fragment);
        }
        let mut base = url.clone();
        base.set_query(None);
        let shown = base.as_str().trim_end_matches('/').to_owned();
        let mut call = url;
        let path = format!("{}/embeddings", call.path().trim_end_matches('/'));
        call.set_path(&path);
        Ok(Self { shown, call })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.shown)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    #[test]
    fn the_call_is_below_the_base_and_keeps_the_query() {
        for (base, shown, call) in [
            ("http://h/v1", "http://h/v1", "http://h/v1/embeddings"),
            ("http://h:1/", "http://h:1", "http://h:1/embeddings"),
            (
                "https://h/d/?key=s3",
                "https://h/d",
                "https://h/d/embeddings?key=s3",
            ),
        ] {
            let endpoint: Endpoint = base.parse().unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.call().as_str(), call);
            assert!(!format!("{endpoint:?}").contains("s3"));
        }
    }

    #[test]
    fn other_urls_are_refused_without_repeating_them() {
        for (text, reason) in [
            ("s3cret", "it is not a URL"),
            ("", "it is not a URL"),
            ("http://", "it is not a URL"),
            ("ftp://s3cret/", "http or https"),
            ("http://s3cret@h/", "user name or password"),
            ("http://u:s3cret@h/", "user name or password"),
            ("http://:s3cret@h/", "user name or password"),
            ("http://h/#s3cret", "fragment"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
