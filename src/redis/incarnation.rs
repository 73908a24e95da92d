//! Detects a server that may have lost its lists.
//!
//! The incarnation combines a marker key, which is lost with the lists when the server is emptied, and the run id that Redis draws at
//! each start. A cluster has many markers, spread over its masters by their hash tags, and the run ids of all masters. An
//! incarnation that is not known to be the same counts as another: that costs a comparison, the contrary would lose list messages.

use super::error::convert;
use super::reconnecting_client::{Node, NodeCommand};
use super::{RedisLists, field};
use ::redis::{FromRedisValue, RedisResult, Value, cmd};
use guestbook_core::error::Result;
use uuid::Uuid;

/// Markers of a cluster. Of 3 masters each has at least one except once in 400,000 times; a master without one has its run id.
const MARKERS_OF_A_CLUSTER: usize = 32;

impl RedisLists {
    /// The current incarnation. One round trip, unless markers are missing.
    pub(super) async fn identify(&self) -> Result<Uuid> {
        let (markers, runs) = self.marks().await?;
        let markers = match markers.into_iter().collect::<Option<Vec<_>>>() {
            Some(markers) => markers,
            None => self.make_markers().await?,
        };
        let name = [markers, runs].concat().join("\n");
        Ok(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
    }

    /// The markers, and the run ids of all masters as far as they are readable, in order.
    async fn marks(&self) -> Result<(Vec<Option<String>>, Vec<String>)> {
        let mut commands = self.on_markers(|key| {
            let mut get = cmd("GET");
            get.arg(key);
            get
        });
        let mut info = cmd("INFO");
        info.arg("server");
        let node = match self.link.is_cluster() {
            true => Node::EachMaster,
            false => Node::AsUsual,
        };
        commands.push(NodeCommand { cmd: info, node });
        let mut replies = self.link.send("incarnation", &commands).await?;
        // A server may deny INFO; then the markers must do.
        let runs = replies.pop().and_then(|info| info.ok()).map(starts);
        let markers = replies.into_iter().map(|reply| read(reply?));
        let markers: RedisResult<_> = markers.collect();
        let markers = markers.map_err(|cause| convert("incarnation", cause))?;
        Ok((markers, runs.unwrap_or_default()))
    }

    /// Creates the missing markers; another process may be doing the same, and the first one wins.
    async fn make_markers(&self) -> Result<Vec<String>> {
        let make = self.on_markers(|key| {
            let mut set = cmd("SET");
            set.arg(key).arg(Uuid::new_v4().to_string()).arg("NX");
            set
        });
        let made = self.link.send("incarnation", &make).await?;
        let made: RedisResult<Vec<_>> = made.into_iter().collect();
        made.map_err(|cause| convert("incarnation", cause))?;
        let (markers, _) = self.marks().await?;
        Ok(markers.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// The number of markers. A cluster has some on every master.
    pub(super) fn markers(&self) -> usize {
        match self.link.is_cluster() {
            true => MARKERS_OF_A_CLUSTER,
            false => 1,
        }
    }

    fn on_markers(&self, command: impl Fn(String) -> ::redis::Cmd) -> Vec<NodeCommand> {
        let key = |number| match self.link.is_cluster() {
            true => format!("guestbook:incarnation:{{{number}}}"),
            false => "guestbook:incarnation".to_owned(),
        };
        let keys = (0..self.markers()).map(key);
        let commands = keys.enumerate().map(|(number, key)| NodeCommand {
            cmd: command(key),
            node: Node::OfKey(number),
        });
        commands.collect()
    }
}

fn read(value: Value) -> RedisResult<Option<String>> {
    Ok(Option::from_redis_value(value)?)
}

/// The run ids of one server, or of each node in a map.
fn starts(info: Value) -> Vec<String> {
    let texts: Vec<String> = match info {
        Value::Map(nodes) => nodes
            .into_iter()
            .filter_map(|(_, text)| String::from_redis_value(text).ok())
            .collect(),
        text => String::from_redis_value(text).into_iter().collect(),
    };
    let mut starts: Vec<_> = texts
        .iter()
        .filter_map(|text| field(text, "run_id").map(str::to_owned))
        .collect();
    starts.sort();
    starts
}
