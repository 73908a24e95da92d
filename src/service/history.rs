//! Reading a chat in pages of bounded size, whatever its messages hold: a short page at once, a long one in steps.

use super::Service;
use super::read_limit::ReadPermit;
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{Conversation, Message, Timestamp};
use guestbook_storage::database::{
    CacheVersion, ChatKey, History, MessageSize, PageRange, PageStart,
};
use std::collections::VecDeque;
use std::time::Instant;

/// Bytes of contents and metadata per page; the message that reaches the limit is the last. 10,000 messages of the usual size
/// stay far below it; 10,000 of the largest allowed size would be 640 MB.
const PAGE_BYTES: usize = 16 << 20;
/// A page with more bytes of contents and metadata is read in steps.
const SHORT_BYTES: usize = 1 << 20;
/// Bytes per step; the message that reaches the limit is the last.
const STEP_BYTES: usize = 256 << 10;
/// Messages per step at most.
const STEP: usize = 512;

/// Validates a cached page: it is fresh until a write invalidates it or the chat expires.
#[derive(Clone, Copy, Debug, Default)]
pub struct Freshness {
    version: CacheVersion,
    ends: Option<Timestamp>,
}

/// A page of a chat with at most one step in memory. Its messages are fixed when the request is planned.
#[derive(Debug)]
pub struct HistoryPage {
    service: Service,
    conversation: Conversation,
    version: Option<CacheVersion>,
    bounds: Option<(u64, u64)>,
    steps: VecDeque<Step>,
    /// The permit of what is read already.
    permit: Option<ReadPermit>,
}

/// Consecutive messages.
#[derive(Debug)]
enum Step {
    Read(Vec<Message>),
    Unread(Unread),
}

/// Messages still to read.
#[derive(Clone, Copy, Debug)]
struct Unread {
    first: u64,
    last: u64,
    count: usize,
    /// Of contents and metadata.
    bytes: usize,
}

impl Service {
    /// Whether a cached page is still current; a fresh page counts as a read that found it.
    pub fn is_fresh(&self, page: &Freshness) -> bool {
        let began = Instant::now();
        let is_fresh = self.stores().chats.is_fresh(&page.version)
            && page.ends.is_none_or(|end| end > self.now());
        if is_fresh {
            self.0.metrics.read(true, began.elapsed());
        }
        is_fresh
    }

