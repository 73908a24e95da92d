//! Every backup and restore that cannot be: one line that says why, exit code 2, and nothing is changed or left behind.
//!
//! Defects put in, and what was printed (each was taken out again):
//! - a link that leads nowhere is taken for nothing (`metadata` in place of `symlink_metadata`): `left: Some(0), right: Some(2)`, the
//!   backup is written through it or over it;
//! - only the database is looked for before a restore, not its `-wal` and `-shm`: `left: Some(0), right: Some(2)`.

use crate::recovery::harness::{back_up, ended, fatten, restore};
use guestbook_testkit::process::{Place, guestbook, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One line on stderr that has all these words, nothing on stdout, exit code 2.
fn refused(command: Command, words: &[&str]) {
    let output = tokio::task::block_in_place(|| guestbook_testkit::process::finish(command));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(stdout(&output), "");
    for word in words {
        assert!(said.contains(word), "{said} has no {word}");
    }
}

fn with(place: &Place, what: &str, path: &Path) -> Command {
    let mut command = place.command(&[what]);
    command.arg(path);
    command
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A place with a stopped server's data, and a backup of it.
fn ground() -> (Place, PathBuf) {
    let place = Place::new();
    place.serve().stop();
    let file = place.path().join("copy.db");
    back_up(&place, &file);
    (place, file)
}

/// A file that a rule forbids to be changed.
fn text_file(place: &Place, name: &str, text: &str) -> PathBuf {
    let path = place.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_writes_over_nothing() {
    let (place, file) = ground();
    let before = std::fs::read(&file).unwrap();
    refused(with(&place, "backup", &file), &["copy.db", "there already"]);
    assert!(std::fs::read(&file).unwrap() == before);
    refused(with(&place, "backup", &place.data()), &["there already"]);
    let nowhere = place.path().join("nowhere.db");
    std::os::unix::fs::symlink("/none/at/all", &nowhere).unwrap();
    refused(with(&place, "backup", &nowhere), &["there already"]);
    assert_eq!(names(place.path()), ["copy.db", "data", "nowhere.db"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_without_a_folder_or_a_database_is_refused() {
    let (place, file) = ground();
    let below = place.path().join("none/copy.db");
    refused(with(&place, "backup", &below), &["no folder", "make it"]);
    let below = file.join("copy.db");
    refused(with(&place, "backup", &below), &["copy.db"]);
    let empty = Place::new();
    refused(
        with(&empty, "backup", &empty.path().join("x")),
        &["no database"],
    );
    assert_eq!(names(empty.path()), [""; 0]);
    let other = Place::new();
    std::fs::create_dir(other.data()).unwrap();
    other.damage("CREATE TABLE notes (text TEXT)");
    let to = other.path().join("x");
    refused(with(&other, "backup", &to), &["another program"]);
    text_file(
        &other,
        "data/guestbook.db",
        &"no database at all ".repeat(500),
    );
    refused(with(&other, "backup", &to), &["guestbook.db", "damaged"]);
    assert_eq!(names(other.path()), ["data"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_in_no_file_are_neither_saved_nor_restored() {
    let ((place, file), other) = (ground(), Place::new());
    let to = place.path().join("x");
    for what in ["backup", "restore"] {
        let path = if what == "backup" { &to } else { &file };
        let mut command = with(&other, what, path);
        command.args(["--database-url", "memory:"]);
        refused(command, &["memory"]);
        let mut command = with(&other, what, path);
        command.args(["--database-url", "postgres://me:s3cret@127.0.0.1:1/none"]);
        let words = match cfg!(feature = "postgres") {
            true => ["pg_dump", "pg_restore"],
            false => ["feature `postgres`", ""],
        };
        refused(command, &words);
    }
    assert_eq!(names(other.path()), [""; 0]);
    assert_eq!(names(place.path()), ["copy.db", "data"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_of_what_is_no_backup_is_refused() {
    let (place, file) = ground();
    let (empty, to) = (text_file(&place, "empty", ""), Place::new());
    let text = text_file(&place, "text", &"not a database ".repeat(1000));
    refused(
        with(&to, "restore", &place.path().join("none")),
        &["no file"],
    );
    assert!(!to.data().exists(), "a folder was made for nothing");
    refused(with(&to, "restore", &empty), &["empty", "no database"]);
    refused(with(&to, "restore", &text), &["text", "no database"]);
    refused(with(&to, "restore", &place.data()), &["no regular file"]);
    let other = place.path().join("other.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection
        .execute_batch("CREATE TABLE notes (text TEXT)")
        .unwrap();
    drop(connection);
    refused(
        with(&to, "restore", &other),
        &["other.db", "another program"],
    );
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - 4096 * 3);
    let short = place.path().join("short.db");
    std::fs::write(&short, &bytes).unwrap();
    refused(with(&to, "restore", &short), &["damaged"]);
    let newer = place.path().join("newer.db");
    std::fs::copy(&file, &newer).unwrap();
    let connection = rusqlite::Connection::open(&newer).unwrap();
    connection
        .execute_batch(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
             SELECT 999, 'from_the_future', applied_on, checksum FROM refinery_schema_history LIMIT 1",
        )
        .unwrap();
    drop(connection);
    refused(with(&to, "restore", &newer), &["newer version"]);
    assert_eq!(names(&to.data()), ["guestbook.lock"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_use_or_not_closed_is_no_backup() {
    let (place, to) = (Place::new(), Place::new());
    let node = place.serve();
    node.client.say("g1", "Hello").await;
    refused(with(&to, "restore", &place.file()), &["guestbook backup"]);
    node.kill();
    refused(with(&to, "restore", &place.file()), &["guestbook backup"]);
    place.serve().stop();
    restore(&to, &place.file()); // closed: one plain file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_into_a_folder_with_a_database_or_in_use_is_refused() {
    let (place, file) = ground();
    let before = std::fs::read(place.file()).unwrap();
    refused(
        with(&place, "restore", &file),
        &["guestbook.db", "there already", "--data-dir"],
    );
    assert!(std::fs::read(place.file()).unwrap() == before);
    for ending in ["-wal", "-shm", "-journal"] {
        let to = Place::new();
        std::fs::create_dir(to.data()).unwrap();
        let name = format!("guestbook.db{ending}");
        std::fs::write(to.data().join(&name), "of another database").unwrap();
        refused(with(&to, "restore", &file), &[&name, "there already"]);
    }
    let node = place.serve();
    let address = node.client.address.to_string();
    refused(with(&place, "restore", &file), &["in use", &address]);
    node.client.say("g1", "Hello").await;
    node.stop();
}

/// A small disk of its own.
struct Disk(tempfile::TempDir);

impl Disk {
    /// Nothing where this user may not mount.
    fn of(mebibytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]);
        let mounted = mount.arg(folder.path()).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        if !mounted {
            println!("SKIP: a disk of its own takes the right to mount (run as root)");
        }
        mounted.then_some(Self(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_nothing_is_left_on_it() {
    let place = Place::new();
    fatten(&place, 12);
    let Some(disk) = Disk::of(8) else { return };
    let to = disk.0.path().join("copy.db");
    refused(with(&place, "backup", &to), &["no room", "copy.db"]);
    assert_eq!(names(disk.0.path()), [""; 0]);
    let file = place.path().join("copy.db");
    back_up(&place, &file);
    let mut command = guestbook(&["restore", "--data-dir"]);
    command.arg(disk.0.path().join("data")).arg(&file);
    refused(command, &["no room", "guestbook.db"]);
    assert_eq!(names(&disk.0.path().join("data")), ["guestbook.lock"]);
    place.serve().stop();
    assert_eq!(ended(place.command(&["verify"])).status.code(), Some(0));
}
