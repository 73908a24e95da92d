//! Whether lists can be written at this moment: by everything that is done to one, on keys of no guest. A server may answer and
//! refuse all the same: to a user who lacks a command or a key, on a replica, or because its memory is full.

use super::RedisLists;
use super::error::{convert, failed};
use super::reconnecting_client::{Node, NodeCommand};
use super::records::{decode_head, encode_item};
use super::scripts::{APPLY, RANGE, STORED};
use ::redis::{Cmd, RedisResult, Value, cmd};
use guestbook_core::error::{ErrorKind, Result};
use guestbook_core::{Content, Role, Timestamp};
use guestbook_storage::list_cache::Item;
use uuid::Uuid;

/// How long a probe stands there if it is not removed.
const LIVES_MS: u64 = 2_000;
const REFUSED: &str = "a list does not hold what was written to it: the server does not let this user do all that lists take; \
    docs/deployment/postgres-redis.md names the keys and commands";

/// A list that is there for a moment.
struct Probed {
    keys: [String; 2],
    node: Node,
}

impl RedisLists {
    /// Fails with what the server says when it refuses something that lists take.
    pub(super) async fn try_to_write(&self) -> Result<()> {
        let mut probe = self.probe.lock().await;
        if let Some(outcome) = probe.last() {
            return outcome;
        }
        let outcome = self.write_and_read().await;
        probe.note(outcome)
    }

    /// Begins lists, goes on with them and drops their first item, reads them and removes them. In a cluster they are on every
    /// master.
    async fn write_and_read(&self) -> Result<()> {
        let number = Uuid::new_v4().simple(); // another node may be doing the same
        let lists: Vec<_> = (0..self.markers())
            .map(|place| Probed::new(format!("guest:#{number}-{place}"), place))
            .collect();
        let load = APPLY.load(); // also where it is known: it has to be known again after a restart
        self.of_each_master::<String>("health", load).await?;
        let writes = lists.iter().flat_map(Probed::writes).collect();
        let written = self.run("health", &APPLY, writes).await?;
        let reads = lists.iter().map(Probed::read).collect();
        let read = self.run("health", &RANGE, reads).await?;
        let removals: Vec<_> = lists.iter().map(Probed::remove).collect();
        let removed = self.link.send("health", &removals).await?;
        let removed: RedisResult<Vec<_>> = removed.into_iter().collect();
        removed.map_err(|cause| convert("health", cause))?;
        let is_stored = |answer: &Value| *answer == Value::Int(STORED);
        match written.iter().all(is_stored) && read.iter().all(is_second_item) {
            true => Ok(()),
            false => Err(failed(ErrorKind::Unavailable, "health", REFUSED)),
        }
    }
}

impl Probed {
    /// `#` stands in no guest's id.
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

    /// One item of the sequence `first`, to a list that begins at `from`.
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
        self.send(RANGE.on(&self.keys))
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

/// What is left of a list whose first item was dropped.
fn is_second_item(answer: &Value) -> bool {
    let Value::Array(fields) = answer else {
        return false;
    };
    let head = decode_head(fields);
    head.is_some_and(|head| (head.from, head.next) == (1, 2))
}
