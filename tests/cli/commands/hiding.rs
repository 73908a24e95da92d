//! What a client is not told stands in the log, under an id that it is told.

use guestbook_testkit::process::{Place, Running};
use std::io::{Read, Write};
use std::net::TcpListener;

/// What a model's server says when it fails.
const COMPLAINT: &str = "upstream db-7.internal refused the s3cret tenant";

/// A server of a model that fails; its address.
fn failing_model() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut heard = [0; 4096];
            let _ = stream.read(&mut heard);
            let body = format!(r#"{{"error":{{"message":"{COMPLAINT}"}}}}"#);
            let answer = format!(
                "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_fails_is_named_in_the_log_and_not_in_the_answer() {
    let (place, model) = (Place::new(), failing_model());
    let embedder = format!("openai:http://{model}/v1");
    let server =
        Running::start(place.command(&["--listen", "127.0.0.1:0", "--embedder", &embedder]));
    let mut ids = Vec::new();
    for path in [
        "/v1/guest/chat/g1/search?q=hello",
        "/v1/user/u1/search?q=hello",
        "/v1/guest/chat/g1/context?q=hello&max_tokens=9",
    ] {
        let answer = server.client.get(path).await;
        let problem = answer.problem(503);
        for inside in ["127.0.0.1", "/v1", "http", "500", "upstream", "s3cret"] {
            assert!(!answer.text().contains(inside), "{problem} shows {inside}");
        }
        ids.push(problem["error_id"].as_str().unwrap().to_owned());
    }
    let (_, log) = server.ended_by("TERM");
    for id in ids {
        let line = log.lines().find(|line| line.contains(&id));
        let line = line.unwrap_or_else(|| panic!("no {id}: {log}"));
        assert!(
            line.contains(COMPLAINT) && line.contains(&model.to_string()),
            "{line}"
        );
    }
}
