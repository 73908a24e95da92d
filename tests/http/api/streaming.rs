//! Long pages, which are sent while they are read.

use guestbook_testkit::http_harness::client::{Answer, chat, said, sequences};
use guestbook_testkit::http_harness::server::Site;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Of 16 MiB together: more than the system takes over from the server.
const MESSAGES: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(120);

async fn fill(site: &Site, guest: &str, count: u64) {
    let path = format!("{}/batch", chat(guest));
    let messages = vec![said("user", &"x".repeat(65_536)); 64];
    for _ in 0..count / 64 {
        let body = json!({ "messages": messages });
        site.client.post(&path, &body).await.list();
    }
}

/// A page whose client has taken its beginning.
struct Begun {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Begun {
    fn new(site: &Site, path: &str) -> Self {
        let mut stream = TcpStream::connect(site.client.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut heard = vec![0; 4096];
        stream.read_exact(&mut heard).unwrap();
        assert!(heard.starts_with(b"HTTP/1.1 200 "));
        Self { stream, heard }
    }

    /// Everything that came until the server closed; an early end may be a reset.
    fn rest(mut self) -> Vec<u8> {
        let _ = self.stream.read_to_end(&mut self.heard);
        self.heard
    }
}

pub(crate) async fn a_long_page_is_sent_in_chunks_and_a_short_one_in_one_piece(site: &Site) {
    fill(site, "long", 64).await;
    let id = site.client.say("short", "hello").await;
    let by_id = format!(
        "/v1/conversation/{}",
        id["conversation_id"].as_str().unwrap()
    );
    for path in [chat("short"), by_id] {
        let answer = site.client.get(&path).await;
        assert_eq!(
            answer.header("content-length"),
            Some(&*answer.body.len().to_string())
        );
    }
    let path = chat("long");
    let answer = site.client.get(&path).await;
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(sequences(&answer.list()), (0..64).collect::<Vec<_>>());
    let head = Answer::of(site.client.request("HEAD", &path)).await;
    assert_eq!(
        (head.status, head.header("etag")),
        (200, answer.header("etag"))
    );
    let tag = answer.header("etag").unwrap();
    let again = site
        .client
        .request("GET", &path)
        .header("If-None-Match", tag);
    assert_eq!(Answer::of(again).await.status, 304);
}

/// HTTP/1.0 has no chunks: a page that is cut off would look like a whole one.
pub(crate) async fn a_client_of_http_1_0_gets_a_long_page_whole_and_with_its_length(site: &Site) {
    fill(site, "long", 64).await;
    let path = chat("long");
    let page = site.client.get(&path).await;
    let mut stream = TcpStream::connect(site.client.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.0\r\n\r\n");
    let heard = tokio::task::spawn_blocking(move || {
        stream.write_all(head.as_bytes()).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        heard
    });
    let heard = heard.await.unwrap();
    let end = heard.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&heard[..end]).to_lowercase();
    let length = format!("content-length: {}", page.body.len());
    assert!(
        head.starts_with("http/1.0 200 ") && head.contains(&length),
        "{head}"
    );
    assert!(heard[end + 4..] == page.body[..], "another page");
}

pub(crate) async fn a_long_conversation_has_its_row_and_all_of_its_messages(site: &Site) {
    fill(site, "g1", 128).await;
    let saved = site.client.say("g1", "the last").await;
    let path = format!(
        "/v1/conversation/{}",
        saved["conversation_id"].as_str().unwrap()
    );
    let answer = site.client.get(&path).await.ok();
    assert_eq!(answer["message_count"], 129);
    let messages = answer["messages"].as_array().unwrap();
    assert_eq!(sequences(messages), (0..129).collect::<Vec<_>>());
    assert_eq!(messages[128]["content"], "the last");
}

pub(crate) async fn a_page_whose_chat_is_erased_in_the_middle_is_cut_off(site: &Site) {
    fill(site, "g1", MESSAGES).await;
    let begun = Begun::new(site, &chat("g1"));
    site.client.delete(&chat("g1")).await.ok();
    let heard = tokio::task::spawn_blocking(|| begun.rest()).await.unwrap();
    assert!(
        !heard.ends_with(b"0\r\n\r\n"),
        "it was ended as if it were whole"
    );
    assert!(heard.len() < MESSAGES as usize * 65_536);
}

pub(crate) async fn a_page_is_sent_to_its_end_while_more_is_said(site: &Site) {
    fill(site, "g1", MESSAGES).await;
    let begun = Begun::new(site, &chat("g1"));
    site.client.say("g1", "meanwhile").await;
    let heard = tokio::task::spawn_blocking(|| begun.rest()).await.unwrap();
    assert!(heard.ends_with(b"0\r\n\r\n"));
    let last = format!("\"sequence\":{}", MESSAGES - 1);
    let tail = String::from_utf8_lossy(&heard[heard.len() - 200..]);
    assert!(tail.contains(&format!("{last}}}]")), "{tail}");
    assert!(!tail.contains("meanwhile"));
}
