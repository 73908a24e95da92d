//! A backup and a restore that are ended in the middle leave nothing that looks whole, and are no hindrance to the next try.
//!
//! Defects put in, and what was printed (each was taken out again):
//! - the copy is written to its final name instead of another: a backup that was killed has `left: 19206144, right: 67366912` of
//!   its bytes, and `verify` of a killed restore says `database disk image is malformed`;
//! - a second backup that does not heed the lock of the first: `left: (Some(2), Some(2))`, it takes the first one down with it.

use crate::recovery::harness::{fatten, is_begun, partial_of};
use guestbook_testkit::oracle::{Dice, rounds};
use guestbook_testkit::process::{Place, finish};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Large enough to be met in the middle.
const BALLAST: usize = 64;
/// How long a backup may take to begin.
const DEADLINE: Duration = Duration::from_secs(30);

fn with(place: &Place, what: &str, path: &Path) -> Command {
    let mut command = place.command(&[what]);
    command.arg(path);
    command
}

fn begin(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// What a signal at a moment left.
#[derive(Debug, Default)]
struct Outcomes {
    nothing: usize,
    partial: usize,
    whole: usize,
}

impl Outcomes {
    /// After a process was ended that was to make `file`.
    fn note(&mut self, file: &Path) {
        match (file.exists(), partial_of(file).is_some()) {
            (true, _) => self.whole += 1,
            (false, true) => self.partial += 1,
            (false, false) => self.nothing += 1,
        }
    }
}

/// The moments to end a process at that takes so long.
fn moments(took: Duration, dice: &mut Dice, count: usize) -> Vec<Duration> {
    let part = |number: usize| {
        let thousandths = (number as u64 * 1000 + dice.roll(1000)) / count as u64;
        took * u32::try_from(thousandths).unwrap() / 1000
    };
    (0..count).map(part).collect()
}

fn kill_after(mut child: Child, moment: Duration) {
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_backup_that_is_killed_leaves_nothing_that_looks_whole() {
    let (place, mut dice) = (Place::new(), Dice::thrown());
    fatten(&place, BALLAST);
    let (file, began) = (place.path().join("copy.db"), Instant::now());
    done_alone(with(&place, "backup", &file));
    let (took, size) = (began.elapsed(), file.metadata().unwrap().len());
    let mut outcomes = Outcomes::default();
    for moment in moments(took, &mut dice, rounds(10, 100)) {
        let _ = std::fs::remove_file(&file);
        kill_after(begin(with(&place, "backup", &file)), moment);
        outcomes.note(&file);
        if file.exists() {
            assert_whole(&file, size);
        }
    }
    println!("figure: backups killed within {took:.2?}: {outcomes:?}");
    assert!(
        outcomes.partial > 0,
        "none was met in the middle: {outcomes:?}"
    );
    let _ = std::fs::remove_file(&file);
    done_alone(with(&place, "backup", &file));
    assert_whole(&file, size);
    assert_eq!(beside(&file), ["copy.db"]);
}

#[test]
fn a_restore_that_is_killed_leaves_no_database() {
    let (place, mut dice) = (Place::new(), Dice::thrown());
    fatten(&place, BALLAST);
    let file = place.path().join("copy.db");
    done_alone(with(&place, "backup", &file));
    let (first, began) = (Place::new(), Instant::now());
    done_alone(with(&first, "restore", &file));
    let took = began.elapsed();
    let (to, mut outcomes) = (Place::new(), Outcomes::default());
    for moment in moments(took, &mut dice, rounds(10, 100)) {
        let _ = std::fs::remove_file(to.file());
        kill_after(begin(with(&to, "restore", &file)), moment);
        outcomes.note(&to.file());
        if to.file().exists() {
            done_alone(to.command(&["verify"]));
        }
    }
    println!("figure: restores killed within {took:.2?}: {outcomes:?}");
    assert!(
        outcomes.partial > 0,
        "none was met in the middle: {outcomes:?}"
    );
    let _ = std::fs::remove_file(to.file());
    done_alone(with(&to, "restore", &file));
    assert_eq!(beside(&to.file()), ["guestbook.db"]);
    to.serve().stop();
    done_alone(to.command(&["verify"]));
}

fn done_alone(command: Command) {
    let output = finish(command);
    let said = guestbook_testkit::process::stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

/// A backup that has its name passes every check and can be restored.
fn assert_whole(file: &Path, size: u64) {
    assert_eq!(file.metadata().unwrap().len(), size);
    let to = Place::new();
    done_alone(with(&to, "restore", file));
    done_alone(to.command(&["verify"]));
}

/// The files whose names begin with that of this one, hidden or not.
fn beside(file: &Path) -> Vec<String> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let entries = std::fs::read_dir(file.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names
        .filter(|it| it.trim_start_matches('.').starts_with(name))
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_asked_to_stop_ends_at_once_and_leaves_nothing() {
    let place = Place::new();
    fatten(&place, BALLAST);
    let file = place.path().join("copy.db");
    for signal in ["INT", "TERM"] {
        let mut command = with(&place, "backup", &file);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let since = Instant::now();
        while partial_of(&file).is_none() {
            assert!(since.elapsed() < DEADLINE, "it never begins");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
        let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("stopped, as asked"), "{said}");
        assert_eq!(beside(&file), [""; 0]);
    }
}

#[test]
fn a_second_backup_to_the_same_file_is_refused_and_spoils_nothing() {
    let place = Place::new();
    fatten(&place, BALLAST);
    let file = place.path().join("copy.db");
    let mut first = begin(with(&place, "backup", &file));
    let id = first.id().to_string();
    let signal = |name| Command::new("kill").args(["-s", name, &id]).status();
    let since = Instant::now();
    while !is_begun(&file) {
        assert!(since.elapsed() < DEADLINE, "it never begins");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal("STOP").unwrap();
    let second = finish(with(&place, "backup", &file));
    signal("CONT").unwrap();
    let first = first.wait().unwrap().code();
    let said = guestbook_testkit::process::stderr(&second);
    assert_eq!((first, second.status.code()), (Some(0), Some(2)), "{said}");
    assert!(said.contains("being written by another process"), "{said}");
    let size = file.metadata().unwrap().len();
    assert_whole(&file, size);
}
