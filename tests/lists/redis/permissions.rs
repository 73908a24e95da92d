//! A server that answers and refuses writes: to a user who lacks a right, on a replica. Lists are only well if they can be written.
//!
//! Seen to fail while PING was all that the health of a store asked: `it is well without ~guest:*`.

use crate::redis::*;
use guestbook::core::error::ErrorKind;

/// What the page on PostgreSQL and Redis says a user needs: the words after the name and the password.
fn rights() -> Vec<&'static str> {
    let page = include_str!("../../../docs/deployment/postgres-redis.md");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER"));
    let rights: Vec<_> = line.expect("the rights").split(' ').skip(5).collect();
    assert_eq!(rights.first(), Some(&"resetkeys"));
    rights
}

/// Gives a user these rights alone; its URL.
fn user(server: &Server, name: &str, rights: &[&str]) -> String {
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER")
        .arg(name)
        .arg("on")
        .arg(">pw")
        .arg(rights);
    let _: () = acl.query(&mut server.raw()).unwrap();
    format!("redis://{name}:pw@127.0.0.1:{}/1", server.port)
}

async fn refused(url: &str, what: &str) {
    let health = open(url).await.health().await;
    let error = health.expect_err(&format!("it is well without {what}"));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
    assert!(
        error
            .to_string()
            .contains("docs/deployment/postgres-redis.md"),
        "{what}: {error}"
    );
}

#[tokio::test]
async fn what_the_page_names_is_all_that_lists_need() {
    let server = Server::start(&["--appendonly", "yes"]);
    let lists = open(&user(&server, "guestbook", &rights())).await;
    lists.health().await.unwrap();
    lists.incarnation().await.unwrap();
    assert_eq!(apply(&*lists, append("abc", 0..3)).await, Applied::Stored);
    let trimmed = Append {
        from: 2,
        ..append("abc", 3..4)
    };
    assert_eq!(apply(&*lists, trimmed).await, Applied::Stored);
    assert_holds(&*lists, "abc", 2..4).await;
    lists.replace(append("abc", 0..600)).await.unwrap();
    assert_holds(&*lists, "abc", 0..600).await;
    assert_eq!(lists.guests(None, 9).await.unwrap(), [guest("abc")]);
    lists.remove(vec![guest("abc")]).await.unwrap();
    lists.replace(append("abc", 2..2)).await.unwrap();
    lists.flush().await.unwrap();
    assert_eq!(lists.stats().await.unwrap().entries, 0);
    let durability = lists.durability().await.unwrap();
    assert_eq!(durability.settings, "appendonly=yes appendfsync=everysec");
}

#[tokio::test]
async fn lists_are_not_well_where_a_right_is_missing_that_they_take() {
    let server = Server::start(&[]);
    let only_told = [
        "resetkeys",
        "resetchannels",
        "-@all",
        "~guestbook:incarnation*",
    ];
    let spare = ["+info", "+dbsize", "+config|get", "+scan", "+get"];
    let all = rights();
    let taken = all
        .iter()
        .filter(|it| !only_told.contains(it) && !spare.contains(it));
    for (number, right) in taken.enumerate() {
        let rest: Vec<_> = all.iter().filter(|it| *it != right).copied().collect();
        if *right == "+select" {
            continue; // then there is no connection, and that is said
        }
        refused(&user(&server, &format!("u{number}"), &rest), right).await;
    }
}

/// Every command that the source sends or has a script send is in the page, and no other.
#[test]
fn the_page_names_the_commands_of_the_source() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../redis");
    let files =
        [folder.clone(), folder.join("lua")].map(|folder| std::fs::read_dir(folder).unwrap());
    let mut found = std::collections::BTreeSet::new();
    for file in files
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
    {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue; // the folder of the scripts
        };
        let shipped = text.split("#[cfg(test)]").next().unwrap().to_owned();
        for (begin, end) in [
            ("cmd(\"", '"'),
            ("redis.call('", '\''),
            ("redis.pcall('", '\''),
        ] {
            let places = shipped.split(begin).skip(1);
            found.extend(places.map(|rest| rest.split(end).next().unwrap().to_lowercase()));
        }
    }
    let named = rights()
        .into_iter()
        .filter_map(|right| right.strip_prefix('+'));
    let named: std::collections::BTreeSet<_> = named
        .map(|right| right.split('|').next().unwrap().to_owned())
        .filter(|name| name != "select") // the driver's, for a database of another number
        .collect();
    assert_eq!(found, named);
}

#[tokio::test]
async fn a_replica_and_a_full_server_are_not_well() {
    let (master, replica) = (Server::start(&[]), Server::start(&[]));
    let lists = open(&replica.url()).await;
    lists.health().await.unwrap();
    let mut follow = redis::cmd("REPLICAOF");
    follow.arg("127.0.0.1").arg(master.port);
    let _: () = follow.query(&mut replica.raw()).unwrap();
    until("it is said to be a replica", async || {
        let refused = lists.health().await.err();
        refused.is_some_and(|error| error.to_string().contains("address of the primary"))
    })
    .await;
    let full = Server::start(&["--maxmemory", "1"]);
    let error = open(&full.url()).await.health().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
}

#[tokio::test]
async fn however_many_ask_lists_are_tried_once_a_second_and_nothing_stays() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    let since = Instant::now();
    for _ in 0..20 {
        let asked = (0..50).map(|_| {
            let lists = Arc::clone(&lists);
            tokio::spawn(async move { lists.health().await.unwrap() })
        });
        let asked: Vec<_> = asked.collect();
        for asked in asked {
            asked.await.unwrap();
        }
    }
    let mut info = redis::cmd("INFO");
    let told: String = info.arg("commandstats").query(&mut server.raw()).unwrap();
    let tries = told
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_unlink:calls="));
    let tries: u64 = tries.unwrap().split(',').next().unwrap().parse().unwrap();
    assert!(
        tries <= 1 + since.elapsed().as_secs(),
        "{tries} in {:?}",
        since.elapsed()
    );
    let left: u64 = redis::cmd("DBSIZE").query(&mut server.raw()).unwrap();
    assert_eq!(left, 0);
}