    /// The conversation without messages; not counted as a read.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn conversation(&self, chat: &ChatKey) -> Result<Option<HistoryPage>> {
        let page = PageRange {
            limit: 0,
            from: PageStart::At(0),
        };
        let permit = self.read_permit().await;
        let read = self.stores().chats.history(chat, page, self.now()).await?;
        Ok(read.map(|read| HistoryPage::of(self, read, permit)))
    }

    /// Counts a read whose client already has the current version.
    pub fn count_unchanged(&self, began: Instant) {
        self.0.metrics.read(true, began.elapsed());
    }

    /// A page of a guest's chat or of a conversation, counted as a read; `None` when there is none. A page ends early at 16 MiB;
    /// its last (or first) sequence shows the client that there is more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn history(&self, chat: &ChatKey, page: PageRange) -> Result<Option<HistoryPage>> {
        let began = Instant::now();
        let read = self.page(chat, page).await?;
        let found = read.as_ref().is_some_and(|page| page.bounds.is_some());
        self.0.metrics.read(found, began.elapsed());
        Ok(read)
    }

    /// As [`Self::history`], not counted as a read.
    pub(super) async fn page(
        &self,
        chat: &ChatKey,
        page: PageRange,
    ) -> Result<Option<HistoryPage>> {
        let permit = self.read_permit().await;
        let chats = &self.stores().chats;
        let limit = page.limit.min(ReadPermit::SHORT);
        let first = PageRange { limit, ..page };
        let Some(read) = chats.history(chat, first, self.now()).await? else {
            return Ok(None);
        };
        let (count, bytes) = (read.messages.len(), bytes_of(&read.messages));
        let is_whole = count < limit || count == page.limit;
        if is_whole && bytes <= SHORT_BYTES {
            return Ok(Some(HistoryPage::of(self, read, permit)));
        }
        let rest = PageRange {
            limit: page.limit - count,
            from: beyond(page.from, &read.messages),
        };
        let more = match is_whole {
            true => Vec::new(),
            false => match self.sizes(&read.conversation, rest).await? {
                Some(sizes) => sizes,
                None => return Ok(None),
            },
        };
        if bytes + more.iter().map(|size| size.bytes).sum::<usize>() > SHORT_BYTES {
            drop(permit); // the page waits for memory before it reads its steps
            return Ok(Some(HistoryPage::planned(self, page.from, read, more)));
        }
        let read = match more.len() {
            0 => Some(read),
            limit => self.join(read, PageRange { limit, ..rest }).await?,
        };
        Ok(read.map(|read| HistoryPage::of(self, read, permit)))
    }

    /// The sizes of the rest of a page; `None` if the chat was erased since its row was read. What was appended since is no part
    /// of the page: its row, which its `ETag` is made of, does not count it.
    async fn sizes(
        &self,
        conversation: &Conversation,
        rest: PageRange,
    ) -> Result<Option<Vec<MessageSize>>> {
        let chats = &self.stores().chats;
        let mut sizes = chats.message_sizes(conversation.id, rest).await?;
        sizes.retain(|size| size.sequence < conversation.message_count);
        let due = match rest.from {
            PageStart::At(first) => conversation.message_count.saturating_sub(first),
            PageStart::Below(end) => end,
        };
        let due = usize::try_from(due).unwrap_or(usize::MAX).min(rest.limit);
        // A damaged chat may lack messages, too: what is left of it is served.
        if sizes.len() < due && !self.is_there(conversation).await? {
            return Ok(None);
        }
        Ok(Some(sizes))
    }

    async fn is_there(&self, conversation: &Conversation) -> Result<bool> {
        let none = PageRange {
            limit: 0,
            from: PageStart::At(0),
        };
        let chat = ChatKey::Conversation(conversation.id);
        let found = self.stores().chats.history(&chat, none, self.now()).await?;
        Ok(found.is_some())
    }

    /// Joins the messages read so far with the rest of a short page; `None` if the chat was erased meanwhile. The row and the
    /// version stay those of the first read: the page is what the row counts.
    async fn join(&self, mut read: History, rest: PageRange) -> Result<Option<History>> {
        let chat = ChatKey::Conversation(read.conversation.id);
        let more = self.stores().chats.history(&chat, rest, self.now()).await?;
        Ok(more.map(|more| {
            match rest.from {
                PageStart::At(_) => read.messages.extend(more.messages),
                PageStart::Below(_) => drop(read.messages.splice(0..0, more.messages)),
            }
            read
        }))
    }
}

impl HistoryPage {
    /// A page that is read completely.
    fn of(service: &Service, read: History, permit: ReadPermit) -> Self {
        let History {
            conversation,
            messages,
            version,
        } = read;
        let first = messages.first().map(|message| message.sequence);
        let last = messages.last().map(|message| message.sequence);
        Self {
            service: service.clone(),
            conversation,
            version,
            bounds: first.zip(last),
            steps: [Step::Read(messages)].into(),
            permit: Some(permit),
        }
    }

    /// A page too long to read at once. What was read to see that is read again: until there is memory for a step, nothing is
    /// held, neither rows nor a permit.
    fn planned(
        service: &Service,
        from: PageStart,
        read: History,
        mut more: Vec<MessageSize>,
    ) -> Self {
        let mut sizes: Vec<_> = read.messages.iter().map(MessageSize::from).collect();
        match from {
            PageStart::At(_) => sizes.append(&mut more),
            PageStart::Below(_) => drop(sizes.splice(0..0, more)),
        }
        shorten(from, &mut sizes);
        let first = sizes.first().map(|it| it.sequence);
        let last = sizes.last().map(|it| it.sequence);
        Self {
            service: service.clone(),
            conversation: read.conversation,
            version: read.version,
            bounds: first.zip(last),
            steps: steps(&sizes),
            permit: None,
        }
    }

    /// The conversation when the page was planned.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// The sequences of its first and its last message, if it has any.
    pub fn bounds(&self) -> Option<(u64, u64)> {
        self.bounds
    }

    /// See [`CacheVersion::generation`]; 0 where several nodes write the same tables.
    pub fn generation(&self) -> u64 {
        self.version.map_or(0, |version| version.generation())
    }

    /// `None` for a page that has to be read each time, and for one without a message, which counts as a miss.
    pub fn freshness(&self) -> Option<Freshness> {
        let version = self.version.filter(|_| self.bounds.is_some())?;
        let ends = self.conversation.expires_at;
        Some(Freshness { version, ends })
    }

