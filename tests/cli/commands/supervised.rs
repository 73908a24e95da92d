//! A server whose sockets a service manager has opened, and that tells it how it is: systemd's protocols, by hand.

use guestbook_testkit::client::Client;
use guestbook_testkit::process::{DEADLINE, Place, Running, guestbook};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};

/// A server in memory that is given a socket as its descriptor 3, as systemd does.
fn activated(socket: impl Into<OwnedFd>, more: &str) -> Command {
    let program = guestbook(&[]).get_program().to_owned();
    let mut command = guestbook(&[]);
    let mut shell = Command::new("sh");
    for (name, value) in command.env("LISTEN_FDNAMES", "http").get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .arg("-c")
        .arg(format!(
            "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 {more}; exec \"$0\" \"$@\""
        ))
        .arg(program)
        .args(["--database-url", "memory:", "--cache-url", "memory:"])
        .stdin(Stdio::from(socket.into()));
    shell
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_the_service_manager_is_served_in_the_place_of_listen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = activated(listener, "");
    command.args(["--listen", "127.0.0.1:1"]);
    let server = Running::start(command);
    assert_eq!(server.client.address, address);
    server.client.say("g1", "Hello").await;
    server.stop();
}

#[test]
fn a_unix_socket_of_the_service_manager_stays_when_the_server_stops() {
    let place = Place::new();
    let path = place.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let mut child = activated(listener, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let banner = guestbook_testkit::process::read_banner(&mut child).join("\n");
    assert!(
        banner.contains(&format!("on unix:{}", path.display())),
        "{banner}"
    );
    let mut curl = Command::new("curl");
    curl.args(["-s", "--unix-socket"])
        .arg(&path)
        .arg("http://localhost/health");
    let health = guestbook_testkit::process::stdout(&guestbook_testkit::process::finish(curl));
    assert!(health.contains("ok"), "{health}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_meant_for_another_process_are_left_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = listener.local_addr().unwrap();
    let mut command = activated(listener, "LISTEN_PID=1");
    command.args(["--listen", "127.0.0.1:0"]);
    let server = Running::start(command);
    assert_ne!(server.client.address, theirs);
    server.client.get("/health").await.ok();
    server.stop();
}

#[test]
fn a_socket_beyond_loopback_or_of_another_kind_is_refused() {
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    crate::commands::refusing::refused(activated(everywhere, ""), &["GUESTBOOK_API_KEY"]);
    let datagrams = UnixDatagram::unbound().unwrap();
    crate::commands::refusing::refused(
        activated(datagrams, ""),
        &["socket 1 (http)", "ListenStream="],
    );
    let (one_connection, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    crate::commands::refusing::refused(
        activated(one_connection, ""),
        &["Accept=", "ListenStream="],
    );
}

/// Waits until the manager is told something.
fn told(manager: &UnixDatagram, what: &str) {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = manager.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.lines().any(|line| line == what) {
            return;
        }
        heard.push(text);
    }
    panic!("never told {what}, but {heard:?}");
}

#[test]
fn the_service_manager_is_told_of_the_start_of_every_heartbeat_and_of_the_stop() {
    let place = Place::new();
    let path = place.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut command = place.command(&["--listen", "127.0.0.1:0"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000");
    let server = Running::start(command);
    told(&manager, "STATUS=opening the stores");
    told(&manager, "READY=1");
    told(&manager, "WATCHDOG=1");
    told(&manager, "WATCHDOG=1");
    server.signal("TERM");
    told(&manager, "STOPPING=1");
    assert_eq!(server.ended().0.code(), Some(0));
}

/// Nobody has to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_that_does_not_listen_stops_nothing() {
    let place = Place::new();
    let mut command = place.command(&["--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", place.path().join("nobody"));
    let server = Running::start(command);
    Client::new(server.client.address).get("/health").await.ok();
    server.stop();
}
