//! Where a Redis is, as a URL says it.
//!
//! `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, with TLS `rediss://`, a cluster `redis+cluster://HOST,HOST` or
//! `rediss+cluster://HOST,HOST`. With TLS, `?ca=FILE` trusts the authorities in that PEM file and no others, and
//! `?insecure=true` (or `#insecure`) verifies nothing. No error and no form of printing repeats a password.

use super::error::failed;
use crate::error::{ErrorKind, Result};
use std::fmt;
use std::path::PathBuf;

const PORT: u16 = 6379;

/// A server or a cluster, and how to speak to it.
#[derive(Clone, Eq, PartialEq)]
pub struct RedisUrl {
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) is_cluster: bool,
    pub(super) trust: Trust,
    pub(super) credentials: Option<Credentials>,
    pub(super) db: u16,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Trust {
    /// No TLS.
    Plain,
    /// Those of the machine.
    Machine,
    /// Those of this PEM file.
    File(PathBuf),
    /// Anybody's.
    Anybody,
}

/// Who we are to the server.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Credentials {
    /// `None` is the server's default user.
    pub(super) user: Option<String>,
    pub(super) password: String,
}

impl RedisUrl {
    /// Reads what follows `scheme://`; `None` if the scheme is not one of ours.
    ///
    /// # Errors
    /// `Invalid`, saying which part is wrong without repeating it.
    pub fn parse(scheme: &str, rest: &str) -> Option<Result<Self>> {
        let (has_tls, is_cluster) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+cluster" => (false, true),
            "rediss+cluster" => (true, true),
            _ => return None,
        };
        Some(parse(rest, has_tls, is_cluster))
    }
}

fn parse(rest: &str, has_tls: bool, is_cluster: bool) -> Result<RedisUrl> {
    let (rest, is_anybody) = match rest.split_once('#') {
        Some((rest, "insecure")) => (rest, true),
        Some(_) => return Err(invalid("nothing but `insecure` may follow a #")),
        None => (rest, false),
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    // A password may hold an @ that nobody has escaped; a host never does.
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    let url = RedisUrl {
        hosts: hosts.split(',').map(host).collect::<Result<_>>()?,
        is_cluster,
        trust: trust(query, has_tls, is_anybody)?,
        credentials: user.map(credentials).transpose()?.flatten(),
        db: db(path)?,
    };
    if !is_cluster && url.hosts.len() > 1 {
        return Err(invalid("several hosts are a cluster: redis+cluster://"));
    }
    if is_cluster && url.db != 0 {
        return Err(invalid("a cluster has no other database than 0"));
    }
    Ok(url)
}

/// `host`, `host:port` or `[address of IPv6]:port`.
fn host(text: &str) -> Result<(String, u16)> {
    let (name, port) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((name, rest)) => (
            name,
            rest.strip_prefix(':')
                .or((!rest.is_empty()).then_some("no port")),
        ),
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| invalid("the port must be a number from 1 to 65535 (in a password, write / as %2F, ? as %3F, # as %23)"))?,
        None => PORT,
    };
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_legal) {
        return Err(invalid("it has no host: redis://HOST:PORT"));
    }
    Ok((name.to_owned(), port))
}

fn credentials(text: &str) -> Result<Option<Credentials>> {
    if text.is_empty() {
        return Ok(None);
    }
    let Some((user, password)) = text.split_once(':') else {
        return Err(invalid(
            "what stands before @ has no colon: redis://:PASSWORD@HOST or redis://USER:PASSWORD@HOST",
        ));
    };
    Ok(Some(Credentials {
        user: (!user.is_empty()).then(|| decode(user)).transpose()?,
        password: decode(password)?,
    }))
}

fn db(path: &str) -> Result<u16> {
    match path.trim_end_matches('/') {
        "" => Ok(0),
        path => path
            .parse()
            .map_err(|_| invalid("what stands after the host must be the number of a database")),
    }
}

fn trust(query: &str, has_tls: bool, is_anybody: bool) -> Result<Trust> {
    let mut trust = match (has_tls, is_anybody) {
        (true, false) => Trust::Machine,
        (true, true) => Trust::Anybody,
        (false, false) => Trust::Plain,
        (false, true) => {
            return Err(invalid(
                "only rediss:// can be insecure: redis:// always is",
            ));
        }
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        trust = match pair.split_once('=') {
            Some(("ca" | "insecure", _)) if !has_tls => {
                return Err(invalid(
                    "`ca` and `insecure` are about TLS: write rediss://",
                ));
            }
            Some(("ca", file)) if !file.is_empty() && trust == Trust::Machine => {
                Trust::File(decode(file)?.into())
            }
            Some(("insecure", "true")) if matches!(trust, Trust::Machine | Trust::Anybody) => {
                Trust::Anybody
            }
            Some(("insecure", "false")) => trust,
            _ => {
                return Err(invalid(
                    "after ? can stand ca=FILE or insecure=true, not both",
                ));
            }
        };
    }
    Ok(trust)
}

