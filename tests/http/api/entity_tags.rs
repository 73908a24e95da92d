//! `ETag` and `If-None-Match`: what a client has already is not sent again, and whatever changed is.

use guestbook_testkit::http_harness::client::{Answer, chat, contents, said};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};

async fn get(site: &Site, path: &str, tag: &str) -> Answer {
    Answer::of(
        site.client
            .request("GET", path)
            .header("If-None-Match", tag),
    )
    .await
}

/// The tag of a page that is there, which is as long the same as the page is.
async fn tag(site: &Site, path: &str) -> String {
    let answers = [
        site.client.get(path).await,
        get(site, path, "\"another\"").await,
        Answer::of(site.client.request("HEAD", path)).await,
    ];
    let tags = answers.map(|answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("etag").expect("a tag").to_owned()
    });
    assert!(tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
    tags[0].clone()
}

async fn assert_unchanged(site: &Site, path: &str, tag: &str) {
    for method in ["GET", "HEAD"] {
        let request = site.client.request(method, path);
        let answer = Answer::of(request.header("If-None-Match", tag)).await;
        assert_eq!((answer.status, &*answer.text()), (304, ""));
        assert_eq!(answer.header("etag"), Some(tag));
        assert_eq!(answer.header("content-length"), None);
    }
}

async fn conversation(site: &Site, guest: &str) -> String {
    let saved = site.client.say(guest, "hello").await;
    let id = saved["conversation_id"].as_str().unwrap();
    format!("/v1/conversation/{id}")
}

pub(crate) async fn who_has_a_page_is_told_so_and_sent_nothing(site: &Site) {
    let by_id = conversation(site, "g1").await;
    for path in [chat("g1"), format!("{}?limit=1", chat("g1")), by_id] {
        let tag = tag(site, &path).await;
        assert_unchanged(site, &path, &tag).await;
        for known in [format!("W/{tag}"), format!("\"x\", {tag}"), "*".into()] {
            assert_eq!(get(site, &path, &known).await.status, 304, "{known}");
        }
    }
}

pub(crate) async fn a_page_has_another_tag_after_each_change(site: &Site) {
    let by_id = conversation(site, "g1").await;
    let mut seen = Vec::new();
    for path in [&chat("g1"), &by_id, &format!("{}?limit=1", chat("g1"))] {
        seen.push(tag(site, path).await);
    }
    for number in 0..3 {
        let before = [tag(site, &chat("g1")).await, tag(site, &by_id).await];
        site.client.say("g1", &format!("message {number}")).await;
        for (path, before) in [chat("g1"), by_id.clone()].iter().zip(&before) {
            let answer = get(site, path, before).await;
            assert_eq!(answer.status, 200);
            seen.push(tag(site, path).await);
        }
    }
    let user = json!({"authenticated_user_id": "u1"});
    let last = tag(site, &by_id).await;
    site.client.post("/v1/guest/migrate/g1", &user).await.ok();
    assert_eq!(get(site, &by_id, &last).await.ok()["user_id"], "u1");
    seen.push(tag(site, &by_id).await);
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "each page of each time has its own");
}

/// The same words at the same time of day, but another conversation.
pub(crate) async fn what_is_erased_and_said_again_is_another_page(site: &Site) {
    site.client.say("g1", "hello").await;
    let before = tag(site, &chat("g1")).await;
    site.client.delete(&chat("g1")).await.ok();
    let answer = get(site, &chat("g1"), &before).await;
    assert_eq!(answer.list(), [] as [Value; 0]);
    assert_eq!(answer.header("etag"), None, "there is nothing to name");
    assert_eq!(get(site, &chat("g1"), "*").await.status, 200);
    site.client.say("g1", "hello").await;
    let answer = get(site, &chat("g1"), &before).await;
    assert_eq!(contents(&answer.list()), ["hello"]);
}

pub(crate) async fn a_page_that_is_not_changed_by_its_next_one_is_still_read_anew(site: &Site) {
    for number in 0..3 {
        let message = said("user", &format!("{number}"));
        site.client.message("g1", &message).await.ok();
    }
    let first = format!("{}?limit=3", chat("g1"));
    let before = tag(site, &first).await;
    site.client.say("g1", "3").await;
    let answer = get(site, &first, &before).await;
    assert!(answer.header("link").is_some(), "there is more now");
    assert_eq!(contents(&answer.list()), ["0", "1", "2"]);
}
