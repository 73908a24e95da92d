//! Which file is it? One process writes a database, whatever its path is called; and once its path leads elsewhere, nothing
//! more is acknowledged.

use crate::recovery::harness::ended;
use guestbook_testkit::client::{Answer, said};
use guestbook_testkit::oracle::needed;
use guestbook_testkit::process::{Place, Running, guestbook, stderr};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long something may take that needs no time of its own.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server on this database, with lists of its own.
fn on(file: &Path, folder: &Path) -> Command {
    let url = format!("sqlite:{}", file.display());
    let mut command = guestbook(&["--listen", "127.0.0.1:0", "--cache-url", "memory:"]);
    command.args(["--database-url", &url]).current_dir(folder);
    command
}

fn refused(command: Command, words: &[&str]) {
    let output = ended(command);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{said} has no {word}");
    }
}

fn serve(place: &Place) -> Running {
    tokio::task::block_in_place(|| place.serve())
}

/// Another folder in the place.
fn other(place: &Place) -> PathBuf {
    let other = place.path().join("other");
    fs::create_dir_all(&other).unwrap();
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_served_once_whatever_its_path_is_called() {
    let place = Place::new();
    let node = serve(&place);
    let address = node.client.address.to_string();
    let other = other(&place);
    let (link, folder_link) = (other.join("link.db"), place.path().join("linked"));
    symlink(place.file(), &link).unwrap();
    symlink(place.data(), &folder_link).unwrap();
    let names = [
        place.file(),
        link,
        folder_link.join("guestbook.db"),
        other.join("../data/./guestbook.db"),
        PathBuf::from("data/guestbook.db"),
        PathBuf::from("other/../linked/guestbook.db"),
    ];
    for name in names {
        refused(on(&name, place.path()), &["in use", &address]);
    }
    node.client.say("g1", "Hello").await;
    node.stop();
}

/// Seen to fail without the lock on the file itself: the second server starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_file_that_was_removed_lets_no_second_server_in() {
    let place = Place::new();
    let node = serve(&place);
    fs::remove_file(place.data().join("guestbook.lock")).unwrap();
    refused(on(&place.file(), place.path()), &["guestbook.db", "in use"]);
    node.client.say("g1", "Hello").await;
    node.stop();
    serve(&place).stop();
}

/// Something that is mounted elsewhere as well.
struct Bound(PathBuf);

