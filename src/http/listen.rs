//! Listen addresses: as a setting gives them, and as they are reported.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

const SCHEME: &str = "unix:";

/// A listen address as a setting gives it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listen {
    /// Every address of this machine.
    Everywhere(u16),
    /// One address.
    Address(SocketAddr),
    /// Every address that a name has.
    Name(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

/// Why a text is no listen address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "write it like 127.0.0.1:8000, [::1]:8000, localhost:8000, :8000 (every address of this machine) or unix:/run/guestbook.sock"
)]
pub struct NoPlace;

impl FromStr for Listen {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        if let Some(path) = text.strip_prefix(SCHEME) {
            return Ok(Self::Unix(socket_path(path).ok_or(NoPlace)?));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (name, port) = text.rsplit_once(':').ok_or(NoPlace)?;
        let port = port.parse().map_err(|_| NoPlace)?;
        let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match name {
            "" => Ok(Self::Everywhere(port)),
            name if name.chars().all(is_of_a_name) => Ok(Self::Name(name.to_owned(), port)),
            _ => Err(NoPlace),
        }
    }
}

/// The path after `unix:`, also in URL form. It must fit on one line of text, because it is reported.
fn socket_path(text: &str) -> Option<PathBuf> {
    let path = match text.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        _ => text,
    };
    (!path.is_empty() && !path.contains(char::is_control)).then(|| path.into())
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "{SCHEME}{}", path.display()),
        }
    }
}

/// The address of a running server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerAddress {
    /// On the network, or on loopback.
    Tcp(SocketAddr),
    /// At a unix socket; the path is absolute.
    Unix(PathBuf),
}

impl ServerAddress {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The address for clients on this machine: not every system can connect to a wildcard address.
    pub fn from_here(&self) -> Self {
        match self {
            Self::Tcp(address) if address.ip().is_unspecified() => {
                let loopback = match address.is_ipv4() {
                    true => Ipv4Addr::LOCALHOST.into(),
                    false => Ipv6Addr::LOCALHOST.into(),
                };
                Self::Tcp(SocketAddr::new(loopback, address.port()))
            }
            other => other.clone(),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{SCHEME}{}", path.display()),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        match text.strip_prefix(SCHEME) {
            Some(path) => Ok(Self::Unix(socket_path(path).ok_or(NoPlace)?)),
            None => text.parse().map(Self::Tcp).map_err(|_| NoPlace),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_where_is_read() {
        for (text, place) in [
            (":8000", Listen::Everywhere(8000)),
            (
                "127.0.0.1:0",
                Listen::Address("127.0.0.1:0".parse().unwrap()),
            ),
            ("[::1]:80", Listen::Address("[::1]:80".parse().unwrap())),
            ("localhost:8000", Listen::Name("localhost".into(), 8000)),
            ("unix:/run/g.sock", Listen::Unix("/run/g.sock".into())),
            ("unix:g.sock", Listen::Unix("g.sock".into())),
        ] {
            assert_eq!(text.parse(), Ok(place.clone()), "{text}");
            assert_eq!(place.to_string(), text);
        }
        let as_a_url = "unix:///run/g.sock".parse();
        assert_eq!(as_a_url, Ok(Listen::Unix("/run/g.sock".into())));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            ":",
            "8000",
            "nowhere",
            "host:",
            ":port",
            ":65536",
            "host:-1",
            "a b:1",
            "::1:80x",
            "http://host:1",
            "unix:",
            "unix:/a\nb",
            "[::1]",
            "*:8000",
        ] {
            assert_eq!(text.parse::<Listen>(), Err(NoPlace), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["127.0.0.1:8000", "[::1]:8000", "unix:/run/g b.sock"] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert!(address.is_local());
            assert_eq!(address.from_here(), address);
        }
        let everywhere: ServerAddress = "[::]:80".parse().unwrap();
        assert!(!everywhere.is_local());
        assert_eq!(everywhere.from_here().to_string(), "[::1]:80");
    }
}
