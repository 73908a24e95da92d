//! A request that no good client sends, and what must come of it.

/// What the client does once it has sent everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Then {
    /// It waits for answers.
    Listens,
    /// It says that nothing more comes, and waits.
    EndsItsSide,
    /// It goes away at once.
    Leaves,
}

/// What the server does with the connection afterwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum After {
    /// It closes it: it is not certain where the next request would begin, or the client asked for it.
    Closes,
    /// It takes the next request on it.
    Keeps,
}

/// What the last answer holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Holds {
    /// A document of ours.
    Json,
    /// `application/problem+json` with the answer's status.
    Problem,
    /// Nothing: the HTTP library refused it before any code of ours saw it, and its refusals have no body. It closes the connection then.
    Nothing,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
    /// The statuses of the answers that come, in order.
    pub(crate) answers: &'static [u16],
    pub(crate) holds: Holds,
    pub(crate) after: After,
    /// Messages that are stored by it.
    pub(crate) stores: u64,
}

impl Row {
    fn new(
        name: &'static str,
        bytes: impl Into<Vec<u8>>,
        answers: &'static [u16],
        holds: Holds,
        after: After,
    ) -> Self {
        Self {
            name,
            bytes: bytes.into(),
            then: Then::Listens,
            answers,
            holds,
            after,
            stores: 0,
        }
    }

    /// Refused by the HTTP library, which closes the connection: nothing behind it is looked at.
    pub(crate) fn cut(
        name: &'static str,
        bytes: impl Into<Vec<u8>>,
        answer: &'static [u16],
    ) -> Self {
        Self::new(name, bytes, answer, Holds::Nothing, After::Closes)
    }

    /// Refused by us, with a reason; the connection is closed, because the rest of it cannot be trusted.
    pub(crate) fn refused(
        name: &'static str,
        bytes: impl Into<Vec<u8>>,
        answers: &'static [u16],
    ) -> Self {
        Self::new(name, bytes, answers, Holds::Problem, After::Closes)
    }

    /// Refused by us, with a reason; where the next request begins is certain.
    pub(crate) fn told(
        name: &'static str,
        bytes: impl Into<Vec<u8>>,
        answers: &'static [u16],
    ) -> Self {
        Self::new(name, bytes, answers, Holds::Problem, After::Keeps)
    }

    /// Odd, and all right.
    pub(crate) fn taken(
        name: &'static str,
        bytes: impl Into<Vec<u8>>,
        answers: &'static [u16],
    ) -> Self {
        Self::new(name, bytes, answers, Holds::Json, After::Keeps)
    }

    pub(crate) fn storing(mut self, messages: u64) -> Self {
        self.stores = messages;
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// The connection is closed after it.
    pub(crate) fn closing(mut self) -> Self {
        self.after = After::Closes;
        self
    }
}

/// A good message.
pub(crate) const HELLO: &str =
    r#"{"role":"user","content":"Hello","timestamp":"2025-12-21T12:00:00Z"}"#;

/// A whole good request that must never be seen as one where it stands in a row.
pub(crate) fn smuggled() -> String {
    post("smuggled", "", HELLO)
}

/// A message to a guest, of a certain length.
pub(crate) fn post(guest: &str, headers: &str, body: &str) -> String {
    let length = format!("Content-Length: {}\r\n{headers}", body.len());
    unmeasured(guest, &length, body)
}

/// The same with no word about its length but those in `headers`.
pub(crate) fn unmeasured(guest: &str, headers: &str, body: &str) -> String {
    format!(
        "POST /v1/guest/chat/{guest} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
    )
}

/// A request without a body.
pub(crate) fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}