impl Bound {
    fn of(what: &Path, at: PathBuf, how: &str) -> Result<Self, String> {
        let mounted = Command::new("mount")
            .arg("--bind")
            .arg(what)
            .arg(&at)
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        if !is_mounted {
            return Err("a bind mount takes the right to mount (run as root)".into());
        }
        let bound = Self(at);
        let remounted = Command::new("mount")
            .args(["-o", &format!("remount,bind,{how}")])
            .arg(&bound.0)
            .status();
        assert!(remounted.unwrap().success());
        Ok(bound)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_mounted_elsewhere_as_well_is_served_once() {
    let place = Place::new();
    let node = serve(&place);
    let other = other(&place);
    let Some(folder) = needed(Bound::of(&place.data(), other, "rw")) else {
        return;
    };
    let again = folder.0.join("guestbook.db");
    let address = node.client.address.to_string();
    refused(on(&again, place.path()), &["in use", &address]);
    drop(folder);
    let alone = place.path().join("alone");
    fs::create_dir(&alone).unwrap();
    fs::write(alone.join("other.db"), "").unwrap();
    let file = Bound::of(&place.file(), alone.join("other.db"), "rw").unwrap();
    refused(on(&file.0, place.path()), &["other.db", "in use"]);
    node.client.say("g1", "Hello").await;
    node.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_file_or_file_system_is_named_as_the_reason() {
    let place = Place::new();
    serve(&place).stop();
    let bound = Bound::of(&place.data(), place.data(), "ro");
    let Some(read_only) = needed(bound) else {
        return;
    };
    let reason = ["Read-only file system", "mount it writable"];
    refused(place.command(&["--listen", "127.0.0.1:0"]), &reason);
    refused(place.command(&["verify"]), &reason);
    refused(place.command(&["sql", "SELECT 1"]), &reason);
    let copy = place.path().join("copy.db");
    refused(place.command(&["backup", copy.to_str().unwrap()]), &reason);
    refused(
        place.command(&["backup", place.data().join("copy.db").to_str().unwrap()]),
        &reason,
    );
    drop(read_only);
    let read_only = Bound::of(&place.file(), place.file(), "ro").unwrap();
    refused(
        place.command(&["--listen", "127.0.0.1:0"]),
        &["guestbook.db", reason[0], reason[1]],
    );
    // What is there can be looked at.
    for look in [&["verify"][..], &["sql", "SELECT 1"]] {
        assert_eq!(ended(place.command(look)).status.code(), Some(0));
    }
    drop(read_only);
    serve(&place).stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_two_names_is_not_served() {
    let place = Place::new();
    serve(&place).stop();
    let second = other(&place).join("second.db");
    fs::hard_link(place.file(), &second).unwrap();
    for name in [&place.file(), &second] {
        refused(on(name, place.path()), &["2 names", "remove the other"]);
    }
    fs::remove_file(&second).unwrap();
    serve(&place).stop();
}

/// Until the answer is as it should be.
async fn until(node: &Running, path: &str, is_right: impl Fn(&Answer) -> bool) -> Answer {
    let since = Instant::now();
    loop {
        let answer = node.client.get(path).await;
        if is_right(&answer) {
            return answer;
        }
        assert!(since.elapsed() < DEADLINE, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_name_while_it_is_served_is_an_error_in_the_log_and_not_ready() {
    let place = Place::new();
    let node = serve(&place);
    let second = other(&place).join("second.db");
    fs::hard_link(place.file(), &second).unwrap();
    until(&node, "/readyz", |answer| answer.status == 503).await;
    node.client.say("g1", "Hello").await;
    fs::remove_file(&second).unwrap();
    until(&node, "/readyz", |answer| answer.status == 200).await;
    let (status, log) = tokio::task::block_in_place(|| node.ended_by("TERM"));
    assert_eq!(status.code(), Some(0), "{log}");
    let said = log.lines().filter(|line| line.contains("ERROR"));
    let said: Vec<_> = said.filter(|line| line.contains("2 names")).collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(said[0].contains("guestbook.db"), "{log}");
}

/// It ends by itself, and says why in one line that names the file.
fn assert_ended(node: Running, file: &Path) -> String {
    let (status, log) = tokio::task::block_in_place(|| node.ended());
    assert_eq!(status.code(), Some(70), "{log}");
    let said: Vec<_> = log
        .lines()
        .filter(|line| line.starts_with("guestbook: "))
        .collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(said[0].contains(file.to_str().unwrap()), "{log}");
    log
}

/// What is done, by what, and which file is to be named then.
type Way = (&'static str, fn(&Place), &'static str);

/// What may be done to the files of a running server.
fn ways() -> Vec<Way> {
    vec![
        (
            "the file is removed",
            |place| fs::remove_file(place.file()).unwrap(),
            "guestbook.db",
        ),
        (
            "the file is renamed",
            |place| fs::rename(place.file(), place.path().join("away.db")).unwrap(),
            "guestbook.db",
        ),
        (
            "the file is replaced",
            |place| {
                let copy = place.path().join("copy.db");
                fs::copy(place.file(), &copy).unwrap();
                fs::rename(copy, place.file()).unwrap();
            },
            "guestbook.db",
        ),
        (
            "the folder is renamed",
            |place| fs::rename(place.data(), place.path().join("away")).unwrap(),
            "guestbook.db",
        ),
        (
            "the folder is removed",
            |place| fs::remove_dir_all(place.data()).unwrap(),
            "guestbook.db",
        ),
        (
            "the journal is removed",
            |place| fs::remove_file(place.data().join("guestbook.db-wal")).unwrap(),
            "guestbook.db-wal",
        ),
        (
            "the index of the journal is removed",
            |place| fs::remove_file(place.data().join("guestbook.db-shm")).unwrap(),
            "guestbook.db-shm",
        ),
    ]
}

/// Seen to fail before there was a watch: `the process did not end`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_ends_when_its_files_are_taken_away_also_when_nobody_writes() {
    for (what, take_away, named) in ways() {
        println!("{what}");
        let place = Place::new();
        let node = serve(&place);
        node.client.say("g1", "Hello").await;
        take_away(&place);
        assert_ended(node, &place.data().join(named));
        if named != "guestbook.db" {
            // What was answered had been in the journal only.
            let node = serve(&place);
            assert_eq!(node.client.history("g1").await.len(), 1, "{what}");
            node.stop();
        }
    }
}

/// Seen to fail before each commit looked: `200 after the file was gone`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_once_the_file_is_gone() {
    for (what, take_away, named) in ways().into_iter().take(5) {
        let place = Place::new();
        let node = serve(&place);
        node.client.say("g1", "Hello").await;
        take_away(&place);
        for number in 0..5 {
            let message = said("user", &format!("late {number}"));
            let request = node.client.request("POST", "/v1/guest/chat/g1");
            let request = guestbook_testkit::client::json_body(request, message.to_string());
            // It may have ended by now.
            if let Ok(answer) = Answer::try_of(request).await {
                assert_ne!(answer.status, 200, "{what}: 200 after the file was gone");
            }
        }
        assert_ended(node, &place.data().join(named));
    }
}

/// A server that hung while its folder was taken away and another begun in its place must not remove that one's journal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_place_another_has_leaves_the_others_files_alone() {
    let place = Place::new();
    let first = serve(&place);
    first.client.say("g1", "Hello").await;
    first.signal("STOP");
    fs::rename(place.data(), place.path().join("away")).unwrap();
    let second = serve(&place);
    second.client.say("g2", "Hello").await;
    first.signal("CONT");
    assert_ended(first, &place.file());
    assert!(place.data().join("guestbook.db-wal").exists());
    second.client.say("g2", "Hello").await;
    tokio::task::block_in_place(|| second.kill());
    let second = serve(&place);
    assert_eq!(second.client.history("g2").await.len(), 2);
    second.stop();
    crate::recovery::harness::done(place.command(&["verify"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_tables_that_are_gone_are_kept_aside_and_said() {
    let place = Place::new();
    let node = serve(&place);
    node.client.say("g1", "of the tables that are gone").await;
    node.stop();
    fs::remove_file(place.file()).unwrap();
    let node = serve(&place);
    assert_eq!(node.client.get("/v1/guest/session/g1").await.status, 404);
    node.client.say("g2", "of the new tables").await;
    let (status, log) = tokio::task::block_in_place(|| node.ended_by("TERM"));
    assert_eq!(status.code(), Some(0), "{log}");
    let names = fs::read_dir(place.data()).unwrap().flatten();
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    let aside: Vec<_> = names.filter(|name| name.starts_with("lists.")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(aside[0].starts_with("lists.unknown-"), "{aside:?}");
    let said = log.lines().find(|line| line.contains("another history"));
    assert!(said.is_some_and(|line| line.contains(&aside[0])), "{log}");
    // The new ones are known from now on.
    let node = serve(&place);
    node.client.say("g2", "of the new tables").await;
    let (_, log) = tokio::task::block_in_place(|| node.ended_by("TERM"));
    assert!(!log.contains("another history"), "{log}");
}
