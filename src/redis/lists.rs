//! The operations on lists: commands for a whole batch, sent at once.

use super::RedisLists;
use super::error::{convert, failed, is_unknown_script};
use super::reconnecting_client::{Node, NodeCommand, Replies};
use super::records::{decode_head, decode_item, keys};
use super::scripts::{
    ALREADY_THERE, APPLY, GAP, HEADS, RANGE, REPLACE, RETIME, STORED, Script, ranging, reading,
    retiming, writing,
};
use ::redis::{Cmd, RedisResult, Value, cmd};
use async_trait::async_trait;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{GuestId, Timestamp};
use guestbook_storage::list_cache::{
    Append, Applied, Head, Item, ListCache, ListPage, ListRange, NewLife,
};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

#[async_trait]
impl ListCache for RedisLists {
    async fn incarnation(&self) -> Result<Uuid> {
        self.identify().await
    }

    async fn heads(&self, guests: Vec<GuestId>) -> Result<Vec<Option<Head>>> {
        let commands = in_order(&guests, |guest| guest, |guest| reading(&HEADS, guest));
        let replies = self.run("heads", &HEADS, commands).await?;
        Ok(replies.iter().map(head).collect())
    }

    async fn apply(&self, appends: Arc<Vec<Append>>) -> Result<Vec<Applied>> {
        let commands = in_order(&appends, |it| &it.guest, |it| writing(&APPLY, it));
        let replies = self.run("apply", &APPLY, commands).await?;
        replies.iter().map(applied).collect()
    }

    async fn replace(&self, list: Append) -> Result<()> {
        let command = writing(&REPLACE, &list);
        self.run("replace", &REPLACE, alone(command)).await?;
        Ok(())
    }

    async fn retime(&self, lists: Vec<NewLife>) -> Result<()> {
        let commands = in_order(&lists, |it| &it.guest, retiming);
        self.run("retime", &RETIME, commands).await.map(drop)
    }

    async fn range(
        &self,
        guest: &GuestId,
        range: ListRange,
        now: Timestamp,
    ) -> Result<Option<ListPage>> {
        let command = ranging(&keys(guest), range);
        let mut replies = self.run("range", &RANGE, alone(command)).await?;
        let Some(reply) = replies.pop() else {
            return Ok(None);
        };
        match (head(&reply), reply) {
            (Some(head), Value::Array(mut fields)) if now < head.expires_at => {
                let items = fields.pop();
                let first = first(guest, fields.pop())?;
                let items = self::items(guest, first, items)?;
                Ok(Some(ListPage { head, first, items }))
            }
            _ => Ok(None),
        }
    }

    async fn remove(&self, guests: Vec<GuestId>) -> Result<()> {
        // Not a script: one command removes both keys, whatever their type.
        let unlink = |guest: &GuestId| {
            let mut command = cmd("UNLINK");
            command.arg(&keys(guest));
            command
        };
        let commands = in_order(&guests, |guest| guest, unlink);
        if !commands.is_empty() {
            let replies = self.link.send("remove", &commands).await?;
            all("remove", replies)?;
        }
        Ok(())
    }

    /// The server expires lists by itself; only a closed store fails.
    async fn sweep(&self, _: Timestamp, _: usize) -> Result<usize> {
        self.link.check("sweep").map(|()| 0)
    }

    async fn guests(&self, after: Option<&GuestId>, limit: usize) -> Result<Vec<GuestId>> {
        self.page(after, limit).await
    }
}

impl RedisLists {
    /// Runs a script once per command. A server that does not know the script, as after a restart, is sent the script, and then the
    /// refused commands again.
    pub(super) async fn run(
        &self,
        operation: &'static str,
        script: &Script,
        commands: Vec<NodeCommand>,
    ) -> Result<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut replies = self.link.send(operation, &commands).await?;
        let is_refused = |index: &usize| replies[*index].as_ref().is_err_and(is_unknown_script);
        let refused: Vec<usize> = (0..replies.len()).filter(is_refused).collect();
        if !refused.is_empty() {
            self.of_each_master::<String>(operation, script.load())
                .await?;
            let again: Vec<_> = refused
                .iter()
                .map(|&index| commands[index].clone())
                .collect();
            let second = self.link.send(operation, &again).await?;
            for (index, reply) in refused.into_iter().zip(second) {
                replies[index] = reply;
            }
        }
        all(operation, replies)
    }
}

/// A command per element; those of one guest stay in order.
fn in_order<T>(
    elements: &[T],
    guest: impl Fn(&T) -> &GuestId,
    command: impl Fn(&T) -> Cmd,
) -> Vec<NodeCommand> {
    let mut places = HashMap::with_capacity(elements.len());
    let commands = elements
        .iter()
        .enumerate()
        .map(|(index, element)| NodeCommand {
            cmd: command(element),
            node: Node::OfKey(*places.entry(guest(element)).or_insert(index)),
        });
    commands.collect()
}

fn alone(cmd: Cmd) -> Vec<NodeCommand> {
    let node = Node::OfKey(0);
    vec![NodeCommand { cmd, node }]
}

/// All replies, or the first failure: the caller then counts none of them as done, and retries.
fn all(operation: &'static str, replies: Replies) -> Result<Vec<Value>> {
    let replies: RedisResult<_> = replies.into_iter().collect();
    replies.map_err(|cause| convert(operation, cause))
}

fn head(reply: &Value) -> Option<Head> {
    match reply {
        Value::Array(fields) => decode_head(fields),
        _ => None,
    }
}

fn applied(reply: &Value) -> Result<Applied> {
    match reply {
        Value::Int(STORED) => Ok(Applied::Stored),
        Value::Int(ALREADY_THERE) => Ok(Applied::AlreadyThere),
        Value::Int(GAP) => Ok(Applied::Gap),
        _ => {
            let context = "the script answered what it never says";
            Err(failed(ErrorKind::Internal, "apply", context))
        }
    }
}

fn corrupt(guest: &GuestId, what: &str) -> Error {
    let context = format!("list of {guest}: {what}");
    failed(ErrorKind::Corrupt, "range", context)
}

/// The sequence of the first item.
fn first(guest: &GuestId, reply: Option<Value>) -> Result<u64> {
    let text = match &reply {
        Some(Value::BulkString(text)) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    let first = text.and_then(|text| text.parse().ok());
    first.ok_or_else(|| corrupt(guest, "it has no first item"))
}

fn items(guest: &GuestId, first: u64, list: Option<Value>) -> Result<Vec<Item>> {
    let corrupt = |what: String| corrupt(guest, &what);
    let Some(Value::Array(items)) = list else {
        return Err(corrupt("it has no items".into()));
    };
    let items = (first..).zip(&items).map(|(sequence, item)| match item {
        Value::BulkString(json) => {
            decode_item(json).map_err(|reason| corrupt(format!("item {sequence}: {reason}")))
        }
        _ => Err(corrupt(format!("item {sequence} is no text"))),
    });
    items.collect()
}
