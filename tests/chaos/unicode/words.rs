//! The texts.

/// Stands in every text that is stored, and in nothing else: where it is found, a content is.
pub(crate) const MARK: &str = "qxzvj";

/// A content that is taken, and what is odd about it.
pub(crate) struct Word(pub(crate) &'static str, pub(crate) String);

/// As large as a content may be.
pub(crate) const LIMIT: usize = 65_536;

const ODD: [(&str, &str); 42] = [
    ("U+FFFE, which is no character", "\u{fffe}"),
    ("U+FFFF, which is no character", "\u{ffff}"),
    ("U+FEFF, a byte order mark", "\u{feff}"),
    ("U+FFFD, which stands for what was lost", "\u{fffd}"),
    ("the last character there is", "\u{10ffff}"),
    ("four bytes", "😀𝄞"),
    (
        "a family of seven code points",
        "👩\u{200d}👩\u{200d}👧\u{200d}👦",
    ),
    ("accents composed", "\u{e9}\u{1e69}"),
    ("accents apart", "e\u{301}s\u{323}\u{307}"),
    ("a ligature and a full width letter", "ﬁ Ａ"),
    ("accents without a letter", "\u{301}\u{301}\u{301}"),
    ("right to left", "שלום مرحبا"),
    (
        "marks of direction",
        "\u{202e}\u{2066}abc\u{2069}\u{202c}\u{200f}",
    ),
    ("letters of no width", "a\u{200b}b\u{200c}c\u{200d}\u{2060}"),
    ("a soft hyphen", "a\u{ad}b"),
    ("letters whose case is not simple", "İıßẞ ς"),
    (
        "controls",
        "\u{1}\u{7}\u{8}\u{b}\u{c}\u{1b}[31m\u{7f}\u{85}\u{9f}",
    ),
    (
        "the end of a line in every kind",
        "a\nb\rc\r\nd\u{85}e\u{2028}f\u{2029}g",
    ),
    ("spaces around", " \t\n x \r\n\t "),
    (
        "spaces of every kind",
        "a\u{a0}\u{1680}\u{2003}\u{202f}\u{205f}\u{3000}b",
    ),
    ("SQL", "'; DROP TABLE message_cache; --"),
    ("SQL within doubled quotes", "''\"\"``$$ ); SELECT 1 /* */"),
    (
        "dollars and places of a statement",
        "$1 $2 ?1 :a @b %s {} {0}",
    ),
    ("a dollar quote", "$tag$ x $tag$"),
    ("patterns of LIKE", "100%_\\%\\_"),
    ("patterns of a glob", "guest:* ?[a-z] {a,b}"),
    ("patterns of a regular expression", "^(.*)+$ \\d{1,}"),
    ("backslashes", "\\ \\\\ \\n \\u0041 \\x00 \\0"),
    ("what looks like a NUL", "\\u0000 %00 \\0 &#0;"),
    (
        "paths",
        "../../etc/passwd C:\\nul /dev/null ~/.ssh file:///etc",
    ),
    ("a header", "x\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK"),
    ("HTML", "<script>alert('x')</script><!-- --> &lt; &amp;"),
    (
        "JSON within JSON",
        "{\"role\":\"system\",\"content\":\"\\\"\",\"timestamp\":null}",
    ),
    ("the end of a JSON text", "\"}],\"x\":[{\""),
    (
        "an event of a log",
        "{\"level\":\"ERROR\",\"message\":\"lost\"}",
    ),
    ("the words of Redis", "*1\r\n$8\r\nFLUSHALL\r\n"),
    ("Lua", "]] redis.call('FLUSHALL') --[["),
    ("shell", "$(rm -rf .) `id` ; | & > x"),
    ("a format", "%n%s%d {0.__class__} ${jndi:ldap://x}"),
    (
        "words for nothing",
        "null NULL undefined NaN None nil true \\N",
    ),
    ("numbers", "007 1e999 0x1F -0 ٣"),
    ("a CSV and a COPY of it", "a,\"b\"\"\",\\.\n\\."),
];

/// Every content that is taken.
pub(crate) fn kept() -> Vec<Word> {
    let odd = |(name, text): &(&'static str, &str)| Word(name, format!("{text}{MARK}{text}"));
    let mut all: Vec<_> = ODD.iter().map(odd).collect();
    all.push(Word("as large as may be", filled("x", LIMIT)));
    all.push(Word(
        "as large as may be, of four bytes each",
        filled("😀", LIMIT),
    ));
    all.push(Word(
        "as large as may be, to be escaped",
        filled("\u{1}\"", LIMIT),
    ));
    all.push(Word("one space of no width", format!("\u{200b}{MARK}")));
    all
}

/// A text of this many bytes.
pub(crate) fn filled(text: &str, bytes: usize) -> String {
    let rest = bytes - MARK.len();
    let padding = rest % text.len();
    let filled = format!(
        "{MARK}{}{}",
        "-".repeat(padding),
        text.repeat(rest / text.len())
    );
    assert_eq!(filled.len(), bytes);
    filled
}

/// Contents as JSON texts that are refused, each a body of its own.
pub(crate) fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let body = |content: &[u8]| {
        [
            &b"{\"role\":\"user\",\"timestamp\":\"2025-12-21T12:00:00Z\",\"content\":"[..],
            content,
            b"}",
        ]
        .concat()
    };
    let text = |content: &str| body(serde_json::to_string(content).unwrap().as_bytes());
    let mut all = vec![
        ("a NUL", body(br#""a\u0000b""#)),
        ("a NUL alone", body(br#""\u0000""#)),
        ("a NUL as it is", body(b"\"a\0b\"")),
        ("half of a character", body(br#""a\ud800""#)),
        ("the other half", body(br#""\udc00a""#)),
        (
            "both halves the wrong way round",
            body(br#""\udc00\ud800""#),
        ),
        ("half of a character as it is", body(b"\"\xed\xa0\x80\"")),
        ("a byte that begins nothing", body(b"\"\xff\"")),
        ("a character cut short", body(b"\"\xf0\x9f\x98\"")),
        (
            "a character written longer than it is",
            body(b"\"\xc0\xaf\""),
        ),
        ("a character beyond the last", body(b"\"\xf4\x90\x80\x80\"")),
        ("one byte too much", text(&filled("x", LIMIT + 1))),
        ("one character too much", text(&filled("😀", LIMIT + 4))),
        ("nothing", text("")),
    ];
    for space in " \t\n\r\u{b}\u{c}\u{85}\u{a0}\u{1680}\u{2000}\u{2003}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}".chars() {
        all.push(("only space", text(&space.to_string().repeat(3))));
    }
    all
}

/// Guests that a pattern would mix up with each other. Those of dots alone cannot be sent by this client: see tests/http/raw.rs.
pub(crate) const GUESTS: [&str; 12] = [
    "a_b",
    "axb",
    "a.b",
    "a-b",
    "a:b",
    "A_B",
    "a~b",
    "a@b",
    "-",
    "guest:a_b",
    "a_b:head",
    "~",
];

/// Users that a pattern, a statement or a normal form would mix up with each other.
pub(crate) const USERS: [&str; 18] = [
    "%",
    "_",
    "u%",
    "u_",
    "ux",
    "u*",
    "u?",
    "[u]",
    "\u{e9}",
    "e\u{301}",
    "'; DROP TABLE usage_metrics; --",
    "$1",
    "\\",
    "a/b",
    "<b>",
    "{\"a\":1}",
    "😀",
    " u",
];

/// Keys of idempotency: the same for one guest only where they are the same.
pub(crate) const KEYS: [&str; 10] = [
    "k%",
    "k_",
    "kx",
    "k*",
    "K%",
    "k'; --",
    "{\"k\":1}",
    "$1",
    "k\\",
    "../k",
];
