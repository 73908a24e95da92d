//! SQLite and sled in a folder, while their server runs.

use super::stores::Stores;
use crate::client::{Client, table};
use crate::process::{Place, Running, finish, guestbook, stderr, stdout};
use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a list is asked for, and the wait between.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// The tables by a connection of our own, the lists by the server that has them: nobody else may open those.
#[derive(Debug)]
pub struct OnDisk {
    data: PathBuf,
    client: Client,
}

impl OnDisk {
    pub fn new(place: &Place, node: &Running) -> Self {
        Self::at(&place.data(), &node.client)
    }

    /// In this data folder, with its server.
    pub fn at(data: &Path, client: &Client) -> Self {
        Self {
            data: data.to_owned(),
            client: client.clone(),
        }
    }
}

#[async_trait]
impl Stores for OnDisk {
    async fn query(&self, sql: &str) -> Vec<Vec<String>> {
        rows(&self.data.join("guestbook.db"), sql)
    }

    fn list_store(&self) -> &'static str {
        "sled"
    }

    async fn lists(&self, guests: &[String]) -> Vec<Vec<Value>> {
        sessions(&self.client, guests, self.list_store()).await
    }

    /// Only `guestbook verify` can tell of a list too many.
    async fn listed_guests(&self) -> Vec<String> {
        Vec::new()
    }

    async fn verify(&self) -> (i32, String) {
        let mut command = guestbook(&["verify", "--data-dir"]);
        command.arg(&self.data);
        let output = tokio::task::spawn_blocking(|| finish(command))
            .await
            .unwrap();
        let said = format!("{}{}", stdout(&output), stderr(&output));
        (output.status.code().unwrap(), said)
    }
}

/// What a statement finds in a SQLite file, also while its server runs.
pub(crate) fn rows(file: &Path, sql: &str) -> Vec<Vec<String>> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let cells = |row: &rusqlite::Row<'_>| (0..width).map(|at| Ok(text(row.get_ref(at)?))).collect();
    let rows = statement.query_map([], cells).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        ValueRef::Blob(bytes) => format!("{bytes:?}"),
    }
}

/// The lists as a server tells them. One that is told from the tables, because the list is not right yet, counts as empty.
/// Asking for a list mends it, so while a recount, which mends nothing, finds any list wrong, all count as empty.
pub async fn sessions(client: &Client, guests: &[String], list_store: &str) -> Vec<Vec<Value>> {
    let report = client.verify(None).await;
    let differences = table(&report, "guest:{id} lists")["differences"].as_array();
    if !differences.unwrap().is_empty() {
        return vec![Vec::new(); guests.len()];
    }
    let mut lists = Vec::with_capacity(guests.len());
    for guest in guests {
        lists.push(session(client, guest, list_store).await);
    }
    lists
}

/// A server that is busy tells a list from the tables now and then, also when nothing is wrong with it.
async fn session(client: &Client, guest: &str, list_store: &str) -> Vec<Value> {
    for _ in 0..TRIES {
        let answer = client.get(&format!("/v1/guest/session/{guest}")).await;
        if answer.status != 200 {
            break;
        }
        let session = answer.json();
        if session["source"] == list_store {
            return session["messages"].as_array().cloned().unwrap_or_default();
        }
        tokio::time::sleep(PAUSE).await;
    }
    Vec::new()
}
