//! Servers on the same machine, reached by their unix sockets.

use guestbook_testkit::process::{Place, Running, finish, stderr};
use guestbook_testkit::servers::{Redis, RedisOptions, shared_postgres};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_reaches_both_servers_by_their_unix_sockets() {
    let (place, (database, url)) = (Place::new(), shared_postgres().await);
    let asked =
        "SELECT current_setting('unix_socket_directories'), current_setting('port'), current_user";
    let told = database.psql(asked).await;
    let [folder, port, user] = told.trim().split('|').collect::<Vec<_>>()[..] else {
        panic!("{told}");
    };
    let name = database.name();
    let escaped = folder.replace('/', "%2F");
    let socket = place.path().join("redis.sock");
    let redis = Redis::start_with(RedisOptions {
        arguments: vec!["--unixsocket".to_owned(), socket.display().to_string()],
        ..RedisOptions::default()
    })
    .await;
    assert_ne!(url, "");
    for (database, cache) in [
        (
            format!("postgres://{user}@/{name}?host={folder}&port={port}"),
            format!("redis+unix://{}?db=3", socket.display()),
        ),
        (
            format!("postgres://{user}@{escaped}:{port}/{name}"),
            format!("unix://{}", socket.display()),
        ),
    ] {
        let stores = ["--database-url", &database, "--cache-url", &cache];
        let mut command = place.command(&["--listen", "127.0.0.1:0"]);
        command.args(stores);
        let node = Running::start(command);
        node.client.say("g1", "Hello").await;
        // On a slow machine the list follows later than the answer, and in an empty database it is rebuilt first.
        let since = Instant::now();
        let live = loop {
            let session = node.client.get("/v1/guest/session/g1").await;
            if session.status == 200 {
                break session.json();
            }
            assert!(since.elapsed() < PATIENCE, "{}", session.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(live["source"], "redis", "{live}");
        node.stop();
        let verified = finish({
            let mut command = place.command(&["verify"]);
            command.args(stores);
            command
        });
        assert!(verified.status.success(), "{}", stderr(&verified));
    }
    assert!(
        redis
            .command(&["-n", "3", "exists", "guest:g1"])
            .await
            .contains('1')
    );
}
