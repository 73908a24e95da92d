//! A body that nobody has read when its request is answered.

use guestbook_testkit::http_harness::client::{chat, said};
use guestbook_testkit::http_harness::server::Site;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// More than the default of `--body-limit`.
const TOO_LARGE: usize = 9 << 20;

fn connect(site: &Site) -> TcpStream {
    let stream = TcpStream::connect(site.client.address).unwrap();
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).unwrap();
    stream
}

/// One answer with its head, as far as it came.
fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&heard);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.to_ascii_lowercase();
            let length = length.split_once("content-length: ").unwrap().1;
            let length = length.lines().next().unwrap().parse::<usize>().unwrap();
            body.len() >= length
        });
        if whole {
            return text.into_owned();
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => heard.extend_from_slice(&buffer[..read]),
            ended => panic!("{ended:?} after {text:?}"),
        }
    }
}

pub(crate) async fn a_connection_goes_on_behind_a_refusal_or_says_that_it_ends(site: &Site) {
    let body = said("user", "Hello").to_string();
    let wrong = [
        format!(
            "POST /v1/nowhere HTTP/1.1\r\nContent-Length: {}",
            body.len()
        ),
        format!(
            "PUT {} HTTP/1.1\r\nContent-Length: {}",
            chat("g1"),
            body.len()
        ),
        format!(
            "POST {} HTTP/1.1\r\nContent-Length: {}",
            chat("a%20b"),
            body.len()
        ),
        format!(
            "POST {} HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: {}",
            chat("g1"),
            body.len()
        ),
    ];
    for head in wrong.iter().cycle().take(20) {
        let mut stream = connect(site);
        write!(stream, "{head}\r\nHost: x\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(5)); // the refusal is made before the body comes
        let _ = stream.write_all(body.as_bytes()); // it may have come too late
        let refusal = hear(&mut stream);
        assert!(refusal.starts_with("HTTP/1.1 4"), "{refusal}");
        if refusal
            .to_ascii_lowercase()
            .contains("\r\nconnection: close")
        {
            continue; // a machine that is very busy: the body came too late
        }
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        assert!(hear(&mut stream).starts_with("HTTP/1.1 200"), "{head}");
    }
    assert_eq!(site.client.stored().await, 0);
}

pub(crate) async fn whoever_sends_all_of_a_body_that_is_too_large_hears_why(site: &Site) {
    for _ in 0..5 {
        let mut stream = connect(site);
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {TOO_LARGE}\r\n\r\n",
            chat("g1")
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b' '; TOO_LARGE]).unwrap();
        let refusal = hear(&mut stream).to_ascii_lowercase();
        assert!(refusal.starts_with("http/1.1 413"), "{refusal}");
        assert!(refusal.contains("\r\nconnection: close"), "{refusal}");
    }
    assert_eq!(site.client.stored().await, 0);
}
