//! Pages that were read, to be looked at again after everything that is done: while a database calls one current, it must be what
//! would be read. Every operation there is passes here, so none can change a chat and leave its pages current.

use guestbook::core::Timestamp;
use guestbook::storage::Chats;
use guestbook::storage::database::{ChatKey, History, PageRange};

/// Pages that are held at most; the oldest go first.
const MOST: usize = 12;

#[derive(Default)]
pub(crate) struct Held(Vec<(ChatKey, PageRange, History)>);

impl Held {
    pub(crate) fn hold(&mut self, key: &ChatKey, page: PageRange, read: &History) {
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push((key.clone(), page, read.clone()));
    }

    /// Fails when a page that is current is not what is read at `now`.
    pub(crate) async fn look(&mut self, database: &dyn Chats, now: Timestamp) {
        let current = |held: &History| {
            let version = held.version.as_ref();
            version.is_some_and(|version| database.is_fresh(version))
        };
        self.0.retain(|(_, _, held)| current(held));
        for (key, page, held) in &self.0 {
            let end = held.conversation.expires_at;
            if end.is_some_and(|end| end <= now) {
                continue; // whoever holds a page has to look at the time
            }
            let read = database.history(key, *page, now).await.unwrap();
            let read = read.map(|read| (read.conversation, read.messages));
            let held = (held.conversation.clone(), held.messages.clone());
            assert_eq!(read, Some(held), "a page that is called current");
        }
    }
}
