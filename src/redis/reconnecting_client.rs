//! One shared connection, created when needed and recreated when lost.
//!
//! There is no back-off: the next call uses a recovered server. A call over a connection that had died unnoticed is retried once
//! over a new one, which is safe because all our commands are idempotent.

use super::client::{CONNECT_LIMIT, Connector, SharedConnection};
use super::error::{convert, failed, is_lost, is_misplaced};
use super::url::RedisUrl;
use ::redis::aio::ConnectionLike;
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use ::redis::{Cmd, Pipeline, RedisError, RedisResult, Value};
use futures_util::future::join_all;
use guestbook_core::error::{ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// A command and its node; without a cluster there is only one.
#[derive(Clone)]
pub(super) struct NodeCommand {
    pub(super) cmd: Cmd,
    pub(super) node: Node,
}

#[derive(Clone, Eq, PartialEq)]
pub(super) enum Node {
    /// The node of the command's key. Commands with the same number are executed in order, others concurrently.
    OfKey(usize),
    /// The driver's default routing of the command: every node, every master, the sum of them.
    AsUsual,
    /// Every master; the reply is a map from address to reply.
    EachMaster,
    /// This one.
    At(String, u16),
}

/// The reply to each command.
pub(super) type Replies = Vec<RedisResult<Value>>;

/// The connection of a store.
pub(super) struct ReconnectingClient {
    dialer: Connector,
    slot: Mutex<ConnectionSlot>,
    closed: AtomicBool,
}

/// A connection that exists, is being created, or will be.
type ConnectionSlot = Arc<OnceCell<SharedConnection>>;

impl ReconnectingClient {
    /// Reads the certificates of the URL; does not connect yet.
    pub(super) fn new(url: &RedisUrl) -> Result<Self> {
        Ok(Self {
            dialer: Connector::new(url)?,
            slot: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Fails once [`close`](Self::close) was called.
    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            let context = "the list store has been closed";
            return Err(failed(ErrorKind::Unavailable, operation, context));
        }
        Ok(())
    }

    /// Whether the server is a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.dialer, Connector::Cluster(_))
    }

    /// Sends commands at once; returns one reply each, in order. An error here means that it is unknown which of them were
    /// executed.
    pub(super) async fn send(
        &self,
        operation: &'static str,
        commands: &[NodeCommand],
    ) -> Result<Replies> {
        let mut is_repeated = false;
        loop {
            self.check(operation)?;
            let slot = ConnectionSlot::clone(&self.slot());
            let is_old = slot.initialized();
            match self.send_over(&slot, commands).await {
                Ok(replies) => return Ok(replies),
                Err(cause) if is_old && !is_repeated && !cause.is_timeout() => {
                    tracing::debug!(%cause, "the connection to the list store was lost");
                    is_repeated = true;
                }
                Err(cause) => return Err(convert(operation, cause)),
            }
        }
    }

    /// Closes the connection for good.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        *self.slot() = ConnectionSlot::default();
    }

    async fn send_over(
        &self,
        slot: &ConnectionSlot,
        commands: &[NodeCommand],
    ) -> RedisResult<Replies> {
        let connecting = slot.get_or_try_init(|| self.dialer.connect());
        let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
        let replies = match connected.unwrap_or_else(|_| Err(late())) {
            Ok(SharedConnection::Server(server)) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command.cmd.clone());
                }
                let mut server = server.clone();
                let sending = server.send_packed_commands(&pipeline, 0, commands.len());
                let values = sending.await;
                values.map(|values| values.into_iter().map(Value::extract_error).collect())
            }
            Ok(SharedConnection::Cluster(cluster)) => side_by_side(cluster, commands).await,
            Err(cause) => Err(cause),
        };
        let is_useless = |replies: &Replies| {
            let mut failures = replies.iter().filter_map(|reply| reply.as_ref().err());
            failures.any(is_misplaced)
        };
        if replies.as_ref().map_or(true, is_useless) {
            self.forget(slot);
        }
        replies
    }

    /// Makes the next call create a new connection, unless another call has.
    fn forget(&self, slot: &ConnectionSlot) {
        let mut current = self.slot();
        if Arc::ptr_eq(&current, slot) {
            *current = ConnectionSlot::default();
        }
    }

    fn slot(&self) -> MutexGuard<'_, ConnectionSlot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReconnectingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("is_cluster", &self.is_cluster())
            .field("is_connected", &self.slot().initialized())
            .finish_non_exhaustive()
    }
}

/// Sends to a cluster: commands of one key in order, all others concurrently. The driver has one pipelined connection per
/// node.
async fn side_by_side(
    cluster: &ClusterConnection,
    commands: &[NodeCommand],
) -> RedisResult<Replies> {
    let mut chains: BTreeMap<(Option<usize>, usize), Vec<usize>> = BTreeMap::new();
    for (index, command) in commands.iter().enumerate() {
        let chain = match command.node {
            Node::OfKey(number) => (Some(number), 0),
            _ => (None, index),
        };
        chains.entry(chain).or_default().push(index);
    }
    let chains = chains.into_values().map(|chain| {
        let mut cluster = cluster.clone();
        async move {
            let mut replies = Vec::with_capacity(chain.len());
            for index in chain {
                match route(&mut cluster, &commands[index]).await {
                    Err(cause) if is_lost(&cause) => return Err(cause),
                    reply => replies.push((index, reply)),
                }
            }
            Ok(replies)
        }
    });
    let replies = join_all(chains).await.into_iter();
    let mut replies: Vec<_> = replies.collect::<RedisResult<Vec<_>>>()?.concat();
    replies.sort_by_key(|(index, _)| *index);
    Ok(replies.into_iter().map(|(_, reply)| reply).collect())
}

async fn route(cluster: &mut ClusterConnection, command: &NodeCommand) -> RedisResult<Value> {
    let routing = match &command.node {
        Node::OfKey(_) | Node::AsUsual => {
            let reply = cluster.req_packed_command(&command.cmd).await;
            return reply.and_then(Value::extract_error);
        }
        Node::EachMaster => RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None)),
        Node::At(host, port) => RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress {
            host: host.clone(),
            port: *port,
        }),
    };
    let reply = cluster.route_command(command.cmd.clone(), routing).await;
    reply.and_then(Value::extract_error)
}

fn late() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "connecting took too long").into()
}
