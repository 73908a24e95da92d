//! Chunked bodies that are not what they say.

use crate::row::{HELLO, Row, smuggled, unmeasured};

fn chunked(body: &str) -> String {
    unmeasured("g", "Transfer-Encoding: chunked\r\n", body)
}

pub(crate) fn rows() -> Vec<Row> {
    let size = HELLO.len();
    let sized = |text: &str| chunked(&format!("{text}\r\n{HELLO}\r\n0\r\n\r\n"));
    let long = "x".repeat(64 << 10);
    let bytewise: String = HELLO
        .bytes()
        .map(|byte| format!("1\r\n{}\r\n", byte as char))
        .collect();
    vec![
        Row::taken("chunks", sized(&format!("{size:x}")), &[200]).storing(1),
        Row::taken(
            "chunks of one byte",
            chunked(&format!("{bytewise}0\r\n\r\n")),
            &[200],
        )
        .storing(1),
        Row::taken(
            "a size with zeros before it",
            sized(&format!("0000{size:x}")),
            &[200],
        )
        .storing(1),
        Row::taken(
            "an extension",
            sized(&format!("{size:x};a=b;c=\"d\"")),
            &[200],
        )
        .storing(1),
        Row::refused(
            "an extension of 64 KiB",
            sized(&format!("{size:x};{long}")),
            &[400],
        ),
        Row::taken(
            "trailers",
            chunked(&format!(
                "{size:x}\r\n{HELLO}\r\n0\r\nX-A: b\r\nContent-Length: 5\r\n\r\n"
            )),
            &[200],
        )
        .storing(1),
        Row::refused(
            "trailers of 64 KiB",
            chunked(&format!("{size:x}\r\n{HELLO}\r\n0\r\nX-A: {long}\r\n\r\n")),
            &[400],
        ),
        Row::refused(
            "ten thousand trailers",
            chunked(&format!(
                "{size:x}\r\n{HELLO}\r\n0\r\n{}\r\n",
                "X-A: b\r\n".repeat(10_000)
            )),
            &[400],
        ),
        Row::refused("a size beyond 64 bits", sized("1ffffffffffffffff"), &[400]),
        Row::refused("a negative size", sized("-44"), &[400]),
        Row::refused("a size with a plus", sized("+44"), &[400]),
        Row::refused("a size as in C", sized("0x44"), &[400]),
        Row::refused("no size", sized(""), &[400]),
        Row::refused("a size that is no number", sized("zz"), &[400]),
        Row::refused("a blank within the size", sized("4 4"), &[400]),
        Row::refused(
            "a line end without a carriage return",
            chunked(&format!("{size:x}\n{HELLO}\n0\n\n{}", smuggled())),
            &[400],
        ),
        Row::refused(
            "more in the chunk than its size",
            chunked(&format!("5\r\n{HELLO}\r\n0\r\n\r\n{}", smuggled())),
            &[400],
        ),
        Row::refused(
            "an extension with a bare line feed",
            chunked(&format!(
                "{size:x};a\nb\r\n{HELLO}\r\n0\r\n\r\n{}",
                smuggled()
            )),
            &[400],
        ),
    ]
}
