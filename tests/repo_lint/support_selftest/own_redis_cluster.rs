//! A cluster of Redis.

use guestbook_testkit::servers::RedisCluster;

#[tokio::test]
async fn it_spreads_keys_and_a_node_comes_back() {
    let cluster = RedisCluster::start().await;
    let [first, second, third] = cluster.addresses();
    assert_eq!(
        cluster.url(),
        format!("redis+cluster://{first},{second},{third}")
    );
    for number in 0..30 {
        let key = format!("key:{number}");
        assert_eq!(cluster.command(&["SET", &key, "value"]).await, "OK");
    }
    let mut total = 0;
    for node in &cluster.nodes {
        let size: usize = node.command(&["DBSIZE"]).await.parse().unwrap();
        assert!((1..30).contains(&size), "{size}");
        total += size;
    }
    assert_eq!(total, 30);
    let moved = cluster.nodes[0].command(&["GET", "key:0"]).await;
    let moved = [moved, cluster.nodes[1].command(&["GET", "key:0"]).await];
    assert!(moved.iter().any(|told| told.contains("MOVED")), "{moved:?}");
    cluster.nodes[2].kill().await;
    cluster.nodes[2].start_again().await;
    cluster.wait_until_well().await;
}
