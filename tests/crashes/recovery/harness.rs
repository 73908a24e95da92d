//! What the fault tests share: large files, loads, and copies of what an oracle knew.

use guestbook_testkit::oracle::{Load, Nodes, Oracle, Plan};
use guestbook_testkit::process::{Place, Running, finish, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

/// Runs a command to its end without holding up the runtime.
pub(crate) fn ended(command: Command) -> Output {
    tokio::task::block_in_place(|| finish(command))
}

/// Runs a command that must do what it is told; what it said.
pub(crate) fn done(command: Command) -> String {
    let output = ended(command);
    let said = format!(
        "{}{}",
        guestbook_testkit::process::stdout(&output),
        stderr(&output)
    );
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// A backup of the tables of a place.
pub(crate) fn back_up(place: &Place, to: &Path) -> String {
    let mut command = place.command(&["backup"]);
    command.arg(to);
    done(command)
}

/// The tables of a place from a backup.
pub(crate) fn restore(place: &Place, from: &Path) -> String {
    let mut command = place.command(&["restore"]);
    command.arg(from);
    done(command)
}

/// A database that is so large beside what is in it, in MiB; nothing of ours reads the rest.
pub(crate) fn fatten(place: &Place, mebibytes: usize) {
    place.serve().stop();
    place.damage(&format!(
        "CREATE TABLE ballast (bytes BLOB);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {mebibytes})
         INSERT INTO ballast SELECT randomblob(1048000) FROM n;"
    ));
}

/// So many messages, all answered.
pub(crate) async fn converse(oracle: &Arc<Oracle>, node: &Running, messages: usize) {
    let plan = Plan {
        pause: Duration::from_millis(1),
        ..Plan::light()
    };
    let load = Load::start(oracle, &Nodes::of(&[node]), plan);
    oracle.progress(messages).await;
    load.finish().await;
}

/// What an oracle knows at this moment.
pub(crate) fn as_of_now(oracle: &Oracle) -> Arc<Oracle> {
    let copy = Oracle::default();
    *copy.book() = oracle.book().clone();
    Arc::new(copy)
}

/// The folder in which a file is being made that has no name yet, whoever makes it.
pub(crate) fn partial_of(file: &Path) -> Option<PathBuf> {
    let begins = format!(".{}.", file.file_name().unwrap().to_str().unwrap());
    let entries = std::fs::read_dir(file.parent().unwrap()).ok()?;
    let mut folders = entries.flatten().filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.starts_with(&begins) && name.ends_with(".partial")
    });
    folders.next().map(|entry| entry.path())
}

/// Whether something of it is written already.
pub(crate) fn is_begun(file: &Path) -> bool {
    let inner = partial_of(file).map(|folder| folder.join("copy.db"));
    inner.is_some_and(|inner| inner.metadata().is_ok_and(|found| found.len() > 0))
}
