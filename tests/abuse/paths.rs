//! Paths: what is encoded stays a character of an id, and nothing in a path leads elsewhere.

use crate::row::{HELLO, Row, get, post};

pub(crate) fn rows() -> Vec<Row> {
    let read = |guest: &str| get(&format!("/v1/guest/chat/{guest}"), "");
    let raw = |path: &[u8]| [b"GET ", path, b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    vec![
        Row::told("an encoded NUL", read("a%00b"), &[422]),
        Row::told("an encoded slash", read("a%2Fb"), &[422]),
        Row::told("a slash", read("a/b"), &[404]),
        Row::told("a slash at the end", read("a/"), &[404]),
        Row::told("a percent sign without digits", read("a%"), &[422]),
        Row::told("a percent sign without hex", read("a%zz"), &[422]),
        Row::told("an encoding of an encoding", read("a%2541"), &[422]),
        Row::told("overlong UTF-8", read("%c0%ae"), &[422]),
        Row::told("an encoded surrogate", read("%ed%a0%80"), &[422]),
        Row::told("UTF-8 as it is", read("Grüße"), &[422]),
        Row::cut("a blank in the path", read("a b"), &[400]),
        Row::told("a backslash", read("..\\..\\etc"), &[422]),
        Row::cut(
            "a lone byte of no UTF-8",
            raw(b"/v1/guest/chat/\xff"),
            &[400],
        ),
        Row::told(
            "dots that lead upwards",
            get("/v1/guest/chat/../../../health", ""),
            &[404],
        ),
        Row::told(
            "encoded dots that lead upwards",
            get("/v1/guest/chat/%2e%2e/%2e%2e/%2e%2e/health", ""),
            &[404],
        ),
        Row::told("two slashes", get("//health", ""), &[404]),
        Row::told(
            "two slashes in the middle",
            get("/v1//guest/chat/g", ""),
            &[404],
        ),
        Row::told("a path parameter", get("/health;a=b", ""), &[404]),
        Row::taken("a fragment", get("/health#x", ""), &[200]),
        Row::told("a guest of 129 bytes", read(&"g".repeat(129)), &[422]),
        Row::told("a NUL in the query", read("g?limit=%00"), &[422]),
        Row::told("no UTF-8 in the query", read("g?limit=%ff"), &[422]),
        Row::taken(
            "a parameter given twice",
            read("nobody?limit=1&limit=2"),
            &[200],
        ),
        Row::taken(
            "five thousand parameters",
            read(&format!("nobody?{}", "a&".repeat(5_000))),
            &[200],
        ),
        // No ordinary client could ask for it again, whichever way it is written.
        Row::told("a guest called ..", post("..", "", HELLO), &[422]),
        Row::told(
            "a guest called .. in another spelling",
            post("%2e%2E", "", HELLO),
            &[422],
        ),
    ]
}
