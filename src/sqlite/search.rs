//! Searches the messages of a guest or a user. Rows are compared on the reading thread.

use super::readers::{ScanLimit, Scanned};
use super::rows::{self, Id};
use super::{NAME, SqliteDatabase, chats, sql, text};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    ContextBudget, Conversation, ConversationId, Hit, Message, MessagePosition, MessageSummary,
    ModelId, Role, Score, SearchResults, SelectedMessage, SelectionRange, Timestamp, TopK, Words,
    choose,
};
use guestbook_storage::database::{
    ChatKey, Context, ContextMessage, ContextRequest, RELEVANT, Search, SearchQuery, SearchRequest,
    SearchScope, WordsRequest, no_text_index,
};
use guestbook_storage::scan::{ScanResults, VectorScan};
use rusqlite::{Row, Transaction, params};
use std::sync::atomic::Ordering;

#[async_trait]
impl Search for SqliteDatabase {
    async fn search(&self, request: SearchRequest) -> Result<SearchResults> {
        self.readers
            .scan("search", move |tx, limit| {
                let chats = conversations(tx, &request.scope, request.now)?;
                if !limit.holds(&chats) {
                    return Ok(Scanned::TooLong);
                }
                match &request.sought {
                    SearchQuery::Meaning { model, vector } => {
                        let mut scan = VectorScan::new(vector, request.k.get());
                        for chat in &chats {
                            let statement = sql::VECTORS_OF_CONVERSATION;
                            compare(tx, statement, chat.id, model, &mut scan, |_| Ok(()))?;
                        }
                        by_meaning(tx, scan.end())
                    }
                    SearchQuery::Text(words) => by_words(tx, &chats, words, request.k.get()),
                }
                .map(Scanned::Done)
            })
            .await
    }

    async fn search_words(&self, request: WordsRequest) -> Result<SearchResults> {
        if !self.text_index.load(Ordering::Relaxed) {
            return Err(no_text_index(NAME));
        }
        self.read_long("search_words", move |tx| text::search(tx, &request))
            .await
    }

    async fn context(&self, request: ContextRequest) -> Result<Option<Context>> {
        self.readers
            .scan("context", move |tx, limit| {
                let guest = ChatKey::Guest(request.guest.clone());
                let chat = chats::find(tx, &guest, request.now)?;
                // Without a question only the end of the chat is read, as far as the budget reaches.
                if request.about.is_some() && !limit.holds(chat.as_slice()) {
                    return Ok(Scanned::TooLong);
                }
                let context = chat.map(|chat| context(tx, chat.id, &request)).transpose();
                context.map(Scanned::Done)
            })
            .await
    }
}

impl ScanLimit {
    fn holds(self, chats: &[Conversation]) -> bool {
        chats.iter().map(|chat| chat.message_count).sum::<u64>() <= self.0
    }
}

fn conversations(
    tx: &Transaction<'_>,
    scope: &SearchScope,
    now: Timestamp,
) -> rusqlite::Result<Vec<Conversation>> {
    match scope {
        SearchScope::Guest(guest) => {
            let found = chats::find(tx, &ChatKey::Guest(guest.clone()), now)?;
            Ok(found.into_iter().collect())
        }
        SearchScope::User(user) => chats::owned(tx, user, None, usize::MAX >> 1),
    }
}

/// Passes every message of a conversation to `scan`, in order of sequence, and its row to `also`. The statement's first columns
/// are the sequence and the vector.
fn compare(
    tx: &Transaction<'_>,
    statement: &str,
    conversation: ConversationId,
    model: &ModelId,
    scan: &mut VectorScan,
    mut also: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut select = tx.prepare_cached(statement)?;
    let mut found = select.query(params![Id(conversation.0), model.as_str()])?;
    while let Some(row) = found.next()? {
        let place = MessagePosition {
            conversation,
            sequence: row.get(0)?,
        };
        scan.see(place, row.get_ref(1)?.as_blob_or_null()?);
        also(row)?;
    }
    Ok(())
}

