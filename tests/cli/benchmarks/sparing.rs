//! Servers that others use: a bench leaves on them what was there, and nothing of its own.

use crate::benchmarks::{bench, run};
use guestbook_testkit::process::{Place, finish, stderr};
use guestbook_testkit::servers::{Redis, shared_postgres};

/// One test, because the name of the bench's database is fixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_left_as_they_were() {
    let ((database, url), redis) = tokio::join!(shared_postgres(), Redis::start());
    database.psql("CREATE TABLE ours (n int)").await;
    let place = Place::new();
    let urls = ["--database-url", &url, "--cache-url", &redis.url()];
    let mut arguments = vec!["--pairs", "postgres+redis,postgres+sled", "--repeat", "1"];
    arguments.extend(urls);
    let shown = tokio::task::block_in_place(|| run(&place, &arguments));
    // As tests/with-servers starts it; what is said is what the server says.
    let fsync = database.psql("SHOW fsync").await;
    assert!(shown.contains(&format!("fsync={fsync}")), "{shown}");
    assert!(shown.contains("appendonly="), "{shown}");
    assert!(!shown.contains("operations failed"), "{shown}");

    let left = "SELECT count(*) FROM pg_database WHERE datname = 'guestbook_bench'";
    assert_eq!(database.psql(left).await, "0");
    let tables = "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.psql(tables).await, "ours");
    assert_eq!(redis.command(&["KEYS", "guest:*"]).await, "");

    redis.command(&["SET", "theirs", "1"]).await;
    let output = tokio::task::block_in_place(|| {
        finish(bench(
            &place,
            &["--pairs", "sqlite+redis", "--cache-url", &redis.url()],
        ))
    });
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("--overwrite-cache"), "{said}");
    assert_eq!(redis.command(&["KEYS", "*guest*:head"]).await, "");
    assert_eq!(redis.command(&["GET", "theirs"]).await, "1");

    // Somebody else's bench is not disturbed.
    database.psql("CREATE DATABASE guestbook_bench").await;
    let output = tokio::task::block_in_place(|| {
        finish(bench(
            &place,
            &["--pairs", "postgres+memory", "--database-url", &url],
        ))
    });
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("guestbook_bench"), "{said}");
    assert_eq!(database.psql(left).await, "1");
    database.psql("DROP DATABASE guestbook_bench").await;
}
