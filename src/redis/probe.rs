//! Probes whether lists can be written, with every command that lists use, on keys of no guest. A server may respond and still
//! refuse writes: to a user without a command or a key, on a replica, or because its memory is full.

use super::RedisLists;
use super::error::{convert, failed};
use super::reconnecting_client::{Node, NodeCommand};
use super::records::{decode_head, encode_item};
use super::scripts::{APPLY, RANGE, STORED, ranging};
use ::redis::{Cmd, RedisResult, Value, cmd};
use guestbook_core::error::{ErrorKind, Result};
use guestbook_core::{Content, Role, Timestamp};
use guestbook_storage::list_cache::{Item, ListRange};
use uuid::Uuid;

/// How long a probe's keys live if they are not removed.
const LIVES_MS: u64 = 2_000;
const REFUSED: &str = "a list does not hold what was written to it: the server does not let this user do all that lists take; \
    docs/deployment/postgres-redis.md names the keys and commands";

/// A probe's list.
struct Probed {
    keys: [String; 2],
    node: Node,
}

impl RedisLists {
    /// Fails with the server's error if it refuses a command that lists use.
    pub(super) async fn try_to_write(&self) -> Result<()> {
        let mut probe = self.probe.lock().await;
        if let Some(outcome) = probe.last() {
            return outcome;
        }
        let outcome = self.write_and_read().await;
        probe.note(outcome)
    }

    /// Begins lists, appends to them while dropping their first item, reads and removes them. A cluster gets one on every master.
    async fn write_and_read(&self) -> Result<()> {
        let number = Uuid::new_v4().simple(); // unique, because nodes probe concurrently
        let lists: Vec<_> = (0..self.markers())
            .map(|place| Probed::new(format!("guest:#{number}-{place}"), place))
            .collect();
        let load = APPLY.load(); // even if it is loaded: a restarted server has forgotten it
        self.of_each_master::<String>("health", load).await?;
        let writes = lists.iter().flat_map(Probed::writes).collect();
        let written = self.run("health", &APPLY, writes).await?;
        let reads = lists.iter().map(Probed::read).collect();
        let read = self.run("health", &RANGE, reads).await?;
        let removals: Vec<_> = lists.iter().map(Probed::remove).collect();
        let removed = self.link.send("health", &removals).await?;
        let removed: RedisResult<Vec<_>> = removed.into_iter().collect();
        removed.map_err(|cause| convert("health", cause))?;
        let is_stored = |reply: &Value| *reply == Value::Int(STORED);
        match written.iter().all(is_stored) && read.iter().all(is_second_item) {
            true => Ok(()),
            false => Err(failed(ErrorKind::Unavailable, "health", REFUSED)),
        }
    }
}

impl Probed {
    /// `#` occurs in no guest's id.
    fn new(list: String, place: usize) -> Self {
        let head = format!("{{{list}}}:head");
        Self {
            keys: [list, head],
            node: Node::OfKey(place),
        }
    }

    fn writes(&self) -> [NodeCommand; 2] {
        [self.append(0, 0), self.append(1, 1)]
    }

    /// Appends one item of sequence `first` to a list that begins at `from`.
    fn append(&self, from: u64, first: u64) -> NodeCommand {
        let item = Item {
            role: Role::System,
            content: Content::from_stored(""),
            timestamp: Timestamp::default(),
        };
        let (nobody, mut command) = (Uuid::nil().to_string(), APPLY.on(&self.keys));
        command.arg(&nobody).arg(&nobody);
        command.arg(from).arg(first).arg(first + 1);
        command.arg(LIVES_MS).arg(LIVES_MS).arg(encode_item(&item));
        self.send(command)
    }

    fn read(&self) -> NodeCommand {
        self.send(ranging(&self.keys, ListRange::step(0)))
    }

    fn remove(&self) -> NodeCommand {
        let mut command = cmd("UNLINK");
        command.arg(&self.keys);
        self.send(command)
    }

    fn send(&self, cmd: Cmd) -> NodeCommand {
        let node = self.node.clone();
        NodeCommand { cmd, node }
    }
}

/// Whether a list has lost its first item only.
fn is_second_item(reply: &Value) -> bool {
    let Value::Array(fields) = reply else {
        return false;
    };
    let head = decode_head(fields);
    head.is_some_and(|head| (head.from, head.next) == (1, 2))
}
