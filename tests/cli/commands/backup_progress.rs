//! `guestbook backup` and `guestbook restore`: what is no file, and who may read what is made.

use crate::commands::verifying::filled;
use guestbook_testkit::process::{Place, stderr, stdout};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What everyone may do with a file.
fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// It must be refused in one line that has this word.
fn refused(place: &Place, arguments: &[&str], word: &str) {
    let output = place.run(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}{}", stdout(&output));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(word), "no {word}: {said}");
}

#[test]
fn what_is_no_file_is_not_restored_and_not_waited_for() {
    let place = Place::new();
    let pipe = place.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for path in [pipe.as_path(), place.path(), Path::new("/dev/null")] {
        refused(
            &place,
            &["restore", path.to_str().unwrap()],
            "no regular file",
        );
    }
    assert!(!place.file().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_where_no_file_can_be_made_is_refused_for_that() {
    let place = filled().await;
    refused(
        &place,
        &["backup", "/proc/a.db"],
        "no file can be made in /proc",
    );
    let nowhere = place.path().join("nowhere");
    let below = nowhere.join("a.db");
    let word = format!("there is no folder {}", nowhere.display());
    refused(&place, &["backup", below.to_str().unwrap()], &word);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_their_owner_may_read_a_new_data_folder_and_a_backup() {
    let place = filled().await;
    assert_eq!(mode(&place.data()), 0o700);
    let (backup, other) = (place.path().join("a.db"), Place::new());
    let named = backup.to_str().unwrap();
    assert!(place.run(&["backup", named]).status.success());
    assert_eq!(mode(&backup), 0o600);
    // A folder that is there is its owner's to decide.
    std::fs::create_dir(other.data()).unwrap();
    std::fs::set_permissions(other.data(), Permissions::from_mode(0o750)).unwrap();
    assert!(other.run(&["restore", named]).status.success());
    other.serve().stop();
    assert_eq!(mode(&other.data()), 0o750);
}