    /// Whether it is read in steps, of which none is read yet.
    pub fn is_long(&self) -> bool {
        self.unread().next().is_some()
    }

    /// Bytes of contents and metadata that its largest unread step holds.
    pub fn largest_step(&self) -> usize {
        self.unread().map(|step| step.bytes).max().unwrap_or(0)
    }

    /// Bytes of contents and metadata still to read.
    pub fn unread_bytes(&self) -> usize {
        self.unread().map(|step| step.bytes).sum()
    }

    fn unread(&self) -> impl Iterator<Item = &Unread> {
        self.steps.iter().filter_map(|step| match step {
            Step::Read(_) => None,
            Step::Unread(step) => Some(step),
        })
    }

    /// Whether no step remains.
    pub fn is_read(&self) -> bool {
        self.steps.is_empty()
    }

    /// The messages of the next step in order of sequence, and the permit to hold them; `None` at the end. Whoever waits for
    /// memory with the permit in hand must not be asked for this meanwhile: steps are read by who has memory.
    ///
    /// # Errors
    /// Those of the database. `Conflict` if the page's messages were changed meanwhile; appends are no change.
    pub async fn next(&mut self) -> Option<Result<(Vec<Message>, ReadPermit)>> {
        let step = self.steps.pop_front()?;
        let permit = match self.permit.take() {
            Some(permit) => permit,
            None => self.service.step_permit().await,
        };
        let messages = match step {
            Step::Read(messages) => Ok(messages),
            Step::Unread(step) => self.read(step).await,
        };
        Some(messages.map(|messages| (messages, permit)))
    }

    async fn read(&self, step: Unread) -> Result<Vec<Message>> {
        let Unread {
            first, last, count, ..
        } = step;
        let page = PageRange {
            limit: count,
            from: PageStart::At(first),
        };
        let chat = ChatKey::Conversation(self.conversation.id);
        let service = &self.service;
        let read = service
            .stores()
            .chats
            .history(&chat, page, service.now())
            .await?;
        let is_same = |read: &History| {
            let generation = read.version.map_or(0, |version| version.generation());
            let ends = (
                read.messages.first().map(|it| it.sequence),
                read.messages.last().map(|it| it.sequence),
            );
            generation == self.generation()
                && read.conversation.owner == self.conversation.owner
                && read.conversation.platform == self.conversation.platform
                && (read.messages.len(), ends) == (count, (Some(first), Some(last)))
        };
        let changed = || {
            let context = "the chat was changed while it was read; ask again";
            Error::new(ErrorKind::Conflict, "service", "history", context)
        };
        read.filter(is_same)
            .map(|read| read.messages)
            .ok_or_else(changed)
    }
}

/// Splits the messages into steps of bounded size.
fn steps(sizes: &[MessageSize]) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    for size in sizes {
        match steps.back_mut() {
            Some(Step::Unread(step)) if step.bytes < STEP_BYTES && step.count < STEP => {
                step.last = size.sequence;
                step.count += 1;
                step.bytes += size.bytes;
            }
            _ => steps.push_back(Step::Unread(Unread {
                first: size.sequence,
                last: size.sequence,
                count: 1,
                bytes: size.bytes,
            })),
        }
    }
    steps
}

fn bytes_of(messages: &[Message]) -> usize {
    messages
        .iter()
        .map(|message| MessageSize::from(message).bytes)
        .sum()
}

/// Where the rest of a page begins.
fn beyond(from: PageStart, messages: &[Message]) -> PageStart {
    match (from, messages.first(), messages.last()) {
        (PageStart::At(_), _, Some(last)) => PageStart::At(last.sequence + 1),
        (PageStart::Below(_), Some(first), _) => PageStart::Below(first.sequence),
        (from, ..) => from,
    }
}

/// Drops the messages beyond a page's bytes, at the far end.
fn shorten(from: PageStart, sizes: &mut Vec<MessageSize>) {
    let mut bytes = 0;
    let mut fits = |size: &&MessageSize| {
        let has_room = bytes < PAGE_BYTES;
        bytes += size.bytes;
        has_room
    };
    match from {
        PageStart::At(_) => {
            let kept = sizes.iter().take_while(&mut fits).count();
            sizes.truncate(kept);
        }
        PageStart::Below(_) => {
            let kept = sizes.iter().rev().take_while(&mut fits).count();
            sizes.drain(..sizes.len() - kept);
        }
    }
}
