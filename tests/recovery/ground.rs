//! What the rigs share: seeds, figures, large files, loads, and copies of what a ledger knew.

use crate::ledger::{Ledger, Load, Nodes, Plan};
use crate::process::{Place, Running, finish, stderr};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

/// Numbers that a seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Of the seed that is asked for, or a new one, which is told.
    pub(crate) fn told() -> Self {
        let given = std::env::var("GUESTBOOK_TEST_SEED").ok();
        let given = given.and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("GUESTBOOK_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// Below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }
}

/// How often, in a short run and in a long one.
pub(crate) fn rounds(short: usize, long: usize) -> usize {
    match std::env::var_os("GUESTBOOK_TEST_LONG") {
        Some(_) => long,
        None => short,
    }
}

/// Runs a command to its end without holding up the runtime.
pub(crate) fn ended(command: Command) -> Output {
    tokio::task::block_in_place(|| finish(command))
}

/// Runs a command that must do what it is told; what it said.
pub(crate) fn done(command: Command) -> String {
    let output = ended(command);
    let said = format!("{}{}", crate::process::stdout(&output), stderr(&output));
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
pub(crate) async fn converse(ledger: &Arc<Ledger>, node: &Running, messages: usize) {
    let plan = Plan {
        pause: Duration::from_millis(1),
        ..Plan::light()
    };
    let load = Load::start(ledger, &Nodes::of(&[node]), plan);
    ledger.progress(messages).await;
    load.finish().await;
}

/// What a ledger knows at this moment.
pub(crate) fn as_of_now(ledger: &Ledger) -> Arc<Ledger> {
    let copy = Ledger::default();
    *copy.book() = ledger.book().clone();
    Arc::new(copy)
}
