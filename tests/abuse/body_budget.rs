//! Bodies of every size, and JSON that is meant to hurt whoever reads it.

use crate::row::{HELLO, Row, post, unmeasured};

/// The default of `--body-limit`.
pub(crate) const LIMIT: usize = 8 << 20;

/// A good message that is filled up to this size with a field that nobody reads.
pub(crate) fn of_size(bytes: usize) -> String {
    let begin = HELLO.trim_end_matches('}');
    let pad = bytes - begin.len() - r#","pad":""}"#.len();
    format!(r#"{begin},"pad":"{}"}}"#, "x".repeat(pad))
}

/// A body in chunks of 64 KiB.
pub(crate) fn chunked(body: &str) -> String {
    let chunks = body.as_bytes().chunks(64 << 10).map(|chunk| {
        let text = std::str::from_utf8(chunk).unwrap();
        format!("{:x}\r\n{text}\r\n", chunk.len())
    });
    let body = chunks.collect::<String>() + "0\r\n\r\n";
    unmeasured("g", "Transfer-Encoding: chunked\r\n", &body)
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = sizes();
    rows.extend(kinds());
    rows.extend(documents());
    rows
}

fn sizes() -> Vec<Row> {
    vec![
        Row::taken(
            "a body of the limit less one",
            post("g", "", &of_size(LIMIT - 1)),
            &[200],
        )
        .storing(1),
        Row::taken(
            "a body of the limit",
            post("g", "", &of_size(LIMIT)),
            &[200],
        )
        .storing(1),
        Row::refused(
            "a body of the limit and one",
            post("g", "", &of_size(LIMIT + 1)),
            &[413],
        ),
        Row::taken(
            "chunks of the limit less one",
            chunked(&of_size(LIMIT - 1)),
            &[200],
        )
        .storing(1),
        Row::taken("chunks of the limit", chunked(&of_size(LIMIT)), &[200]).storing(1),
        Row::refused(
            "chunks of the limit and one",
            chunked(&of_size(LIMIT + 1)),
            &[413],
        ),
    ]
}

fn kinds() -> Vec<Row> {
    let of_kind = |kind: &str, body: &[u8]| {
        let head = format!(
            "POST /v1/guest/chat/g HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let utf16: Vec<u8> = HELLO.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let gzip =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00";
    let unzipped = "Content-Encoding: gzip\r\n";
    vec![
        Row::told("a compressed body", post("g", unzipped, HELLO), &[415]),
        Row::told(
            "a compressed body that does not say so",
            of_kind("application/json", gzip),
            &[400],
        ),
        Row::told(
            "UTF-16 that says so",
            of_kind("application/json; charset=utf-16", &utf16),
            &[400],
        ),
        Row::taken(
            "UTF-8 that says it is Latin 1",
            of_kind("application/json; charset=latin1", HELLO.as_bytes()),
            &[200],
        )
        .storing(1),
        Row::told(
            "a form",
            of_kind("application/x-www-form-urlencoded", b"role=user"),
            &[415],
        ),
        Row::told(
            "parts",
            of_kind("multipart/form-data; boundary=x", b"--x--"),
            &[415],
        ),
    ]
}

fn documents() -> Vec<Row> {
    let tell = |name, body: &str, answers| Row::told(name, post("g", "", body), answers);
    let with = |field: &str| format!("{},{field}}}", HELLO.trim_end_matches('}'));
    let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    let digits = "9".repeat(100_000);
    let keys = format!("{{{}\"a\":0}}", r#""":0,"#.repeat(1_000_000));
    vec![
        tell("100,000 arrays within each other", &deep("[", "]"), &[422]),
        tell(
            "100,000 objects within each other",
            &deep("{\"a\":", "}"),
            &[422],
        ),
        tell(
            "100,000 arrays that do not end",
            &"[".repeat(100_000),
            &[400],
        ),
        Row::taken(
            "100,000 arrays in a field that nobody reads",
            post("g", "", &with(&format!("\"pad\":{}", deep("[", "]")))),
            &[200],
        )
        .storing(1),
        tell(
            "100,000 objects as metadata",
            &with(&format!("\"metadata\":{}", deep("{\"a\":", "}"))),
            &[422],
        ),
        tell(
            "a number of 100,000 digits as content",
            &with("").replace(r#""Hello""#, &digits).replace(",}", "}"),
            &[422],
        ),
        Row::taken(
            "a number of 100,000 digits that nobody reads",
            post("g", "", &with(&format!("\"pad\":{digits}"))),
            &[200],
        )
        .storing(1),
        Row::taken(
            "a number beyond every float",
            post("g", "", &with("\"pad\":1e999999999")),
            &[200],
        )
        .storing(1),
        tell("the same key twice", &with(r#""role":"assistant""#), &[422]),
        tell("a million empty keys", &keys, &[422]),
        tell(
            "a million empty keys as metadata",
            &with(&format!("\"metadata\":{keys}")),
            &[422],
        ),
        tell(
            "half a surrogate pair",
            &with("").replace("Hello", "\\ud800").replace(",}", "}"),
            &[422],
        ),
        tell("two documents", &HELLO.repeat(2), &[400]),
        Row::taken(
            "a byte order mark",
            post("g", "", &format!("\u{feff}{HELLO}")),
            &[200],
        )
        .storing(1),
        tell(
            "two byte order marks",
            &format!("\u{feff}\u{feff}{HELLO}"),
            &[400],
        ),
        tell("NaN", &with("\"pad\":NaN"), &[400]),
        Row::told(
            "a million lines that are none",
            lines(&"{}\n".repeat(1_000_000)),
            &[413],
        ),
        Row::told(
            "a million elements that are none",
            lines(&format!("[{}0]", "0,".repeat(1_000_000))),
            &[413],
        ),
        Row::told(
            "a batch of a million elements",
            post(
                "g/batch",
                "",
                &format!("{{\"messages\":[{}0]}}", "0,".repeat(1_000_000)),
            ),
            &[422],
        ),
    ]
}

fn lines(body: &str) -> String {
    format!(
        "POST /v1/messages/batch HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
