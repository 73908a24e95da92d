//! Binds addresses before any data is opened, so that a conflict shows first.

use super::listen::ServerAddress;
use rustix::io::Errno;
use rustix::net::sockopt::{ipv6_v6only, set_ipv6_v6only, set_socket_reuseaddr, socket_acceptconn};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Backlog of connections. With the usual 128 a burst makes some clients wait a second for their retry.
const BACKLOG: i32 = 4096;
/// Without a key, anyone who can connect can read every chat: only the owner may.
const OWNER_ONLY: u32 = 0o600;

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    address: ServerAddress,
    /// The file of a socket that we created.
    pub(super) file: Option<SocketFile>,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds an address of the network, or of loopback.
    ///
    /// # Errors
    /// The system's error.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        rustix::net::listen(&listener, BACKLOG)?;
        Self::of_tcp(listener)
    }

    /// Binds a port on every address of this machine, IPv6 and IPv4 where both exist.
    ///
    /// # Errors
    /// The system's error.
    pub fn bind_everywhere(port: u16) -> io::Result<Self> {
        match both_kinds(port) {
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                Self::bind((Ipv4Addr::UNSPECIFIED, port).into())
            }
            taken => Self::of_tcp(taken?),
        }
    }

    /// Creates a unix socket that only its owner may use, replacing one of a dead process.
    ///
    /// # Errors
    /// The system's error; `AddrInUse` if somebody listens there, `AlreadyExists` if another file has the name.
    pub fn bind_unix(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let _lock = lock_folder(&path);
        make_room(&path)?;
        let socket = File::from(unix_socket(SocketFlags::CLOEXEC)?);
        // The file gets its mode with the socket, so that nobody else can connect for a moment. Not every system does that.
        let owner_only = || Permissions::from_mode(OWNER_ONLY);
        let _ = socket.set_permissions(owner_only());
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        let file = SocketFile::of(&path)?;
        std::fs::set_permissions(&path, owner_only())?;
        rustix::net::listen(&socket, BACKLOG)?;
        let listener = UnixListener::from(OwnedFd::from(socket));
        Ok(Self {
            socket: Socket::Unix(listener),
            address: ServerAddress::Unix(path),
            file: Some(file),
        })
    }

    /// A socket that a service manager has opened.
    ///
    /// # Errors
    /// If nobody can connect to it.
    pub fn of_tcp(listener: TcpListener) -> io::Result<Self> {
        require_listening(socket_acceptconn(&listener)?)?;
        let mut address = listener.local_addr()?;
        // A dual-stack wildcard address is reported in the form that works everywhere.
        if address.ip() == Ipv6Addr::UNSPECIFIED && !ipv6_v6only(&listener)? {
            address.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        Ok(Self {
            socket: Socket::Tcp(listener),
            address: ServerAddress::Tcp(address),
            file: None,
        })
    }

    /// As [`Self::of_tcp`].
    ///
    /// # Errors
    /// If nobody can connect to it, or it has no name.
    pub fn of_unix(listener: UnixListener) -> io::Result<Self> {
        require_listening(socket_acceptconn(&listener)?)?;
        let address = listener.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidInput, "the unix socket has no path")
        })?;
        Ok(Self {
            address: ServerAddress::Unix(path.to_owned()),
            socket: Socket::Unix(listener),
            file: None,
        })
    }

    /// Its address; the real port if 0 was requested.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }
}

fn require_listening(is_listening: bool) -> io::Result<()> {
    match is_listening {
        true => Ok(()),
        false => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "the socket does not listen (of a socket unit: Accept= must be no)",
        )),
    }
}

fn both_kinds(port: u16) -> rustix::io::Result<TcpListener> {
    let (family, kind) = (AddressFamily::INET6, SocketType::STREAM);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    set_ipv6_v6only(&socket, false)?;
    rustix::net::bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn unix_socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Locks the folder of a socket: if two processes find a dead process's socket at once, the second must not remove the first's new
/// one.
fn lock_folder(path: &Path) -> Option<File> {
    let folder = File::open(path.parent()?).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

/// Removes the socket of a dead process, and nothing else.
fn make_room(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(cause) if Errno::from_io_error(&cause) == Some(Errno::NOENT) => return Ok(()),
        Err(cause) => return Err(cause),
    };
    if !kind.is_socket() {
        let what = "there is something with that name which is no socket";
        return Err(io::Error::new(ErrorKind::AlreadyExists, what));
    }
    // Non-blocking: a hanging server is alive, too.
    let probe = unix_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(Errno::AGAIN) => {
            let what = "another process listens there";
            Err(io::Error::new(ErrorKind::AddrInUse, what))
        }
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        Err(cause) => Err(cause.into()),
    }
}

/// The file of a unix socket, which is removed with this.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode: a file that another process has put in its place is not ours.
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: id(path)?,
        })
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _lock = lock_folder(&self.path);
        if id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = std::fs::remove_file(&self.path); // the next one replaces it
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test says what is wrong by panicking
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_unix_socket_is_its_owners_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = Listener::bind_unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(listener.address(), &ServerAddress::Unix(path.clone()));
        UnixStream::connect(&path).unwrap();
        let taken = Listener::bind_unix(&path).unwrap_err().to_string();
        assert!(taken.contains("another process listens"), "{taken}");
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_process_left_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::bind_unix(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        // Another socket took its place: that is not ours to remove.
        std::fs::remove_file(&path).unwrap();
        let other = Listener::bind_unix(&path).unwrap();
        drop(listener);
        assert!(path.exists());
        drop(other);
        std::fs::write(&path, "a file").unwrap();
        let taken = Listener::bind_unix(&path).unwrap_err().to_string();
        assert!(taken.contains("no socket"), "{taken}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    }

    #[test]
    fn everywhere_is_both_kinds_of_addresses() {
        let listener = Listener::bind_everywhere(0).unwrap();
        let ServerAddress::Tcp(address) = listener.address().from_here() else {
            panic!("{listener:?}");
        };
        std::net::TcpStream::connect(address).unwrap();
        assert!(!listener.address().is_local());
    }
}
