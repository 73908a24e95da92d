//! Parses the parts of a URL, without repeating any in an error.

use super::error::failed;
use super::url::{CertificateTrust, Credentials, RedisUrl};
use guestbook_core::error::{Error, ErrorKind, Result};

const PORT: u16 = 6379;

/// `host`, `host:port` or `[address of IPv6]:port`.
pub(super) fn host(text: &str) -> Result<(String, u16)> {
    let (name, port) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((name, "")) => (name, ""),
        Some((name, rest)) => (name, rest.strip_prefix(':').unwrap_or("none")),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_legal) {
        return Err(odd("it has no host, as in redis://HOST:PORT"));
    }
    let port = match port {
        "" => Some(PORT),
        port => port.parse().ok().filter(|port| *port != 0),
    };
    let port = port.ok_or_else(|| odd("the port must be a number from 1 to 65535"))?;
    Ok((name.to_owned(), port))
}

/// As [`invalid`], where an unescaped password is a likely cause.
pub(super) fn odd(what: &str) -> Error {
    invalid(&format!(
        "{what} (in a password, write / as %2F, ? as %3F, # as %23)"
    ))
}

/// The part before the @.
pub(super) fn credentials(text: &str) -> Result<Option<Credentials>> {
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

/// The part after the host.
pub(super) fn db(path: &str) -> Result<u16> {
    match path.trim_end_matches('/') {
        "" => Ok(0),
        path => path
            .parse()
            .map_err(|_| invalid("what stands after the host must be the number of a database")),
    }
}

/// The certificate trust, from the scheme and the parameters.
pub(super) fn certificate_trust(
    query: &str,
    has_tls: bool,
    is_anybody: bool,
) -> Result<CertificateTrust> {
    let mut trust = match (has_tls, is_anybody) {
        (true, false) => CertificateTrust::Machine,
        (true, true) => CertificateTrust::Anybody,
        (false, false) => CertificateTrust::Plain,
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
            Some(("ca", file)) if !file.is_empty() && trust == CertificateTrust::Machine => {
                CertificateTrust::File(decode(file)?.into())
            }
            Some(("insecure", "true"))
                if matches!(trust, CertificateTrust::Machine | CertificateTrust::Anybody) =>
            {
                CertificateTrust::Anybody
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

/// The part after the scheme of a unix socket.
pub(super) fn socket(rest: &str) -> Result<RedisUrl> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') {
        return Err(invalid(
            "the path of a unix socket must be absolute, as in redis+unix:///run/redis/redis.sock",
        ));
    }
    let (mut user, mut password, mut number) = (None, None, 0);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("db", text)) => number = db(text)?,
            Some(("user", text)) => user = Some(decode(text)?),
            Some(("pass", text)) => password = Some(decode(text)?),
            _ => {
                return Err(invalid(
                    "after the ? of a unix socket can stand db=DB, user=USER and pass=PASSWORD",
                ));
            }
        }
    }
    let credentials = match (user, password) {
        (user, Some(password)) => Some(Credentials { user, password }),
        (None, None) => None,
        (Some(_), None) => return Err(invalid("user= needs pass=PASSWORD beside it")),
    };
    Ok(RedisUrl {
        hosts: Vec::new(),
        socket: Some(decode(path)?.into()),
        is_cluster: false,
        trust: CertificateTrust::Plain,
        credentials,
        db: number,
    })
}

/// Decodes percent-encoding.
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

/// The error for an unusable URL; `what` repeats no part of it.
pub(super) fn invalid(what: &str) -> Error {
    let context = format!("--cache-url is no URL of a Redis: {what}");
    failed(ErrorKind::Invalid, "open", context)
}
