//! Requests of no certain length: where a proxy before us may see another request than we do.

use crate::row::{HELLO, Row, get, post, smuggled, unmeasured};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

pub(crate) fn rows() -> Vec<Row> {
    let hidden = format!("0\r\n\r\n{}", smuggled());
    let chunk = format!("{:x}\r\n{HELLO}\r\n0\r\n\r\n", HELLO.len());
    let lengths = |first: usize, second: usize| {
        format!("Content-Length: {first}\r\nContent-Length: {second}\r\n")
    };
    let of_length = |length: &str| unmeasured("g", &format!("Content-Length: {length}\r\n"), HELLO);
    let inner = smuggled();
    vec![
        // Chunked wins, as RFC 9112 says, and then nothing more is taken from this connection.
        Row::refused(
            "a length, then chunked",
            post("g", CHUNKED, &hidden),
            &[400],
        ),
        Row::refused(
            "chunked, then a length",
            unmeasured(
                "g",
                &format!("{CHUNKED}Content-Length: {}\r\n", hidden.len()),
                &hidden,
            ),
            &[400],
        ),
        Row::taken(
            "a length, and good chunks",
            post("g", CHUNKED, &chunk),
            &[200],
        )
        .storing(1)
        .closing(),
        Row::taken(
            "the same length twice",
            unmeasured("g", &lengths(HELLO.len(), HELLO.len()), HELLO),
            &[200],
        )
        .storing(1),
        Row::cut(
            "two lengths",
            unmeasured("g", &lengths(HELLO.len(), 3), HELLO),
            &[400],
        ),
        Row::cut(
            "a list of lengths",
            of_length(&format!("{0}, {0}", HELLO.len())),
            &[400],
        ),
        Row::cut("a length with a plus", of_length("+68"), &[400]),
        Row::cut("a negative length", of_length("-68"), &[400]),
        Row::cut("a length in hex", of_length("0x44"), &[400]),
        Row::cut("a length with a blank in it", of_length("6 8"), &[400]),
        Row::cut("an empty length", of_length(""), &[400]),
        Row::cut(
            "a length beyond 64 bits",
            of_length("99999999999999999999"),
            &[400],
        ),
        Row::refused(
            "a length of 2^63 - 1",
            of_length("9223372036854775807"),
            &[413],
        ),
        Row::taken("no length at all", unmeasured("g", "", ""), &[400]),
        Row::refused(
            "chunked twice in one header",
            unmeasured("g", "Transfer-Encoding: chunked, chunked\r\n", &hidden),
            &[400],
        ),
        Row::refused(
            "chunked twice in two headers",
            unmeasured("g", &format!("{CHUNKED}{CHUNKED}"), &hidden),
            &[400],
        ),
        Row::cut(
            "a coding that only ends in chunked",
            unmeasured("g", "Transfer-Encoding: xchunked\r\n", &hidden),
            &[400],
        ),
        Row::cut(
            "identity",
            unmeasured("g", "Transfer-Encoding: identity\r\n", &hidden),
            &[400],
        ),
        Row::cut(
            "chunked, and then another coding",
            unmeasured("g", "Transfer-Encoding: chunked, identity\r\n", &hidden),
            &[400],
        ),
        Row::refused(
            "gzip, then chunked",
            unmeasured("g", "Transfer-Encoding: gzip, chunked\r\n", &hidden),
            &[400],
        ),
        Row::cut(
            "chunked behind a vertical tab",
            unmeasured("g", "Transfer-Encoding: \u{b}chunked\r\n", &hidden),
            &[400],
        ),
        Row::cut(
            "chunked in a folded line",
            unmeasured("g", "Transfer-Encoding:\r\n chunked\r\n", &hidden),
            &[400],
        ),
        Row::cut(
            "chunked, with a blank before the colon",
            unmeasured("g", "Transfer-Encoding : chunked\r\n", &hidden),
            &[400],
        ),
        Row::cut(
            "chunked in HTTP/1.0",
            unmeasured("g", CHUNKED, &hidden).replace("HTTP/1.1", "HTTP/1.0"),
            &[400],
        ),
        // A body stays a body, whatever the method makes of it.
        Row::taken(
            "a request in the body of a GET",
            get("/health", &format!("Content-Length: {}\r\n", inner.len())) + &inner,
            &[200],
        ),
        Row::taken(
            "a request in the chunk of a GET",
            get("/health", CHUNKED) + &format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
            &[200],
        ),
        Row::taken(
            "a request in the body of a DELETE",
            format!(
                "DELETE /v1/guest/chat/nobody HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{inner}",
                inner.len()
            ),
            &[200],
        ),
        Row::told(
            "a request in the body of an unknown route",
            format!(
                "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{inner}",
                inner.len()
            ),
            &[404],
        ),
        Row::taken(
            "two requests at once",
            post("g", "", HELLO) + &post("g", "", HELLO),
            &[200, 200],
        )
        .storing(2),
        Row::taken(
            "three requests at once, the second a bad one",
            post("g", "", HELLO) + &post("g", "", "{") + &post("g", "", HELLO),
            &[200, 400, 200],
        )
        .storing(2),
        Row::taken(
            "a request, and then no HTTP",
            post("g", "", HELLO) + "\u{1}\r\n\r\n",
            &[200, 400],
        )
        .storing(1)
        .closing(),
    ]
}