/// Undoes the `%41` of a URL.
fn decode(text: &str) -> Result<String> {
    let wrong =
        || invalid("a % in it is not followed by two hexadecimal digits (a % itself is %25)");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = digit().zip(digit()).ok_or_else(wrong)?;
                u8::try_from(high * 16 + low).map_err(|_| wrong())?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| invalid("what is escaped in it is no UTF-8"))
}

fn invalid(what: &str) -> crate::error::Error {
    let context = format!("--cache-url is no URL of a Redis: {what}");
    failed(ErrorKind::Invalid, "open", context)
}

/// The URL without credentials.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.trust == Trust::Plain { "" } else { "s" };
        let cluster = if self.is_cluster { "+cluster" } else { "" };
        let host = |(name, port): &(String, u16)| match name.contains(':') {
            true => format!("[{name}]:{port}"),
            false => format!("{name}:{port}"),
        };
        let hosts: Vec<_> = self.hosts.iter().map(host).collect();
        write!(f, "redis{tls}{cluster}://{}", hosts.join(","))?;
        if self.db != 0 {
            write!(f, "/{}", self.db)?;
        }
        match &self.trust {
            Trust::File(file) => write!(f, "?ca={}", file.display()),
            Trust::Anybody => f.write_str("?insecure=true"),
            Trust::Plain | Trust::Machine => Ok(()),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<RedisUrl> {
        let (scheme, rest) = text.split_once("://").unwrap();
        RedisUrl::parse(scheme, rest).unwrap()
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let url = url("redis://cache").unwrap();
        assert_eq!(url.hosts, [("cache".to_owned(), 6379)]);
        assert_eq!(
            (url.db, url.trust, url.is_cluster),
            (0, Trust::Plain, false)
        );
        assert!(url.credentials.is_none());
    }

    #[test]
    fn every_part_is_read_and_all_but_the_credentials_shown() {
        let cases = [
            (
                "redis://me:p%40ss@h:1/2",
                "redis://h:1/2",
                Some("me"),
                "p@ss",
            ),
            ("rediss://:a@b:c@h", "rediss://h:6379", None, "a@b:c"),
            (
                "rediss://:s@h/#insecure",
                "rediss://h:6379?insecure=true",
                None,
                "s",
            ),
            (
                "rediss://:s@h/0?insecure=true",
                "rediss://h:6379?insecure=true",
                None,
                "s",
            ),
            (
                "rediss://:s@h?ca=/etc/ca.pem",
                "rediss://h:6379?ca=/etc/ca.pem",
                None,
                "s",
            ),
            ("redis://:s@[::1]:7", "redis://[::1]:7", None, "s"),
            (
                "redis+cluster://:s@a,b:2,c",
                "redis+cluster://a:6379,b:2,c:6379",
                None,
                "s",
            ),
            ("rediss+cluster://:s@a:1", "rediss+cluster://a:1", None, "s"),
        ];
        for (text, shown, user, password) in cases {
            let url = url(text).unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(format!("{url:?}"), format!("RedisUrl({shown})"));
            let credentials = url.credentials.unwrap();
            assert_eq!(credentials.user.as_deref(), user, "{text}");
            assert_eq!(credentials.password, password, "{text}");
        }
    }

    #[test]
    fn a_wrong_url_says_what_is_wrong_and_no_secret() {
        let cases = [
            ("redis://:s3cret@", "no host"),
            ("redis://:s3cret@h:port", "port"),
            ("redis://:s3cret/more@h", "%2F"),
            ("redis://s3cret@h", "no colon"),
            ("redis://:s3cret%@h", "%25"),
            ("redis://:s3cret@h/db", "number of a database"),
            ("redis://:s3cret@a,b", "redis+cluster://"),
            ("redis+cluster://:s3cret@a,b/1", "no other database"),
            ("redis://:s3cret@h?ca=x", "rediss://"),
            ("redis://:s3cret@h#insecure", "rediss://"),
            ("rediss://:s3cret@h?ca=x&insecure=true", "not both"),
            ("rediss://:s3cret@h?timeout=1", "ca=FILE"),
            ("rediss://:s3cret@h#s3cret", "#"),
            ("redis://:s3cret@[::1]s3cret", "port"),
        ];
        for (text, reason) in cases {
            let error = url(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let said = error.to_string();
            assert!(said.contains(reason), "{text}: {said}");
            assert!(!said.contains("s3cret"), "{text}: {said}");
        }
    }
}
