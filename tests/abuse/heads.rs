//! Heads that are none, or too much of one.

use crate::row::{HELLO, Row, get, post, smuggled, unmeasured};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = lines();
    rows.extend(sizes());
    rows.extend(versions());
    rows.extend(targets());
    rows.extend(switches());
    rows
}

fn lines() -> Vec<Row> {
    let with = |line: &str| get("/health", line);
    vec![
        // RFC 9112, 2.2: a line feed alone may end a line of the head.
        Row::taken(
            "line feeds alone",
            "GET /health HTTP/1.1\nHost: x\n\n",
            &[200],
        ),
        Row::cut(
            "carriage returns alone",
            "GET /health HTTP/1.1\rHost: x\r\r",
            &[400],
        ),
        Row::cut(
            "a carriage return within a value",
            with("X-A: b\rX-C: d\r\n"),
            &[400],
        ),
        Row::cut("a folded line", with("X-A: b\r\n c\r\n"), &[400]),
        Row::cut("a blank before the colon", with("X-A : b\r\n"), &[400]),
        Row::cut("a blank before the name", with(" X-A: b\r\n"), &[400]),
        Row::cut("no name", with(": b\r\n"), &[400]),
        Row::cut("no colon", with("X-A\r\n"), &[400]),
        Row::cut("a NUL in a name", with("X-\0A: b\r\n"), &[400]),
        Row::cut("a NUL in a value", with("X-A: b\0c\r\n"), &[400]),
        Row::cut("an escape in a value", with("X-A: b\u{1b}[2J\r\n"), &[400]),
        Row::taken("a value that is not ASCII", with("X-A: Grüße\r\n"), &[200]),
        Row::taken(
            "empty lines before the request",
            format!("\r\n\r\n{}", with("")),
            &[200],
        ),
        Row::cut(
            "a blank before the request",
            format!(" {}", with("")),
            &[400],
        ),
        Row::cut(
            "two blanks in the request line",
            with("").replace("/health", " /health"),
            &[400],
        ),
    ]
}

fn sizes() -> Vec<Row> {
    let header = |bytes: usize| get("/health", &format!("X-A: {}\r\n", "x".repeat(bytes)));
    let many = |count: usize| get("/health", &"X-A: b\r\n".repeat(count));
    let path = |bytes: usize| get(&format!("/{}", "x".repeat(bytes)), "");
    vec![
        Row::taken("a header of 12 KiB", header(12 << 10), &[200]),
        Row::cut("a header of 64 KiB", header(64 << 10), &[431]),
        Row::cut("a header of 1 MiB", header(1 << 20), &[431]),
        Row::taken("90 headers", many(90), &[200]),
        Row::cut("10,000 headers", many(10_000), &[431]),
        Row::told("a path of 12 KiB", path(12 << 10), &[404]),
        Row::cut("a path of 64 KiB", path(64 << 10), &[431]),
        Row::cut("a path of 1 MiB", path(1 << 20), &[431]),
        Row::cut("a method of 1 MiB", "G".repeat(1 << 20), &[431]),
    ]
}

fn versions() -> Vec<Row> {
    let line = |line: &str| format!("{line}\r\nHost: x\r\n\r\n");
    vec![
        Row::cut(
            "a method that is none",
            line("G@T /health HTTP/1.1"),
            &[400],
        ),
        Row::told(
            "a method in small letters",
            line("get /health HTTP/1.1"),
            &[405],
        ),
        Row::told(
            "a method that nobody knows",
            line("BREW /health HTTP/1.1"),
            &[405],
        ),
        Row::told("TRACE", line("TRACE /health HTTP/1.1"), &[405]),
        Row::cut("HTTP/9.9", line("GET /health HTTP/9.9"), &[400]),
        Row::cut("HTTP/1.2", line("GET /health HTTP/1.2"), &[400]),
        Row::cut(
            "http/1.1 in small letters",
            line("GET /health http/1.1"),
            &[400],
        ),
        Row::cut("HTTP/0.9", "GET /health\r\n", &[400]),
        Row::cut(
            "the preface of HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[],
        ),
        Row::cut(
            "a TLS client",
            *b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            &[400],
        ),
        Row::taken("HTTP/1.0", "GET /health HTTP/1.0\r\n\r\n", &[200]).closing(),
        Row::taken(
            "HTTP/1.0 kept alive",
            "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            &[200],
        ),
    ]
}

fn targets() -> Vec<Row> {
    let asks = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    vec![
        Row::taken("an absolute target", asks("http://x/health"), &[200]),
        Row::taken(
            "an absolute target of another host",
            asks("http://elsewhere/health"),
            &[200],
        ),
        Row::told("an authority as target", asks("x:80"), &[404]),
        Row::told(
            "CONNECT",
            "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
            &[404],
        )
        .closing(),
        Row::told(
            "an asterisk",
            "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
            &[404],
        ),
        Row::refused("no host", "GET /health HTTP/1.1\r\n\r\n", &[400]),
        Row::refused("two hosts", get("/health", "Host: y\r\n"), &[400]),
        Row::refused(
            "no host and a body",
            format!(
                "POST /v1/guest/chat/g HTTP/1.1\r\nContent-Length: 68\r\n\r\n{HELLO}{}",
                smuggled()
            ),
            &[400],
        ),
    ]
}

fn switches() -> Vec<Row> {
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    vec![
        Row::taken("an upgrade to WebSocket", get("/health", websocket), &[200]),
        Row::taken("an upgrade to HTTP/2", get("/health", h2c), &[200]),
        Row::taken("an upgrade with a body", post("g", h2c, HELLO), &[200]).storing(1),
        Row::taken(
            "expecting 100",
            post("g", "Expect: 100-continue\r\n", HELLO),
            &[100, 200],
        )
        .storing(1),
        Row::refused(
            "expecting 100 for a body that is too large",
            unmeasured(
                "g",
                "Expect: 100-continue\r\nContent-Length: 9999999999\r\n",
                "",
            ),
            &[413],
        ),
        Row::taken(
            "expecting something else",
            post("g", "Expect: the-unexpected\r\n", HELLO),
            &[200],
        )
        .storing(1),
        Row::taken(
            "close and keep-alive at once",
            get("/health", "Connection: close, keep-alive\r\n"),
            &[200],
        )
        .closing(),
        Row::taken(
            "another method by a header",
            post(
                "g",
                "X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\n",
                HELLO,
            ),
            &[200],
        )
        .storing(1),
    ]
}
