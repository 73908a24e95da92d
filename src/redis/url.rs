//! The URL of a Redis.
//!
//! `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, with TLS `rediss://`, a cluster `redis+cluster://HOST,HOST` or
//! `rediss+cluster://HOST,HOST`. With TLS, `?ca=FILE` trusts only the authorities in that PEM file, and `?insecure=true` (or
//! `#insecure`) verifies nothing. A unix socket is `redis+unix:///PATH[?db=DB&user=USER&pass=PASSWORD]` or `unix:///PATH…`. No
//! error and no Display or Debug shows a password.

use super::parts::{certificate_trust, credentials, db, host, invalid, odd, socket};
use guestbook_core::error::Result;
use std::fmt;
use std::path::PathBuf;

/// A server or a cluster, and how to speak to it.
#[derive(Clone, Eq, PartialEq)]
pub struct RedisUrl {
    pub(super) hosts: Vec<(String, u16)>,
    /// Instead of hosts.
    pub(super) socket: Option<PathBuf>,
    pub(super) is_cluster: bool,
    pub(super) trust: CertificateTrust,
    pub(super) credentials: Option<Credentials>,
    pub(super) db: u16,
}

/// The certificates to trust.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum CertificateTrust {
    /// No TLS.
    Plain,
    /// Those of the machine's authorities.
    Machine,
    /// Those of the authorities in this PEM file.
    File(PathBuf),
    /// Any.
    Anybody,
}

/// The login.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Credentials {
    /// `None` is the server's default user.
    pub(super) user: Option<String>,
    pub(super) password: String,
}

impl RedisUrl {
    /// Parses the part after `scheme://`; `None` for an unknown scheme.
    ///
    /// # Errors
    /// `Invalid`, saying which part is wrong without repeating it.
    pub fn parse(scheme: &str, rest: &str) -> Option<Result<Self>> {
        let (has_tls, is_cluster) = match scheme {
            "redis+unix" | "unix" => return Some(socket(rest)),
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
        Some(_) => return Err(odd("nothing but `insecure` may follow a #")),
        None => (rest, false),
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    // A password may contain an unescaped @; a host never does.
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, authority),
    };
    let url = RedisUrl {
        hosts: hosts.split(',').map(host).collect::<Result<_>>()?,
        socket: None,
        is_cluster,
        trust: certificate_trust(query, has_tls, is_anybody)?,
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

/// The URL without credentials.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.socket {
            write!(f, "redis+unix://{}", path.display())?;
            return match self.db {
                0 => Ok(()),
                db => write!(f, "?db={db}"),
            };
        }
        let tls = if self.trust == CertificateTrust::Plain {
            ""
        } else {
            "s"
        };
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
            CertificateTrust::File(file) => write!(f, "?ca={}", file.display()),
            CertificateTrust::Anybody => f.write_str("?insecure=true"),
            CertificateTrust::Plain | CertificateTrust::Machine => Ok(()),
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
    use guestbook_core::error::ErrorKind;

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
            (0, CertificateTrust::Plain, false)
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
    fn a_unix_socket_is_read_and_shown_without_credentials() {
        for text in [
            "redis+unix:///run/redis.sock?db=2&user=me&pass=p%40ss",
            "unix:///run/redis.sock?pass=p%40ss&db=2&user=me",
        ] {
            let url = url(text).unwrap();
            assert_eq!(url.socket.as_deref(), Some("/run/redis.sock".as_ref()));
            assert_eq!(url.to_string(), "redis+unix:///run/redis.sock?db=2");
            let credentials = url.credentials.unwrap();
            assert_eq!(credentials.user.as_deref(), Some("me"));
            assert_eq!(credentials.password, "p@ss");
        }
        let plain = url("unix:///run/a%20b").unwrap();
        assert_eq!(plain.to_string(), "redis+unix:///run/a b");
        assert!(plain.credentials.is_none());
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
            ("rediss://:s3cret@h#s3cret", "%23"),
            ("redis://:s3cret#more@h", "%23"),
            ("redis://:s3cret?more@h", "%3F"),
            ("redis://:s3cret@[::1]s3cret", "port"),
            ("redis+unix://run/s3cret", "absolute"),
            ("unix://?pass=s3cret", "absolute"),
            (
                "unix:///run/r?pass=s3cret&db=s3cret",
                "number of a database",
            ),
            ("unix:///run/r?user=s3cret", "pass=PASSWORD"),
            ("unix:///run/r?password=s3cret", "db=DB"),
        ];
        for (text, reason) in cases {
            let error = url(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text_of_error = error.to_string();
            assert!(text_of_error.contains(reason), "{text}: {text_of_error}");
            assert!(!text_of_error.contains("s3cret"), "{text}: {text_of_error}");
        }
    }
}
