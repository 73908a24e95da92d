//! One Redis.

use guestbook_testkit::servers::{Redis, RedisOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[tokio::test]
async fn it_answers_and_keeps_nothing() {
    let redis = Redis::start().await;
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{}", redis.port()));
    assert_eq!(redis.command(&["SET", "key", "two words"]).await, "OK");
    assert_eq!(redis.command(&["GET", "key"]).await, "two words");
    redis.kill().await;
    assert!(TcpStream::connect(redis.address()).is_err(), "{redis:?}");
    redis.start_again().await;
    assert_eq!(redis.command(&["GET", "key"]).await, "");
}

#[tokio::test]
async fn a_durable_one_has_everything_after_a_kill_and_a_stop() {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
    let redis = Redis::start_with(RedisOptions {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..RedisOptions::default()
    })
    .await;
    assert_eq!(redis.command(&["INCR", "key"]).await, "1");
    redis.kill().await;
    redis.start_again().await;
    assert_eq!(redis.command(&["INCR", "key"]).await, "2");
    redis.stop().await;
    redis.start_again().await;
    assert_eq!(redis.command(&["INCR", "key"]).await, "3");
}

#[tokio::test]
async fn a_frozen_one_accepts_and_does_not_answer() {
    let redis = Redis::start().await;
    redis.pause().await;
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    let patience = Some(Duration::from_millis(300));
    stream.set_read_timeout(patience).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    assert!(stream.read(&mut answer).is_err());
    redis.resume().await;
    stream.set_read_timeout(None).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    redis.pause().await;
    redis.stop().await;
    redis.start_again().await;
    redis.pause().await;
    redis.kill().await;
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let redis = Redis::start_with(RedisOptions {
        password: Some("secret".to_owned()),
        ..RedisOptions::default()
    })
    .await;
    assert!(redis.url().contains("//:secret@"), "{}", redis.url());
    assert_eq!(redis.command(&["PING"]).await, "PONG");
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"-NOAUTH");
}

#[tokio::test]
async fn tls_is_verified_by_its_authority() {
    let redis = Redis::start_with(RedisOptions {
        tls: true,
        ..RedisOptions::default()
    })
    .await;
    assert!(redis.url().starts_with("rediss://"), "{}", redis.url());
    // With --tls and --cacert of the authority.
    assert_eq!(redis.command(&["PING"]).await, "PONG");
    let folder = tempfile::tempdir().unwrap();
    let others = guestbook_testkit::servers::Certificates::make(folder.path());
    let with = |authority: &std::path::Path| {
        let mut client = std::process::Command::new("redis-cli");
        client.args(["-p", &redis.port().to_string(), "--tls", "--cacert"]);
        client.arg(authority).arg("PING");
        client.output().unwrap()
    };
    assert!(with(redis.authority()).stdout.starts_with(b"PONG"));
    assert!(!with(&others.authority).stdout.starts_with(b"PONG"));
}

#[tokio::test]
async fn nothing_is_left_of_it() {
    let redis = Redis::start().await;
    let folder = redis.command(&["CONFIG", "GET", "dir"]).await;
    let folder = folder.lines().nth(1).unwrap().to_owned();
    let address = redis.address();
    assert!(std::path::Path::new(&folder).is_dir(), "{folder}");
    drop(redis);
    assert!(!std::path::Path::new(&folder).exists(), "{folder}");
    assert!(TcpStream::connect(address).is_err());
}
