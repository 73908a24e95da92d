//! Keys that were evicted, overwritten or never ours: never read as data, and healed.

use crate::redis::*;
use guestbook_storage_contract::words::WHOLE;
use redis::{Commands, Connection};

const LIST: &str = "guest:abc";
const HEAD: &str = "{guest:abc}:head";

type Damage = fn(&mut Connection);

/// Each way in which a list can be damaged.
const DAMAGES: [(&str, Damage); 9] = [
    ("the list was evicted", |it| it.del(LIST).unwrap()),
    ("the head was evicted", |it| it.del(HEAD).unwrap()),
    ("both were evicted", |it| it.del(&[LIST, HEAD]).unwrap()),
    ("the list is another type", |it| {
        it.set(LIST, "a text").unwrap()
    }),
    ("the head is another type", |it| {
        it.set(HEAD, "a text").unwrap()
    }),
    ("somebody has pushed", |it| it.rpush(LIST, "x").unwrap()),
    ("somebody has popped", |it| it.ltrim(LIST, 1, -1).unwrap()),
    ("a field is missing", |it| it.hdel(HEAD, "epoch").unwrap()),
    ("a field is no number", |it| {
        it.hset(HEAD, "next", "many").unwrap()
    }),
];

/// Damages the list of three messages in each way.
async fn each(check: impl AsyncFn(&str, &dyn ListCache)) {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    for (what, damage) in DAMAGES {
        let _: () = redis::cmd("FLUSHALL").query(&mut server.raw()).unwrap();
        apply(&*lists, append("abc", 0..3)).await;
        damage(&mut server.raw());
        check(what, &*lists).await;
    }
}

#[tokio::test]
async fn a_damaged_list_counts_as_none() {
    each(async |what, lists| {
        assert_eq!(read(lists, "abc").await, None, "{what}");
        assert_eq!(
            lists.heads(vec![guest("abc")]).await.unwrap(),
            [None],
            "{what}"
        );
        let next = apply(lists, append("abc", 3..4)).await;
        assert_eq!(next, Applied::Gap, "{what}");
    })
    .await;
}

#[tokio::test]
async fn a_damaged_list_is_replaced() {
    each(async |what, lists| {
        lists.replace(append("abc", 0..3)).await.expect(what);
        assert_holds(lists, "abc", 0..3).await;
        assert_eq!(apply(lists, append("abc", 3..4)).await, Applied::Stored);
        assert_holds(lists, "abc", 0..4).await;
    })
    .await;
}

#[tokio::test]
async fn a_damaged_list_is_begun_anew() {
    each(async |what, lists| {
        let begun = apply(lists, append("abc", 0..5)).await;
        assert_eq!(begun, Applied::Stored, "{what}");
        assert_holds(lists, "abc", 0..5).await;
    })
    .await;
}

#[tokio::test]
async fn a_damaged_list_is_removed() {
    each(async |what, lists| {
        lists.remove(vec![guest("abc")]).await.expect(what);
        assert_eq!(lists.stats().await.unwrap().entries, 0, "{what}");
    })
    .await;
}

#[tokio::test]
async fn an_item_that_is_not_ours_is_called_corrupt() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    apply(&*lists, append("abc", 0..3)).await;
    let _: () = server.raw().lset(LIST, 1, "no JSON").unwrap();
    let error = lists.range(&guest("abc"), WHOLE, at(0)).await.unwrap_err();
    assert_eq!(error.kind(), guestbook::core::error::ErrorKind::Corrupt);
    assert!(error.to_string().contains("item 1"), "{error}");
    lists.replace(append("abc", 0..3)).await.unwrap();
    assert_holds(&*lists, "abc", 0..3).await;
}
