//! The words the laws are written in.

use guestbook::chat::{Content, GuestId, MessageId, NewMessage, OwnerId, Role, Timestamp};
use guestbook::service::{Answer, Saved};
use std::future::Future;
use std::time::{Duration, Instant};
use uuid::Uuid;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// How long a law waits for what must happen by itself; long, because the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The noon at which every law begins.
pub(crate) fn noon() -> Timestamp {
    Timestamp::parse("2100-06-15T12:00:00Z").unwrap()
}

pub(crate) fn guest(name: &str) -> GuestId {
    GuestId::parse(name).unwrap()
}

pub(crate) fn user(name: &str) -> OwnerId {
    OwnerId::parse("user", name).unwrap()
}

/// A message of a guest, under an id that may be sent again.
pub(crate) fn says(name: &str, text: &str) -> NewMessage {
    let content = Content::parse(text, 65_536).unwrap();
    let id = MessageId(Uuid::now_v7());
    NewMessage::new(id, guest(name), Role::User, content, noon()).with_client_id(id)
}

/// One message as the only group of a request.
pub(crate) fn alone(message: NewMessage) -> Vec<Vec<NewMessage>> {
    vec![vec![message]]
}

/// What was saved, of an answer that must be just that.
pub(crate) fn saved(answer: &Answer) -> &[Saved] {
    match answer {
        Answer::Saved(saved) => saved,
        other => panic!("not saved: {other:?}"),
    }
}

/// Waits until something holds that must come about by itself.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
