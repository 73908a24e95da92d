//! Servers that forget, fall over, hang, are full or refuse.

use crate::redis::*;
use guestbook::core::error::ErrorKind;

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    for number in 0..3 {
        let batch = vec![
            append("a", number..number + 1),
            append("b", number..number + 1),
            append("a", number..number + 2),
        ];
        let applied = lists.apply(Arc::new(batch)).await.unwrap();
        let (first, second) = match number {
            0 => (Applied::Stored, Applied::Stored),
            _ => (Applied::AlreadyThere, Applied::Stored),
        };
        assert_eq!(applied, [first, Applied::Stored, second]);
        let _: () = redis::cmd("SCRIPT")
            .arg("FLUSH")
            .query(&mut server.raw())
            .unwrap();
    }
    assert_holds(&*lists, "a", 0..4).await;
    assert_holds(&*lists, "b", 0..3).await;
}

#[tokio::test]
async fn a_server_that_is_down_is_no_reason_not_to_start() {
    let mut server = Server::start(&[]);
    server.kill();
    let lists = open(&server.url()).await;
    let error = lists.health().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    server.restart();
    lists.health().await.unwrap();
    assert_eq!(apply(&*lists, append("abc", 0..1)).await, Applied::Stored);
}

#[tokio::test]
async fn a_restarted_server_is_used_again_and_known_for_another() {
    let mut server = Server::start(&[]);
    let lists = open(&server.url()).await;
    apply(&*lists, append("abc", 0..1)).await;
    let before = lists.incarnation().await.unwrap();
    server.kill();
    for _ in 0..3 {
        let error = lists.health().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    server.restart();
    assert_eq!(read(&*lists, "abc").await, None, "by the first call");
    assert_ne!(lists.incarnation().await.unwrap(), before);
}

#[tokio::test]
async fn a_connection_that_died_unnoticed_costs_no_call() {
    let mut server = Server::start(&[]);
    let lists = open(&server.url()).await;
    lists.health().await.unwrap();
    server.kill();
    server.restart();
    lists.health().await.unwrap();
    let mut raw = server.raw();
    let _: () = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal"])
        .query(&mut raw)
        .unwrap();
    assert_eq!(apply(&*lists, append("abc", 0..1)).await, Applied::Stored);
}

#[tokio::test]
async fn an_emptied_server_is_known_for_another() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    let before = lists.incarnation().await.unwrap();
    assert_eq!(lists.incarnation().await.unwrap(), before);
    let another = open(&server.url()).await;
    assert_eq!(another.incarnation().await.unwrap(), before);
    let _: () = redis::cmd("FLUSHALL").query(&mut server.raw()).unwrap();
    assert_ne!(lists.incarnation().await.unwrap(), before);
}

#[tokio::test]
async fn a_full_server_says_so_and_keeps_what_it_has() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let lists = open(&server.url()).await;
    let incarnation = lists.incarnation().await.unwrap();
    apply(&*lists, append("abc", 0..3)).await;
    let limit = |bytes: &str| {
        let mut limit = redis::cmd("CONFIG");
        let _: () = limit
            .arg(&["SET", "maxmemory", bytes])
            .query(&mut server.raw())
            .unwrap();
    };
    limit("1");
    let newer = Append {
        origin: origin(2),
        ..append("abc", 0..2)
    };
    for refused in [append("new", 0..1), append("abc", 3..4), newer.clone()] {
        let error = lists.apply(Arc::new(vec![refused])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    }
    let error = lists.replace(newer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_holds(&*lists, "abc", 0..3).await;
    assert_eq!(lists.incarnation().await.unwrap(), incarnation);
    lists.remove(vec![guest("abc")]).await.unwrap();
    limit("0");
    assert_eq!(apply(&*lists, append("new", 0..1)).await, Applied::Stored);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_used_again_when_it_wakes() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    lists.health().await.unwrap();
    server.signal("STOP");
    for _ in 0..3 {
        let asking = tokio::time::timeout(PATIENCE, lists.health());
        let error = asking.await.expect("it does not hang").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    server.signal("CONT");
    until("it is used again", async || lists.health().await.is_ok()).await;
    assert_eq!(apply(&*lists, append("abc", 0..1)).await, Applied::Stored);
}

#[tokio::test]
async fn refused_credentials_are_called_so_and_not_repeated() {
    let server = Server::start(&["--requirepass", "s3cret"]);
    let port = server.port;
    let cases = [
        format!("redis://:wr0ng@127.0.0.1:{port}"),
        format!("redis://me:wr0ng@127.0.0.1:{port}"),
        format!("redis://127.0.0.1:{port}"),
    ];
    for url in cases {
        let lists = open(&url).await;
        let error = lists.health().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let said = format!("{error} {error:?} {lists:?} {}", lists.location());
        assert!(said.contains("refused the credentials"), "{said}");
        assert!(!said.contains("wr0ng"), "{said}");
    }
    let lists = open(&format!("redis://:s3cret@127.0.0.1:{port}/3")).await;
    lists.health().await.unwrap();
    assert_eq!(lists.location(), format!("redis://127.0.0.1:{port}/3"));
}

#[tokio::test]
async fn a_database_that_the_server_does_not_have_is_called_so() {
    let server = Server::start(&["--databases", "2"]);
    let lists = open(&format!("{}/7", server.url())).await;
    let error = lists.health().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("no database of the number"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_hides_its_start_is_known_by_its_marker() {
    let server = Server::start(&["--rename-command", "INFO", ""]);
    let lists = open(&server.url()).await;
    let before = lists.incarnation().await.unwrap();
    assert_eq!(lists.incarnation().await.unwrap(), before);
    let _: () = redis::cmd("FLUSHALL").query(&mut server.raw()).unwrap();
    assert_ne!(lists.incarnation().await.unwrap(), before);
}

#[tokio::test]
async fn a_replica_is_not_written_to_and_not_asked_for_ever() {
    let (master, replica) = (Server::start(&[]), Server::start(&[]));
    let lists = open(&replica.url()).await;
    apply(&*lists, append("abc", 0..1)).await;
    let follow = |host: &str, port: &str| {
        let mut follow = redis::cmd("REPLICAOF");
        let _: () = follow
            .arg(host)
            .arg(port)
            .query(&mut replica.raw())
            .unwrap();
    };
    follow("127.0.0.1", &master.port.to_string());
    let error = lists
        .apply(Arc::new(vec![append("def", 0..1)]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    follow("NO", "ONE");
    assert_eq!(apply(&*lists, append("def", 0..1)).await, Applied::Stored);
}
