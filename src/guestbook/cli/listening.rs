//! Where `guestbook serve` listens: the sockets of a service manager, or what the settings say. All of it is taken before any data is
//! opened.

use super::CliError;
use crate::config::Cli;
use guestbook_http::{Listen, Listener, ServerAddress};
use listenfd::ListenFd;
use std::io;
use std::net::SocketAddr;

/// How often ports are chosen anew that must be the same for every address of a name.
const CHOICES: usize = 16;

/// Sockets that a service manager has opened for us: systemd's `LISTEN_FDS`.
pub(super) struct Inherited {
    sockets: ListenFd,
    names: Vec<String>,
}

impl Inherited {
    /// Takes them, if they are meant for this process. It changes the environment, so that no child takes them for its own: to be
    /// called before there are threads.
    pub(super) fn take() -> Self {
        let id = std::env::var("LISTEN_PID").ok();
        let is_meant = id.is_some_and(|id| id.parse() == Ok(std::process::id()));
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self {
            sockets: match is_meant {
                true => ListenFd::from_env(),
                false => ListenFd::empty(),
            },
            names: names.split(':').map(str::to_owned).collect(),
        }
    }

    fn listeners(mut self) -> Result<Vec<Listener>, CliError> {
        (0..self.sockets.len())
            .map(|index| self.listener(index))
            .collect()
    }

    fn listener(&mut self, index: usize) -> Result<Listener, CliError> {
        let unusable = |cause: io::Error| {
            let name = self.names.get(index).map_or("", String::as_str);
            format!(
                "the service manager's socket {} ({name}) cannot be served: {cause}; give it ListenStream= with a port or a path",
                index + 1
            )
        };
        // A socket of another kind is refused by the second check.
        if let Ok(Some(listener)) = self.sockets.take_tcp_listener(index) {
            return Listener::of_tcp(listener).map_err(unusable);
        }
        match self.sockets.take_unix_listener(index) {
            Ok(Some(listener)) => Listener::of_unix(listener).map_err(unusable),
            Ok(None) => Err(unusable(io::ErrorKind::NotFound.into())),
            Err(cause) => Err(unusable(cause)),
        }
    }
}

/// Takes every place to listen.
pub(super) async fn open(cli: &Cli, inherited: Inherited) -> Result<Vec<Listener>, CliError> {
    let has_key = cli.serving.api_key.is_some();
    let inherited = inherited.listeners()?;
    if !inherited.is_empty() {
        for listener in &inherited {
            require_key_beyond_loopback(listener.address(), has_key)?;
        }
        tracing::info!(
            "listening at the sockets of the service manager; --listen is not looked at"
        );
        return Ok(inherited);
    }
    let mut listeners = Vec::new();
    for place in &cli.serving.listen {
        listeners.extend(take(place, has_key).await?);
    }
    Ok(listeners)
}

async fn take(place: &Listen, has_key: bool) -> Result<Vec<Listener>, CliError> {
    let taken = |cause| format!("cannot listen on {place}: {cause}; choose another --listen");
    let addresses = match place {
        Listen::Unix(path) => return Ok(vec![Listener::bind_unix(path).map_err(taken)?]),
        Listen::Everywhere(port) => {
            let everywhere = SocketAddr::from(([0, 0, 0, 0], *port));
            require_key_beyond_loopback(&ServerAddress::Tcp(everywhere), has_key)?;
            return Ok(vec![Listener::bind_everywhere(*port).map_err(taken)?]);
        }
        Listen::Address(address) => vec![*address],
        Listen::Name(name, port) => resolved(name, *port).await?,
    };
    for address in &addresses {
        require_key_beyond_loopback(&ServerAddress::Tcp(*address), has_key)?;
    }
    bind_all(&addresses).map_err(taken)
}

/// Every address of a name, each once.
async fn resolved(name: &str, port: u16) -> Result<Vec<SocketAddr>, CliError> {
    let unknown = |cause: &dyn std::fmt::Display| {
        format!(
            "cannot listen on {name}:{port}: the name has no address: {cause}; choose another --listen"
        )
    };
    let found = tokio::net::lookup_host((name, port)).await;
    let mut addresses: Vec<SocketAddr> = found.map_err(|cause| unknown(&cause))?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    match addresses.is_empty() {
        true => Err(unknown(&"none was found")),
        false => Ok(addresses),
    }
}

/// All addresses at one port, also where the system is to choose it. What this machine has not is left out, as long as it has one.
fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<Listener>> {
    let is_chosen = addresses.len() > 1 && addresses.iter().any(|address| address.port() == 0);
    let mut bound = bind_at_one_port(addresses);
    for _ in 1..CHOICES {
        match &bound {
            Err(cause) if is_chosen && cause.kind() == io::ErrorKind::AddrInUse => {
                bound = bind_at_one_port(addresses);
            }
            _ => break,
        }
    }
    bound
}

fn bind_at_one_port(addresses: &[SocketAddr]) -> io::Result<Vec<Listener>> {
    let (mut listeners, mut missing) = (Vec::new(), None);
    let mut port = None;
    for address in addresses {
        let mut address = *address;
        address.set_port(port.unwrap_or(address.port()));
        match Listener::bind(address) {
            Ok(listener) => {
                if let ServerAddress::Tcp(bound) = listener.address() {
                    port = Some(bound.port());
                }
                listeners.push(listener);
            }
            Err(cause) if is_not_here(&cause) => {
                tracing::warn!(%address, %cause, "this machine has not that address, others of the name are used");
                missing = Some(cause);
            }
            Err(cause) => return Err(cause),
        }
    }
    match (listeners.is_empty(), missing) {
        (true, Some(cause)) => Err(cause),
        _ => Ok(listeners),
    }
}

/// A name may have an address of IPv6 on a machine without it.
fn is_not_here(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::AddrNotAvailable
        || cause.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn require_key_beyond_loopback(address: &ServerAddress, has_key: bool) -> Result<(), CliError> {
    if has_key || address.is_local() {
        return Ok(());
    }
    Err(format!(
        "{address} can be reached from other machines, so an API key is required; set GUESTBOOK_API_KEY, or listen on 127.0.0.1"
    ))
}

/// The address that other processes on this machine use: one of loopback if there is one.
pub(super) fn nearest(addresses: &[ServerAddress]) -> Option<ServerAddress> {
    let near = addresses.iter().find(|address| address.is_local());
    near.or(addresses.first()).map(ServerAddress::from_here)
}

/// What goes into `curl … URL` to reach the server.
pub(super) fn for_curl(address: &ServerAddress) -> String {
    match address {
        ServerAddress::Tcp(address) => format!("http://{address}"),
        ServerAddress::Unix(path) => {
            let path = path.display().to_string().replace('\'', r"'\''");
            format!("--unix-socket '{path}' http://localhost")
        }
    }
}
