//! Reading a chat in answers of bounded size, whatever its messages hold.

use super::Service;
use super::turns::Turn;
use crate::chat::{Message, Timestamp};
use crate::error::Result;
use crate::storage::database::{CacheVersion, ChatKey, History, Page, PageStart};
use std::time::Instant;

/// Bytes of contents and metadata in one answer; the message that reaches it is the last. Ten thousand messages of the usual
/// size stay far below it, and ten thousand of the largest allowed would be 640 MB.
const ANSWER_BYTES: usize = 16 << 20;
/// Messages read from the database at a time, at most.
const STEP: usize = 512;
/// An answer of more bytes of contents and metadata is a long one.
const SHORT_BYTES: usize = 1 << 20;

/// How long a page of a chat is what would be read: until something changes it, or the chat ends.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(Default))]
pub struct Standing {
    version: CacheVersion,
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
        let stands = self.0.parts.database.is_fresh(&page.version)
            && page.ends.is_none_or(|end| end > self.now());
        if stands {
            self.0.metrics.read(true, began.elapsed());
        }
        stands
    }

    /// A page of a guest's chat or of a conversation, counted as a read; `None` when there is none. A page ends early when it
    /// holds 16 MiB; whoever asked sees from its last (or first) sequence that there is more. Keep the turn until the answer is made.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn history(&self, chat: &ChatKey, page: Page) -> Result<Option<(History, Turn)>> {
        let began = Instant::now();
        let read = self.page(chat, page).await?;
        let found = read
            .as_ref()
            .is_some_and(|(history, _)| !history.messages.is_empty());
        self.0.metrics.read(found, began.elapsed());
        Ok(read)
    }

    async fn page(&self, chat: &ChatKey, page: Page) -> Result<Option<(History, Turn)>> {
        let turn = self.turn().await;
        let Some(read) = self.begun(chat, page, SHORT_BYTES).await? else {
            return Ok(None);
        };
        if read.is_whole(page) {
            return Ok(Some((read.page(page), turn)));
        }
        drop((read, turn)); // many may wait here, and none of them holds anything meanwhile
        let turn = self.long_turn().await;
        let read = self.begun(chat, page, usize::MAX).await?;
        Ok(read.map(|read| (read.page(page), turn)))
    }

    /// What is read of a page until it is whole, or will have more bytes than this.
    async fn begun(&self, chat: &ChatKey, page: Page, most: usize) -> Result<Option<Read>> {
        let Some(mut read) = self.step(chat, page, Turn::SHORT).await? else {
            return Ok(None);
        };
        while !read.is_whole(page) && read.expected(page) <= most {
            let rest = Page {
                limit: page.limit - read.history.messages.len(),
                from: beyond(page.from, &read.history.messages),
            };
            let more = self.step(chat, rest, read.more()).await?;
            // What was deleted meanwhile and begun anew is another chat.
            let more =
                more.filter(|more| more.history.conversation.id == read.history.conversation.id);
            let Some(more) = more else {
                read.is_last = true;
                break;
            };
            read.is_last = more.is_last;
            join(page.from, &mut read.history, more.history);
        }
        Ok(Some(read))
    }

    async fn step(&self, chat: &ChatKey, page: Page, most: usize) -> Result<Option<Read>> {
        let limit = page.limit.min(most);
        let page = Page { limit, ..page };
        let database = &self.0.parts.database;
        let history = database.history(chat, page, self.now()).await?;
        Ok(history.map(|history| Read {
            is_last: history.messages.len() < limit,
            history,
        }))
    }
}

/// What has been read of a page.
struct Read {
    history: History,
    /// Whether there is nothing beyond: a step that is not full was the last one.
    is_last: bool,
}

impl Read {
    fn is_whole(&self, page: Page) -> bool {
        let messages = &self.history.messages;
        self.is_last || messages.len() >= page.limit || held(messages) >= ANSWER_BYTES
    }

    /// The bytes of the page, and as many messages as fill it up, if all are like those that were read.
    fn expected(&self, page: Page) -> usize {
        let there = usize::try_from(self.history.conversation.message_count).unwrap_or(usize::MAX);
        self.of_one().saturating_mul(page.limit.min(there))
    }

    fn more(&self) -> usize {
        let left = ANSWER_BYTES.saturating_sub(held(&self.history.messages));
        (left / self.of_one() + 1).min(STEP)
    }

    fn of_one(&self) -> usize {
        let messages = &self.history.messages;
        (held(messages) / messages.len().max(1)).max(1)
    }

    fn page(mut self, page: Page) -> History {
        shorten(page.from, &mut self.history.messages);
        self.history
    }
}

fn held(messages: &[Message]) -> usize {
    messages.iter().map(bytes).sum()
}

fn bytes(message: &Message) -> usize {
    let metadata = message.metadata.as_ref();
    let external_id = message.external_id.as_ref();
    message.content.as_str().len()
        + metadata.map_or(0, |metadata| metadata.as_str().len())
        + external_id.map_or(0, |id| id.len())
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
