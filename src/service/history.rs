//! Reading a chat in answers of bounded size, whatever its messages hold.

use super::Service;
use crate::chat::{Message, Timestamp};
use crate::error::Result;
use crate::storage::database::{ChatKey, History, Page, PageStart, Version};
use std::time::Instant;

/// Bytes of contents and metadata in one answer; the message that reaches it is the last. Ten thousand messages of the usual
/// size stay far below it, and ten thousand of the largest allowed would be 640 MB.
const ANSWER_BYTES: usize = 16 << 20;
/// Messages read from the database at a time: with the largest allowed contents 32 MiB.
const STEP: usize = 512;

/// How long a page of a chat is what would be read: until something changes it, or the chat ends.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(Default))]
pub struct Standing {
    version: Version,
    ends: Option<Timestamp>,
}

impl Standing {
    /// Of a page that was just read; `None` for one that has to be read each time, and for one without a message, which counts as
    /// a miss.
    pub fn of(history: &History) -> Option<Self> {
        let version = history.version.filter(|_| !history.messages.is_empty())?;
        let ends = history.conversation.expires_at;
        Some(Self { version, ends })
    }
}

impl Service {
    /// Whether a page still is what would be read now, which is then counted as a read that found it.
    pub fn stands(&self, page: &Standing) -> bool {
        let began = Instant::now();
        let stands = self.0.parts.database.is_current(&page.version)
            && page.ends.is_none_or(|end| end > self.now());
        if stands {
            self.0.metrics.read(true, began.elapsed());
        }
        stands
    }

    /// A page of a guest's chat or of a conversation, counted as a read; `None` when there is none. A page ends early when it
    /// holds 16 MiB; whoever asked sees from its last (or first) sequence that there is more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn history(&self, chat: &ChatKey, page: Page) -> Result<Option<History>> {
        let began = Instant::now();
        let history = self.page(chat, page).await?;
        let found = history
            .as_ref()
            .is_some_and(|history| !history.messages.is_empty());
        self.0.metrics.read(found, began.elapsed());
        Ok(history)
    }

    async fn page(&self, chat: &ChatKey, page: Page) -> Result<Option<History>> {
        let Some(mut history) = self.step(chat, page).await? else {
            return Ok(None);
        };
        let mut read = history.messages.len();
        // A step that is not full was the last one.
        while read == STEP && read_on(&history.messages, page) {
            let rest = Page {
                limit: page.limit - history.messages.len(),
                from: beyond(page.from, &history.messages),
            };
            let more = self.step(chat, rest).await?;
            // What was deleted meanwhile and begun anew is another chat.
            let Some(more) = more.filter(|more| more.conversation.id == history.conversation.id)
            else {
                break;
            };
            read = more.messages.len();
            join(page.from, &mut history, more);
        }
        shorten(page.from, &mut history.messages);
        Ok(Some(history))
    }

    async fn step(&self, chat: &ChatKey, page: Page) -> Result<Option<History>> {
        let page = Page {
            limit: page.limit.min(STEP),
            ..page
        };
        let database = &self.0.parts.database;
        database.history(chat, page, self.now()).await
    }
}

fn bytes(message: &Message) -> usize {
    let metadata = message.metadata.as_ref();
    message.content.as_str().len() + metadata.map_or(0, |metadata| metadata.as_str().len())
}

fn read_on(messages: &[Message], page: Page) -> bool {
    messages.len() < page.limit && messages.iter().map(bytes).sum::<usize>() < ANSWER_BYTES
}

/// Where the next step begins.
fn beyond(from: PageStart, messages: &[Message]) -> PageStart {
    match (from, messages.first(), messages.last()) {
        (PageStart::At(_), _, Some(last)) => PageStart::At(last.sequence + 1),
        (PageStart::Below(_), Some(first), _) => PageStart::Below(first.sequence),
        (from, ..) => from,
    }
}

fn join(from: PageStart, history: &mut History, more: History) {
    history.conversation = more.conversation; // but not its version: the first messages are not of then
    match from {
        PageStart::At(_) => history.messages.extend(more.messages),
        PageStart::Below(_) => {
            history.messages.splice(0..0, more.messages);
        }
    }
}

/// Leaves out what is beyond the bytes of an answer, at the far end.
fn shorten(from: PageStart, messages: &mut Vec<Message>) {
    let mut held = 0;
    let mut fits = |message: &&Message| {
        let has_room = held < ANSWER_BYTES;
        held += bytes(message);
        has_room
    };
    match from {
        PageStart::At(_) => {
            let kept = messages.iter().take_while(&mut fits).count();
            messages.truncate(kept);
        }
        PageStart::Below(_) => {
            let kept = messages.iter().rev().take_while(&mut fits).count();
            messages.drain(..messages.len() - kept);
        }
    }
}
