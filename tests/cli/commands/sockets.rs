//! Where a server can listen: names, every address, unix sockets, several of them; and commands that find it there.

use crate::commands::refusing::refused;
use guestbook_testkit::client::Client;
use guestbook_testkit::process::{Place, Running, finish, read_banner, stderr, stdout, wait};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server that need not listen at an address of the network. Dropping it kills it.
struct Node {
    child: Child,
    banner: String,
}

impl Node {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let banner = read_banner(&mut child).join("\n");
        assert!(banner.starts_with("guestbook "), "{banner}");
        Self { child, banner }
    }

    fn end(mut self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
        wait(&mut self.child);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(place: &Place) -> PathBuf {
    place.path().join("it's a.sock")
}

fn listening(place: &Place, path: &Path) -> Command {
    place.command(&["--listen", &format!("unix:{}", path.display())])
}

/// What the banner says to try.
fn tried(banner: &str) -> String {
    let (_, curl) = banner.split_once("try it").unwrap();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(curl.trim());
    shell.env("NO_PROXY", "*").env("no_proxy", "*");
    stdout(&finish(shell))
}

#[test]
fn a_unix_socket_is_served_and_found_by_every_command_that_asks() {
    let place = Place::new();
    let path = socket(&place);
    let node = Node::start(listening(&place, &path));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let saved = tried(&node.banner);
    assert!(
        saved.contains("\"status\":\"saved\""),
        "{saved}\n{}",
        node.banner
    );
    for arguments in [
        &["verify"][..],
        &["verify", "--guest", "test-guest-001", "--repair"],
        &[
            "search",
            "Test",
            "--guest",
            "test-guest-001",
            "--mode",
            "text",
        ],
        &["search", "Test"],
        &["cache", "stats"],
        &["cache", "clear"],
    ] {
        // From another folder, too.
        let mut command = place.command(arguments);
        command.current_dir("/");
        let output = finish(command);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    node.end("TERM");
    assert!(!path.exists());
}

#[test]
fn a_socket_in_use_is_refused_and_that_of_a_dead_process_replaced() {
    let (place, other) = (Place::new(), Place::new());
    let path = socket(&place);
    let node = Node::start(listening(&place, &path));
    let name = path.to_str().unwrap();
    refused(
        listening(&other, &path),
        &[name, "another process listens there", "--listen"],
    );
    assert!(!other.data().exists());
    let in_use = finish(listening(&place, &other.path().join("s")));
    assert!(stderr(&in_use).contains(name), "{}", stderr(&in_use));
    node.end("KILL");
    assert!(
        std::fs::symlink_metadata(&path)
            .unwrap()
            .file_type()
            .is_socket()
    );
    let node = Node::start(listening(&place, &path));
    assert!(tried(&node.banner).contains("saved"));
    node.end("INT");
    assert!(!path.exists());
}

#[test]
fn what_is_no_socket_keeps_its_name() {
    let place = Place::new();
    let path = place.path().join("notes");
    std::fs::write(&path, "mine").unwrap();
    refused(listening(&place, &path), &["no socket", "--listen"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let nowhere = place.path().join("none/s");
    refused(listening(&place, &nowhere), &["No such file", "--listen"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_of_a_name_is_served_without_a_key_where_all_are_loopback() {
    let place = Place::new();
    let server = Running::start(place.command(&["--listen", "localhost:0"]));
    let first = server.banner.lines().next().unwrap();
    let addresses: Vec<_> = first.split("http://").skip(1).collect();
    for address in &addresses {
        let address = address.trim_end_matches([' ', ',']).parse().unwrap();
        Client::new(address).get("/health").await.ok();
    }
    assert!(!addresses.is_empty());
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_alone_is_every_address_of_the_machine() {
    let place = Place::new();
    let mut command = place.command(&["--listen", ":0"]);
    command.env("GUESTBOOK_API_KEY", "s3cret");
    let server = Running::start(command);
    let port = server.client.address.port();
    Client::new(([127, 0, 0, 1], port).into())
        .get("/health")
        .await
        .ok();
    let mut verify = place.command(&["verify"]);
    verify.env("GUESTBOOK_API_KEY", "s3cret");
    let output = finish(verify);
    assert!(output.status.success(), "{}", stderr(&output));
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_places_are_served_at_once() {
    let place = Place::new();
    let path = socket(&place);
    let listen = format!("unix:{},127.0.0.1:0", path.display());
    let server = Running::start(place.command(&["--listen", &listen]));
    server.client.say("g1", "Hello").await;
    assert!(
        server.banner.contains(path.to_str().unwrap()),
        "{}",
        server.banner
    );
    assert!(tried(&server.banner).contains("saved"));
    server.stop();
    assert!(!path.exists());
}

#[test]
fn a_name_that_nobody_has_is_refused() {
    let place = Place::new();
    let command = place.command(&["--listen", "no-such-name.invalid:8000"]);
    refused(command, &["no-such-name.invalid", "--listen"]);
    assert!(!place.data().exists());
}
