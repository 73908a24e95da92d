//! A real cluster of three masters.

use crate::redis::server::free_port;
use crate::redis::*;
use guestbook::core::error::ErrorKind;
use std::thread::sleep;

pub(crate) struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Three masters that share the slots, and know it.
    pub(crate) fn start() -> Self {
        let buses = [free_port(), free_port(), free_port()];
        let node = |bus: &u16| {
            let bus = bus.to_string();
            let mut settings = vec!["--cluster-enabled", "yes", "--cluster-port", &bus];
            settings.extend(["--cluster-node-timeout", "2000"]);
            Server::start(&settings)
        };
        let nodes: Vec<_> = buses.iter().map(node).collect();
        let slots = [(0, 5460), (5461, 10922), (10923, 16383)];
        for (index, (server, (first, last))) in nodes.iter().zip(slots).enumerate() {
            let mut raw = server.raw();
            let mut command = |words: &[String]| {
                let done = redis::cmd("CLUSTER").arg(words).query::<()>(&mut raw);
                done.unwrap();
            };
            command(&["SET-CONFIG-EPOCH".into(), (index + 1).to_string()]);
            command(&["ADDSLOTSRANGE".into(), first.to_string(), last.to_string()]);
            let (port, bus) = (nodes[0].port.to_string(), buses[0].to_string());
            command(&["MEET".into(), "127.0.0.1".into(), port, bus]);
        }
        let cluster = Self { nodes };
        cluster.wait();
        cluster
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port));
        format!("redis+cluster://{}", hosts.collect::<Vec<_>>().join(","))
    }

    fn wait(&self) {
        let end = Instant::now() + PATIENCE;
        let is_whole = |node: &Server| {
            let mut info = redis::cmd("CLUSTER");
            let info: String = info.arg("INFO").query(&mut node.raw()).unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        while !self.nodes.iter().all(is_whole) {
            assert!(Instant::now() < end, "the nodes do not find each other");
            sleep(Duration::from_millis(20));
        }
    }
}

fn names() -> Vec<String> {
    (0..200).map(|number| format!("g{number:03}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_reaches_every_node() {
    let cluster = Cluster::start();
    let lists = open(&cluster.url()).await;
    for sequence in 0..2 {
        let names = names();
        let batch = names
            .iter()
            .map(|name| append(name, sequence..sequence + 1));
        let applied = lists.apply(Arc::new(batch.collect())).await.unwrap();
        assert_eq!(applied, vec![Applied::Stored; 200]);
    }
    for node in &cluster.nodes {
        let keys: usize = redis::cmd("DBSIZE").query(&mut node.raw()).unwrap();
        assert!(keys > 50, "a third of 400 keys: {keys}");
    }
    let everyone: Vec<_> = names().iter().map(|name| guest(name)).collect();
    let heads = lists.heads(everyone.clone()).await.unwrap();
    assert!(
        heads
            .iter()
            .all(|head| head.is_some_and(|head| head.next == 2))
    );
    assert_holds(&*lists, "g117", 0..2).await;
    lists.incarnation().await.unwrap();
    let stats = lists.stats().await.unwrap();
    assert_eq!(stats.entries, 200);
    assert!(stats.bytes > 1 << 20);
    let first = lists.guests(None, 150).await.unwrap();
    let rest = lists.guests(first.last(), 150).await.unwrap();
    assert_eq!([first, rest].concat(), everyone);
    for node in &cluster.nodes {
        let _: () = redis::cmd("SCRIPT")
            .arg("FLUSH")
            .query(&mut node.raw())
            .unwrap();
    }
    let batch = names();
    let batch = batch.iter().map(|name| append(name, 2..3)).collect();
    let applied = lists.apply(Arc::new(batch)).await.unwrap();
    assert_eq!(applied, vec![Applied::Stored; 200]);
    lists.flush().await.unwrap();
    lists.remove(everyone.clone()).await.unwrap();
    assert_eq!(lists.heads(everyone).await.unwrap(), vec![None; 200]);
    lists.close().await.unwrap();
    let error = lists.health().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_is_used_again_and_the_cluster_known_for_another() {
    let mut cluster = Cluster::start();
    let lists = open(&cluster.url()).await;
    let before = lists.incarnation().await.unwrap();
    assert_eq!(lists.incarnation().await.unwrap(), before);
    let another = open(&cluster.url()).await;
    assert_eq!(another.incarnation().await.unwrap(), before);
    let begin = || names().iter().map(|name| append(name, 0..1)).collect();
    lists.apply(Arc::new(begin())).await.unwrap();
    cluster.nodes[1].kill();
    let error = lists.apply(Arc::new(begin())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    cluster.nodes[1].restart();
    until("all nodes take appends", async || {
        lists.apply(Arc::new(begin())).await.is_ok()
    })
    .await;
    assert_ne!(lists.incarnation().await.unwrap(), before);
    assert_eq!(lists.guests(None, 1000).await.unwrap().len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_named_as_a_single_server_says_what_to_do() {
    let cluster = Cluster::start();
    let lists = open(&cluster.nodes[0].url()).await;
    let batch = names().iter().map(|name| append(name, 0..1)).collect();
    let error = lists.apply(Arc::new(batch)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("redis+cluster://"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_is_down_is_no_reason_not_to_start() {
    let port = free_port();
    let lists = open(&format!("redis+cluster://:s3cret@127.0.0.1:{port}")).await;
    let error = lists.health().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error:?} {lists:?}").contains("s3cret"));
}
