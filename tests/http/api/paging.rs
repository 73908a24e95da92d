//! `GET /v1/guest/chat/{guest_id}`: history, and its pages.

use guestbook_testkit::http_harness::client::{chat, said, sequences};
use guestbook_testkit::http_harness::server::Site;
use serde_json::{Value, json};

async fn fill(site: &Site, guest: &str, count: usize) {
    let messages: Vec<_> = (0..count)
        .map(|number| said("user", &format!("message {number}")))
        .collect();
    for part in messages.chunks(1000) {
        let path = format!("{}/batch", chat(guest));
        site.client
            .post(&path, &json!({ "messages": part }))
            .await
            .list();
    }
}

async fn page(site: &Site, query: &str) -> Vec<u64> {
    let answer = site.client.get(&format!("{}{query}", chat("g1"))).await;
    sequences(&answer.list())
}

/// The target of `Link: <…>; rel="next"`.
pub(crate) fn next_link(link: Option<&str>) -> Option<String> {
    let (target, parameters) = link?.split_once(';').expect("a Link with parameters");
    assert_eq!(parameters.trim(), "rel=\"next\"");
    let target = target.strip_prefix('<')?.strip_suffix('>')?;
    Some(target.to_owned())
}

/// Every page from this one on, following the links.
async fn pages(site: &Site, query: &str) -> Vec<Vec<u64>> {
    let mut next = Some(format!("{}{query}", chat("g1")));
    let mut pages = Vec::new();
    while let Some(path) = next {
        let answer = site.client.get(&path).await;
        pages.push(sequences(&answer.list()));
        next = next_link(answer.header("link"));
        assert!(pages.len() < 20, "the links do not end: {pages:?}");
    }
    pages
}

pub(crate) async fn an_unknown_guest_has_an_empty_history(site: &Site) {
    let answer = site.client.get(&chat("nobody")).await;
    assert_eq!(answer.list(), [] as [Value; 0]);
    assert_eq!(answer.header("link"), None);
}

pub(crate) async fn without_a_limit_everything_comes_in_order(site: &Site) {
    fill(site, "g1", 25).await;
    assert_eq!(pages(site, "").await, [(0..25).collect::<Vec<_>>()]);
}

pub(crate) async fn a_limit_gives_the_first_messages(site: &Site) {
    fill(site, "g1", 10).await;
    assert_eq!(page(site, "?limit=3").await, [0, 1, 2]);
}

pub(crate) async fn before_gives_the_messages_just_below_it_in_order(site: &Site) {
    fill(site, "g1", 10).await;
    assert_eq!(page(site, "?limit=3&before=7").await, [4, 5, 6]);
    assert_eq!(page(site, "?before=2").await, [0, 1]);
    assert_eq!(page(site, "?limit=2&before=99").await, [8, 9]);
    assert_eq!(page(site, "?before=0").await, [] as [u64; 0]);
}

pub(crate) async fn after_gives_the_messages_just_above_it(site: &Site) {
    fill(site, "g1", 10).await;
    assert_eq!(page(site, "?limit=3&after=6").await, [7, 8, 9]);
    assert_eq!(page(site, "?after=0&limit=2").await, [1, 2]);
    assert_eq!(page(site, "?after=9").await, [] as [u64; 0]);
    let beyond = format!("?after={}", u64::MAX);
    assert_eq!(page(site, &beyond).await, [] as [u64; 0]);
}

pub(crate) async fn links_lead_upwards_to_the_end(site: &Site) {
    fill(site, "g1", 10).await;
    let up: [&[u64]; 3] = [&[0, 1, 2, 3], &[4, 5, 6, 7], &[8, 9]];
    assert_eq!(pages(site, "?limit=4").await, up);
    assert_eq!(pages(site, "?limit=5&after=4").await, [[5, 6, 7, 8, 9]]);
}

pub(crate) async fn links_lead_downwards_to_the_beginning(site: &Site) {
    fill(site, "g1", 10).await;
    let down: [&[u64]; 3] = [&[6, 7, 8, 9], &[2, 3, 4, 5], &[0, 1]];
    assert_eq!(pages(site, "?limit=4&before=10").await, down);
    assert_eq!(pages(site, "?limit=5&before=5").await, [[0, 1, 2, 3, 4]]);
}

