//! A row is changed so that everything else still agrees with it: its words together with their hash, its role, its client's time,
//! its place among its neighbours. Beside the list, which ends after `--list-ttl`, only the hash chain of the chat tells, and `verify`
//! says so.
//!
//! Defects put in, and what was printed (each was taken out again):
//! - a chain that is always taken for whole (`is_whole` in src/service/verify/chats.rs): `the chain is not named of Row { …`, though
//!   of a list it still says `1 difference`.

use crate::recovery::damage::{End, Image};
use crate::recovery::damaged_database::{Outcome, outcome};
use crate::recovery::harness::ended;
use guestbook_testkit::oracle::{Dice, OnDisk, Oracle, Row, Stores, rounds};
use guestbook_testkit::process::{Place, stdout};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// What `verify` says of a chat whose chain is broken.
const CHAIN: &str = "the hash chain does not end where the row says";

/// What is changed in a row.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Its words, as many as before, and their hash.
    Words,
    /// Its role, to one whose words are counted the same.
    Role,
    /// Its client's time, by a millisecond.
    Time,
    /// Its place, with that of the row before it.
    Order,
}

impl Change {
    const ALL: [Self; 4] = [Self::Words, Self::Role, Self::Time, Self::Order];

    /// Which rows it can be done to.
    fn suits(self, row: &Row) -> bool {
        match self {
            Self::Words | Self::Time => true,
            Self::Role => row.role == "user",
            Self::Order => row.sequence > 0,
        }
    }

    /// What does it to a row.
    fn statements(self, row: &Row) -> String {
        let Row { id, sequence, .. } = row;
        match self {
            Self::Words => {
                let words = row.content.replace("a day", "a night");
                let hash: String = Sha256::digest(&words)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                format!(
                    "UPDATE message_cache SET content = '{words}', message_hash = '{hash}' WHERE id = '{id}'"
                )
            }
            Self::Role => format!("UPDATE message_cache SET role = 'tool' WHERE id = '{id}'"),
            Self::Time => {
                let time = row.sent_at.unwrap() + Duration::from_millis(1);
                let time = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
                format!("UPDATE message_cache SET sent_at = '{time}' WHERE id = '{id}'")
            }
            Self::Order => {
                let (chat, before) = (&row.conversation, sequence - 1);
                format!(
                    "UPDATE message_cache SET sequence = -1 WHERE id = '{id}';
                     UPDATE message_cache SET sequence = {sequence} WHERE conversation_id = '{chat}' AND sequence = {before};
                     UPDATE message_cache SET sequence = {before} WHERE id = '{id}';"
                )
            }
        }
    }
}

/// Changes any row that it suits; what the row was.
fn strike(place: &Place, rows: &[Row], change: Change, dice: &mut Dice) -> Row {
    let suited: Vec<_> = rows.iter().filter(|row| change.suits(row)).collect();
    let row = suited[usize::try_from(dice.roll(suited.len() as u64)).unwrap()];
    let file = Connection::open(place.file()).unwrap();
    file.execute_batch(&change.statements(row)).unwrap();
    row.clone()
}

/// The oracle sees it, `verify` without a server names the chain, and a server that starts on it does not hide it.
async fn told(place: &Place, oracle: &Arc<Oracle>, row: &Row) {
    let output = ended(place.command(&["verify"]));
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{row:?}: {said}");
    let line = said.lines().find(|line| line.contains(CHAIN));
    let line = line.unwrap_or_else(|| panic!("the chain is not named of {row:?}: {said}"));
    assert!(line.contains(&row.owner), "{line} is not of {row:?}");
    assert_eq!(outcome(place, oracle, None).await, Outcome::Told, "{row:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_row_is_told_by_the_chain_of_its_chat() {
    let (mut dice, image) = (Dice::thrown(), Image::of(End::Stopped).await);
    let times = rounds(1, 25);
    for change in Change::ALL.into_iter().cycle().take(4 * times) {
        let (place, oracle) = image.copy();
        let node = place.serve();
        let stores = OnDisk::new(&place, &node);
        let rows = stores.rows().await;
        node.stop();
        let row = strike(&place, &rows, change, &mut dice);
        println!("{change:?}: {row:?}");
        assert!(oracle.differs(&stores).await, "the ledger does not see it");
        told(&place, &oracle, &row).await;
    }
    println!(
        "figure: rows changed so that only the chain tells, {times} times each of {:?}: all told",
        Change::ALL
    );
}
