//! PostgreSQL and PgBouncer.

use guestbook_testkit::servers::{Certificates, PgBouncer, Postgres, PostgresOptions};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::Duration;

/// `psql` as a user would call it.
fn psql(connection: &str, sql: &str) -> Output {
    let mut client = Command::new("psql");
    client.args(["-X", "-A", "-t", "-w", "-d", connection, "-c", sql]);
    client.output().unwrap()
}

#[tokio::test]
async fn it_is_durable_and_survives_a_stop_and_a_kill() {
    let server = Postgres::start().await;
    for (setting, value) in [("fsync", "on"), ("synchronous_commit", "on")] {
        let show = format!("SHOW {setting}");
        assert_eq!(server.psql("postgres", &show).await, value);
    }
    let database = server.create_database().await;
    assert_ne!(database, server.create_database().await);
    server.psql(&database, "CREATE TABLE t (n int)").await;
    server.psql(&database, "INSERT INTO t VALUES (1)").await;
    server.kill().await;
    assert!(TcpStream::connect(server.address()).is_err());
    server.start_again().await;
    server.psql(&database, "INSERT INTO t VALUES (2)").await;
    server.stop().await;
    assert!(TcpStream::connect(server.address()).is_err());
    server.start_again().await;
    let rows = psql(&server.url(&database), "SELECT n, -n FROM t ORDER BY n");
    assert_eq!(String::from_utf8_lossy(&rows.stdout), "1|-1\n2|-2\n");
}

#[tokio::test]
async fn a_frozen_one_answers_when_it_is_resumed() {
    let server = Postgres::start_with(PostgresOptions::fast()).await;
    let sleeper = server.psql("postgres", "SELECT 'done', pg_sleep(0.5)");
    let frozen = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.pause().await;
        let url = server.url("postgres");
        let url = format!("{url}?connect_timeout=2");
        let asked = tokio::task::spawn_blocking(move || psql(&url, "SELECT 1")).await;
        assert!(!asked.unwrap().status.success());
        server.resume().await;
    };
    let (slept, ()) = tokio::join!(sleeper, frozen);
    assert_eq!(slept, "done|");
    server.pause().await;
    server.kill().await;
    server.start_again().await;
    assert_eq!(server.psql("postgres", "SELECT 1").await, "1");
    server.pause().await;
}

#[tokio::test]
async fn settings_and_a_password_are_taken() {
    let mut options = PostgresOptions::fast();
    options.settings.push("max_connections=17".to_owned());
    options.password = Some("secret".to_owned());
    let server = Postgres::start_with(options).await;
    let told = psql(&server.url("postgres"), "SHOW max_connections");
    assert_eq!(String::from_utf8_lossy(&told.stdout), "17\n");
    let without = server.url("postgres").replace(":secret", "");
    assert!(!psql(&without, "SELECT 1").status.success());
}

#[tokio::test]
async fn tls_is_verified_by_name_and_authority() {
    let mut options = PostgresOptions::fast();
    options.tls = true;
    let server = Postgres::start_with(options).await;
    let with = |authority: &std::path::Path| {
        let url = server.url("postgres");
        let connection = format!(
            "{url}?sslmode=verify-full&sslrootcert={}",
            authority.display()
        );
        psql(
            &connection,
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        )
    };
    let told = with(server.authority());
    assert_eq!(String::from_utf8_lossy(&told.stdout), "t\n", "{told:?}");
    let folder = tempfile::tempdir().unwrap();
    let others = Certificates::make(folder.path());
    assert!(!with(&others.authority).status.success());
}

#[tokio::test]
async fn a_pool_stands_before_it() {
    let server = Postgres::start_with(PostgresOptions::fast()).await;
    let database = server.create_database().await;
    let pool = PgBouncer::start(&server.address()).await;
    let told = pool.psql(&database, "SELECT current_database()").await;
    assert_eq!(told, database);
    let pools = pool.psql("pgbouncer", "SHOW POOLS").await;
    assert!(pools.contains("|transaction"), "{pools}");
    pool.kill().await;
    assert!(TcpStream::connect(pool.address()).is_err());
    pool.start_again().await;
    assert_eq!(pool.psql(&database, "SELECT 1").await, "1");
}

#[tokio::test]
async fn nothing_is_left_of_it() {
    let server = Postgres::start_with(PostgresOptions::fast()).await;
    let (folder, address) = (server.socket_folder().to_owned(), server.address());
    assert!(folder.is_dir());
    drop(server);
    assert!(!folder.exists());
    assert!(TcpStream::connect(address).is_err());
}
