//! The PostgreSQL that tests share.

use guestbook_testkit::servers::{PgBouncer, shared_postgres};
use std::process::Command;

#[tokio::test]
async fn each_fixture_has_a_database_of_its_own_and_leaves_none() {
    let (one, url) = shared_postgres().await;
    let (other, _) = shared_postgres().await;
    assert_ne!(one.name(), other.name());
    assert!(url.ends_with(one.name()), "{url}");
    one.psql("CREATE TABLE t (n int)").await;
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 't'";
    assert_eq!(one.psql(tables).await, "1");
    assert_eq!(other.psql(tables).await, "0");
    let pool = PgBouncer::start(&one.address()).await;
    assert_eq!(pool.psql(one.name(), tables).await, "1");
    // Someone is connected to it to the end.
    let mut client = Command::new("psql");
    client.args(["-d", &url, "-c", "SELECT pg_sleep(600)"]);
    let mut client = client.spawn().unwrap();
    let looking = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%'";
    while one.psql(looking).await == "1" {
        tokio::task::yield_now().await;
    }
    let name = one.name().to_owned();
    drop(one);
    assert!(!client.wait().unwrap().success());
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(other.psql(&left).await, "0");
}
