//! Reading the same page again and again, which is sent again from memory: every write is seen by the next read.

use guestbook_testkit::http_harness::client::{Answer, chat, contents, said};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};

/// The answer to the same question, asked so often that it is held wherever it can be.
async fn again(site: &Site, path: &str) -> Answer {
    let first = site.client.get(path).await;
    for _ in 0..4 {
        let answer = site.client.get(path).await;
        assert_eq!(answer.status, first.status);
        assert_eq!(answer.text(), first.text());
        for name in ["link", "content-type", "content-length"] {
            assert_eq!(answer.header(name), first.header(name), "{name}");
        }
    }
    first
}

async fn texts(site: &Site, path: &str) -> Vec<String> {
    let list = again(site, path).await.list();
    contents(&list).into_iter().map(str::to_owned).collect()
}

pub(crate) async fn each_message_is_in_the_next_read(site: &Site) {
    for number in 0..10 {
        let text = format!("message {number}");
        site.client.say("g1", &text).await;
        site.client.say("g2", "of another guest").await;
        let read = texts(site, &chat("g1")).await;
        assert_eq!((read.len(), read.last()), (number + 1, Some(&text)));
    }
    let path = format!("{}/batch", chat("g1"));
    let both = json!({"messages": [said("user", "a"), said("user", "b")]});
    site.client.post(&path, &both).await.list();
    assert_eq!(texts(site, &chat("g1")).await.len(), 12);
}

pub(crate) async fn each_page_is_its_own_and_its_link_leads_on_when_there_is_more(site: &Site) {
    let page = |query: &str| format!("{}{query}", chat("g1"));
    for number in 0..4 {
        site.client.say("g1", &format!("{number}")).await;
    }
    let (all, two) = (page("?after=1"), page("?limit=2&after=1"));
    assert_eq!(texts(site, &all).await, ["2", "3"]);
    assert_eq!(texts(site, &two).await, ["2", "3"]);
    assert_eq!(again(site, &two).await.header("link"), None);
    assert_eq!(texts(site, &page("?before=2")).await, ["0", "1"]);
    site.client.say("g1", "4").await;
    let link = format!("<{}>; rel=\"next\"", page("?limit=2&after=3"));
    assert_eq!(again(site, &two).await.header("link"), Some(&*link));
    assert_eq!(texts(site, &page("?limit=2&after=3")).await, ["4"]);
    again(site, &page("?limit=0")).await.refuses("limit");
}

pub(crate) async fn what_is_deleted_or_migrated_is_gone_at_once(site: &Site) {
    for guest in ["g1", "g2"] {
        site.client.say(guest, "hello").await;
        assert_eq!(texts(site, &chat(guest)).await, ["hello"]);
    }
    site.client.delete(&chat("g1")).await.ok();
    let user = json!({"authenticated_user_id": "u1"});
    let path = "/v1/guest/migrate/g2";
    site.client.post(path, &user).await.ok();
    for guest in ["g1", "g2"] {
        assert_eq!(again(site, &chat(guest)).await.list(), [] as [Value; 0]);
        site.client.say(guest, "anew").await;
        assert_eq!(texts(site, &chat(guest)).await, ["anew"]);
    }
}

pub(crate) async fn readers_never_see_less_than_was_answered(site: &Site) {
    let path = chat("g1");
    site.client.say("g1", "0").await;
    let answered = std::sync::atomic::AtomicUsize::new(1);
    let order = std::sync::atomic::Ordering::SeqCst;
    let write = async {
        for number in 1..60 {
            site.client.say("g1", &format!("{number}")).await;
            answered.store(number + 1, order);
        }
    };
    let read = async || {
        while answered.load(order) < 60 {
            let before = answered.load(order);
            let read = site.client.get(&path).await.list().len();
            assert!(read >= before, "{read} messages after {before} were saved");
        }
    };
    tokio::join!(write, read(), read(), read());
    assert_eq!(texts(site, &path).await.len(), 60);
}
