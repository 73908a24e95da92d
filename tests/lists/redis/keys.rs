//! What stands in Redis, as other programs read it.

use crate::redis::*;
use guestbook_storage_contract::words::WHOLE;
use redis::Commands;

#[tokio::test]
async fn others_read_the_list_at_its_name_as_json() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    let mut append = append("abc", 0..1);
    append.items[0].content = Content::from_stored("a \"quoted\"\nline");
    apply(&*lists, append).await;
    let items: Vec<String> = server.raw().lrange("guest:abc", 0, -1).unwrap();
    let json =
        r#"{"role":"user","content":"a \"quoted\"\nline","timestamp":"2025-12-21T12:00:00Z"}"#;
    assert_eq!(items, [json]);
    let keys: Vec<String> = server.raw().keys("guest:*").unwrap();
    assert_eq!(keys, ["guest:abc"], "the bookkeeping is out of sight");
}

#[tokio::test]
async fn both_keys_expire_by_themselves_at_the_end_of_the_list() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    let assert_lives = |seconds: i64| {
        for key in ["guest:abc", "{guest:abc}:head"] {
            let ask = redis::cmd("PTTL").arg(key).query(&mut server.raw());
            let left: i64 = ask.unwrap();
            // Some of it has gone by on a busy machine.
            assert!(
                ((seconds - 100) * 1000..=seconds * 1000).contains(&left),
                "{left} ms"
            );
        }
    };
    apply(&*lists, append("abc", 0..2)).await;
    assert_lives(1000);
    let later = Append {
        expires_at: at(2000),
        ..append("abc", 2..3)
    };
    apply(&*lists, later.clone()).await;
    assert_lives(2000);
    let sooner = Append {
        expires_at: at(1500),
        ..append("abc", 0..4)
    };
    lists.replace(sooner).await.unwrap();
    assert_lives(1500);
    let over = Append {
        expires_at: Timestamp::from_ms(1),
        ..append("abc", 4..5)
    };
    apply(&*lists, over).await;
    let left: u64 = redis::cmd("DBSIZE").query(&mut server.raw()).unwrap();
    assert_eq!(left, 0, "a list that has ended is gone, both keys of it");
    assert_eq!(read(&*lists, "abc").await, None);
}

/// The node's clock is decades off from the server's here, and a day of it is a day of the server.
#[tokio::test]
async fn a_node_whose_clock_is_wrong_has_its_lists_kept_as_long_as_others() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    for (name, now) in [("early", Timestamp::from_ms(1)), ("late", at(0))] {
        let append = Append {
            expires_at: now.plus(Duration::from_secs(86_400)),
            at: now,
            ..append(name, 0..2)
        };
        let head = Some(append.expires_at);
        apply(&*lists, append).await;
        let key = format!("guest:{name}");
        let ask = redis::cmd("PTTL").arg(key).query(&mut server.raw());
        let left: i64 = ask.unwrap();
        assert!(
            (86_000_000..=86_400_000).contains(&left),
            "{name}: {left} ms"
        );
        let list = lists.range(&guest(name), WHOLE, now).await.unwrap();
        assert_eq!(list.map(|list| list.head.expires_at), head);
    }
}

#[tokio::test]
async fn a_removed_list_leaves_no_key() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    apply(&*lists, append("abc", 0..2)).await;
    lists.remove(vec![guest("abc")]).await.unwrap();
    apply(&*lists, append("abc", 0..2)).await;
    lists.replace(append("abc", 2..2)).await.unwrap();
    let left: u64 = redis::cmd("DBSIZE").query(&mut server.raw()).unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_large_append_is_one_change() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    let mut large = append("abc", 0..1000);
    for item in &mut large.items {
        item.content = Content::from_stored(&"x".repeat(8000));
    }
    assert_eq!(apply(&*lists, large.clone()).await, Applied::Stored);
    assert_eq!(read(&*lists, "abc").await.unwrap().items, large.items);
    lists
        .replace(Append {
            first: 7,
            from: 7,
            ..large.clone()
        })
        .await
        .unwrap();
    assert_eq!(read(&*lists, "abc").await.unwrap().items, large.items);
}

#[tokio::test]
async fn what_lists_there_are_is_counted_and_measured() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    for number in 0..10 {
        apply(&*lists, append(&format!("g{number}"), 0..2)).await;
    }
    let stats = lists.stats().await.unwrap();
    assert_eq!(stats.entries, 10);
    assert!(stats.bytes > 0);
}

#[tokio::test]
async fn pages_follow_one_scan_and_a_new_beginning_sees_what_is_new() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    for name in ["c", "a", "b"] {
        apply(&*lists, append(name, 0..1)).await;
    }
    assert_eq!(lists.guests(None, 1).await.unwrap(), [guest("a")]);
    apply(&*lists, append("aa", 0..1)).await;
    let rest = lists.guests(Some(&guest("a")), 9).await.unwrap();
    assert_eq!(rest, [guest("b"), guest("c")]);
    assert_eq!(lists.guests(None, 9).await.unwrap().len(), 4);
}
