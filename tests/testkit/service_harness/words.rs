//! The words the laws are written in.

use guestbook::core::{Content, GuestId, MessageId, NewMessage, OwnerId, Role, Timestamp};
use guestbook::service::{GroupOutcome, SavedMessage};
use guestbook::storage::database::{PageRange, PageStart};
use std::future::Future;
use std::time::{Duration, Instant};
use uuid::Uuid;

pub const SECOND: Duration = Duration::from_secs(1);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(86_400);
/// A page that holds everything.
pub const WHOLE_CHAT: PageRange = PageRange {
    limit: 1_000_000,
    from: PageStart::At(0),
};
/// How long a law waits for what must happen by itself; long, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The noon at which every law begins.
pub fn noon() -> Timestamp {
    Timestamp::parse("2100-06-15T12:00:00Z").unwrap()
}

pub fn guest(name: &str) -> GuestId {
    GuestId::parse(name).unwrap()
}

pub fn user(name: &str) -> OwnerId {
    OwnerId::parse("user", name).unwrap()
}

/// A message of a guest, under an id that may be sent again.
pub fn says(name: &str, text: &str) -> NewMessage {
    let content = Content::parse(text, 65_536).unwrap();
    let id = MessageId(Uuid::now_v7());
    NewMessage::new(id, guest(name), Role::User, content, noon()).with_client_id(id)
}

/// One message as the only group of a request.
pub fn alone(message: NewMessage) -> Vec<Vec<NewMessage>> {
    vec![vec![message]]
}

/// What was saved, of an answer that must be just that.
pub fn saved(answer: &GroupOutcome) -> &[SavedMessage] {
    match answer {
        GroupOutcome::Saved(saved) => saved,
        other => panic!("not saved: {other:?}"),
    }
}

/// Waits until something holds that must come about by itself.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