fn by_meaning(tx: &Transaction<'_>, scanned: ScanResults) -> rusqlite::Result<SearchResults> {
    let mut hits = Vec::with_capacity(scanned.best.len());
    for (score, place) in scanned.best {
        let message = message(tx, place)?;
        hits.push(Hit::new(place.conversation, message, score));
    }
    Ok(SearchResults {
        hits,
        searched: scanned.searched,
        of: scanned.of,
    })
}

/// Searches from the newest message on, until there are enough hits.
fn by_words(
    tx: &Transaction<'_>,
    chats: &[Conversation],
    words: &Words,
    wanted: usize,
) -> rusqlite::Result<SearchResults> {
    let of = chats.iter().map(|chat| chat.message_count).sum();
    let mut best = TopK::of(wanted);
    let mut select = tx.prepare_cached(sql::MESSAGES_DOWN)?;
    for chat in chats {
        let mut found = select.query(params![Id(chat.id.0), i64::MAX, i64::MAX])?;
        while let Some(row) = found.next()?
            && best.least().is_none()
        {
            if words.are_all_in(row.get_ref(3)?.as_str()?) {
                let sequence = row.get(1)?;
                best.offer(MessagePosition {
                    conversation: chat.id,
                    sequence,
                });
            }
        }
    }
    let hit = |place: MessagePosition| {
        let message = message(tx, place)?;
        Ok(Hit::new(place.conversation, message, Score::FULL))
    };
    Ok(SearchResults {
        hits: best
            .into_sorted()
            .into_iter()
            .map(hit)
            .collect::<rusqlite::Result<_>>()?,
        searched: of,
        of,
    })
}

fn context(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    request: &ContextRequest,
) -> rusqlite::Result<Context> {
    let mut context = Context::default();
    let mut relevant = Vec::new();
    let outline = match &request.about {
        None => newest(tx, conversation, request.budget)?,
        Some((model, vector)) => {
            let mut outline = Vec::new();
            let mut scan = VectorScan::new(vector, RELEVANT);
            let statement = sql::MESSAGES_WITH_VECTORS;
            compare(tx, statement, conversation, model, &mut scan, |row| {
                outline.push(sketch(row, 2)?);
                Ok(())
            })?;
            let scanned = scan.end();
            (context.searched, context.of) = (scanned.searched, scanned.of);
            relevant.extend(scanned.best.iter().map(|(score, at)| (at.sequence, *score)));
            outline
        }
    };
    let chosen = choose(request.budget, &outline, &relevant);
    let read = |chosen: SelectedMessage| {
        let sequence = chosen.sequence;
        let place = MessagePosition {
            conversation,
            sequence,
        };
        Ok(ContextMessage {
            message: message(tx, place)?,
            tokens: chosen.tokens,
            why: chosen.why,
        })
    };
    let messages: rusqlite::Result<_> = chosen.into_iter().map(read).collect();
    context.messages = messages?;
    Ok(context)
}

/// The end of a conversation, as far back as the budget can reach.
fn newest(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    budget: ContextBudget,
) -> rusqlite::Result<Vec<MessageSummary>> {
    let mut select = tx.prepare_cached(sql::MESSAGES_SKETCHED)?;
    let mut found = select.query(params![Id(conversation.0), i64::MAX, i64::MAX])?;
    let mut outline = Vec::new();
    let mut reach = SelectionRange::of(budget);
    while let Some(row) = found.next()? {
        let message = sketch(row, 1)?;
        outline.push(message);
        if !reach.goes_beyond(&message) {
            break;
        }
    }
    outline.reverse();
    Ok(outline)
}

/// The sequence is the first column; role, tokens and bytes begin at `from`.
fn sketch(row: &Row<'_>, from: usize) -> rusqlite::Result<MessageSummary> {
    let role = row.get_ref(from)?.as_str()?;
    Ok(MessageSummary {
        sequence: row.get(0)?,
        role: Role::parse(role).map_err(|_| rows::unreadable(from, "role"))?,
        tokens: row.get(from + 1)?,
        bytes: row.get(from + 2)?,
    })
}

/// A message found in the same snapshot.
pub(super) fn message(tx: &Transaction<'_>, place: MessagePosition) -> rusqlite::Result<Message> {
    let mut select = tx.prepare_cached(sql::MESSAGES_UP)?;
    select.query_row(
        params![Id(place.conversation.0), place.sequence, 1],
        rows::message,
    )
}