pub(crate) async fn last_gives_the_newest_messages_in_order_and_its_links_lead_down(site: &Site) {
    assert_eq!(page(site, "?last=2").await, [] as [u64; 0]);
    fill(site, "g1", 10).await;
    assert_eq!(page(site, "?last=2").await, [8, 9]);
    assert_eq!(page(site, "?last=10").await, (0..10).collect::<Vec<_>>());
    let many = format!("?last={}", u64::MAX);
    assert_eq!(page(site, &many).await, (0..10).collect::<Vec<_>>());
    let down: [&[u64]; 3] = [&[6, 7, 8, 9], &[2, 3, 4, 5], &[0, 1]];
    assert_eq!(pages(site, "?last=4").await, down);
    let conversation = site.client.say("g1", "one more").await["conversation_id"].clone();
    let path = format!("/v1/conversation/{}", conversation.as_str().unwrap());
    let answer = site.client.get(&format!("{path}?last=1")).await;
    let read = answer.ok();
    assert_eq!(sequences(read["messages"].as_array().unwrap()), [10]);
    let next = next_link(answer.header("link")).unwrap();
    assert_eq!(next, format!("{path}?limit=1&before=10"));
}

pub(crate) async fn last_stands_alone(site: &Site) {
    for other in ["limit=3", "before=3", "after=3", "limit=1&before=3"] {
        let answer = site
            .client
            .get(&format!("{}?last=2&{other}", chat("g1")))
            .await;
        answer.refuses("last");
    }
    let answer = site.client.get(&format!("{}?last=0", chat("g1"))).await;
    answer.refuses("last");
}

pub(crate) async fn a_page_is_capped_at_10_000_and_the_link_leads_on(site: &Site) {
    fill(site, "g1", 10_003).await;
    for query in [
        "",
        "?limit=10000",
        "?limit=20000",
        "?limit=18446744073709551615",
    ] {
        let lengths: Vec<_> = pages(site, query).await.iter().map(Vec::len).collect();
        assert_eq!(lengths, [10_000, 3], "{query}");
    }
}

pub(crate) async fn a_page_ends_at_16_mib_and_the_link_leads_on(site: &Site) {
    let content = "x".repeat(65_536);
    let messages = vec![said("user", &content); 100];
    for _ in 0..6 {
        let path = format!("{}/batch", chat("g1"));
        let body = json!({ "messages": messages });
        site.client.post(&path, &body).await.list();
    }
    let lengths = |pages: Vec<Vec<u64>>| pages.iter().map(Vec::len).collect::<Vec<_>>();
    // 256 messages of 64 KiB are 16 MiB.
    let up = pages(site, "").await;
    assert_eq!(up.concat(), (0..600).collect::<Vec<_>>());
    assert_eq!(lengths(up), [256, 256, 88]);
    let down = pages(site, "?before=600").await;
    let upwards: Vec<_> = down.iter().rev().flatten().copied().collect();
    assert_eq!(upwards, (0..600).collect::<Vec<_>>());
    assert_eq!(lengths(down), [256, 256, 88]);
}

pub(crate) async fn what_is_no_number_is_refused_and_named(site: &Site) {
    for name in ["limit", "before", "after", "last"] {
        for wrong in ["", "x", "-1", "1.5", "18446744073709551616"] {
            let answer = site
                .client
                .get(&format!("{}?{name}={wrong}", chat("g1")))
                .await;
            answer.refuses(name);
        }
    }
    let answer = site.client.get(&format!("{}?limit=0", chat("g1"))).await;
    answer.refuses("limit");
}

pub(crate) async fn before_and_after_together_are_refused(site: &Site) {
    let answer = site
        .client
        .get(&format!("{}?before=3&after=1", chat("g1")))
        .await;
    answer.refuses("before");
}

pub(crate) async fn unknown_parameters_are_ignored(site: &Site) {
    fill(site, "g1", 2).await;
    assert_eq!(page(site, "?cursor=x&limit=1&_=2").await, [0]);
}
