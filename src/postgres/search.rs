//! Searches the messages of a guest or a user. Rows are fetched in pages of bounded size from one snapshot, and compared here:
//! the server needs no extension.

use super::error::{Attempt, PostgresFault};
use super::rows::{count, get, id, int, moment, text};
use super::session::{BeginMode, EndMode, PooledConnection, statement};
use super::{NAME, PostgresDatabase, chats, rows, sql};
use async_trait::async_trait;
use guestbook_core::error::Result;
use guestbook_core::{
    ContextBudget, ConversationId, Hit, Message, MessagePosition, MessageSummary, ModelId, Role,
    Score, SearchResults, SelectedMessage, SelectionRange, Timestamp, TopK, Words, choose,
};
use guestbook_storage::database::{
    Context, ContextMessage, ContextRequest, RELEVANT, Search, SearchQuery, SearchRequest,
    SearchScope, WordsRequest, no_text_index,
};
use guestbook_storage::scan::{SHORT_SCAN, VectorScan};
use std::collections::HashMap;
use tokio_postgres::Row;

/// Vectors per page: 0.5 MB of the usual size, 3 MB of the largest known.
const PAGE_OF_VECTORS: u64 = 2048;
/// Messages without their contents per page.
const PAGE_OF_SKETCHES: u64 = 512;
/// Contents per page: 32 MiB of the largest allowed size.
const PAGE_OF_CONTENTS: u64 = 512;

#[async_trait]
impl Search for PostgresDatabase {
    async fn search(&self, request: SearchRequest) -> Result<SearchResults> {
        let found = match self.search_once(&request).await {
            Err(fault) if may_ask_again(&fault) => self.search_once(&request).await,
            other => other,
        };
        found.map_err(|fault| fault.into_error("search"))
    }

    async fn search_words(&self, request: WordsRequest) -> Result<SearchResults> {
        if !self.held().tables.text_index {
            return Err(no_text_index(NAME));
        }
        let found = match self.search_words_once(&request).await {
            Err(fault) if may_ask_again(&fault) => self.search_words_once(&request).await,
            other => other,
        };
        found.map_err(|fault| fault.into_error("search_words"))?
    }

    async fn context(&self, request: ContextRequest) -> Result<Option<Context>> {
        let found = match self.context_once(&request).await {
            Err(fault) if may_ask_again(&fault) => self.context_once(&request).await,
            other => other,
        };
        found.map_err(|fault| fault.into_error("context"))
    }
}

impl PostgresDatabase {
    /// Begins the snapshot of a search through these conversations: among the long reads if they have many messages.
    async fn scanning(
        &self,
        scope: &SearchScope,
        now: Timestamp,
    ) -> Attempt<(PooledConnection, Vec<SearchedChat>)> {
        let mut session = self.session().await?;
        let mut chats = conversations(&mut session, scope, now).await?;
        if chats.iter().map(|chat| chat.messages).sum::<u64>() > SHORT_SCAN {
            session.go_on(&[], EndMode::Commit).await?;
            drop(session);
            session = self.long_session().await?;
            chats = conversations(&mut session, scope, now).await?;
        }
        Ok((session, chats))
    }

    async fn search_once(&self, request: &SearchRequest) -> Attempt<SearchResults> {
        let (mut session, chats) = self.scanning(&request.scope, request.now).await?;
        match &request.sought {
            SearchQuery::Meaning { model, vector } => {
                let mut scan = VectorScan::new(vector, request.k.get());
                compare(&mut session, &chats, model, &mut scan, |_| Ok(())).await?;
                let scanned = scan.end();
                let places: Vec<_> = scanned.best.iter().map(|(_, place)| *place).collect();
                let mut messages = messages(&mut session, &places).await?;
                let hits = scanned.best.into_iter().filter_map(|(score, place)| {
                    let message = messages.remove(&place)?;
                    Some(Hit::new(place.conversation, message, score))
                });
                Ok(SearchResults {
                    hits: hits.collect(),
                    searched: scanned.searched,
                    of: scanned.of,
                })
            }
            SearchQuery::Text(words) => {
                by_words(&mut session, &chats, words, request.k.get()).await
            }
        }
    }

    async fn context_once(&self, request: &ContextRequest) -> Attempt<Option<Context>> {
        let scope = SearchScope::Guest(request.guest.clone());
        let (mut session, chats) = match request.about {
            Some(_) => self.scanning(&scope, request.now).await?,
            // Only the end of the chat is read, as far as the budget reaches.
            None => {
                let mut session = self.session().await?;
                let chats = conversations(&mut session, &scope, request.now).await?;
                (session, chats)
            }
        };
        let Some(chat) = chats.first() else {
            session.go_on(&[], EndMode::Commit).await?;
            return Ok(None);
        };
        let mut context = Context::default();
        let mut relevant = Vec::new();
        let mut outline = Vec::new();
        match &request.about {
            None => outline = newest(&mut session, chat.id, request.budget).await?,
            Some((model, vector)) => {
                let mut scan = VectorScan::new(vector, RELEVANT);
                compare(&mut session, &chats, model, &mut scan, |row| {
                    outline.push(sketch(row)?);
                    Ok(())
                })
                .await?;
                let scanned = scan.end();
                (context.searched, context.of) = (scanned.searched, scanned.of);
                relevant.extend(scanned.best.iter().map(|(score, at)| (at.sequence, *score)));
            }
        }
        outline.sort_by_key(|message: &MessageSummary| message.sequence);
        let chosen = choose(request.budget, &outline, &relevant);
        let place = |chosen: &SelectedMessage| MessagePosition {
            conversation: chat.id,
            sequence: chosen.sequence,
        };
        let places: Vec<_> = chosen.iter().map(place).collect();
        let mut messages = messages(&mut session, &places).await?;
        let filled = chosen.iter().filter_map(|chosen| {
            Some(ContextMessage {
                message: messages.remove(&place(chosen))?,
                tokens: chosen.tokens,
                why: chosen.why,
            })
        });
        context.messages = filled.collect();
        Ok(Some(context))
    }
}

/// Whether to retry once on another connection, because this one turned out to be lost.
fn may_ask_again(fault: &PostgresFault) -> bool {
    fault.is_lost() && !matches!(fault, PostgresFault::Late)
}

/// A conversation, and its message count by its own row.
struct SearchedChat {
    id: ConversationId,
    messages: u64,
}

/// Begins the snapshot, and returns the conversations, newest first.
async fn conversations(
    session: &mut PooledConnection,
    scope: &SearchScope,
    now: Timestamp,
) -> Attempt<Vec<SearchedChat>> {
    let (now, all) = (moment(now), i64::MAX);
    let found = match scope {
        SearchScope::Guest(guest) => {
            let guest = guest.as_str();
            let statements =
                [statement!(sql::CONVERSATION_OF_GUEST; guest => TEXT, now => TIMESTAMPTZ)];
            session
                .transact(BeginMode::Read, &statements, EndMode::Open)
                .await?
        }
        SearchScope::User(user) => {
            let (user, before) = (user.as_str(), chats::ABOVE_ALL);
            let statements =
                [statement!(sql::CONVERSATIONS_OF_USER; user => TEXT, before => TEXT, all => INT8)];
            session
                .transact(BeginMode::Read, &statements, EndMode::Open)
                .await?
        }
    };
    let read = |row: &Row| {
        Ok(SearchedChat {
            id: ConversationId(id(row, 0)?),
            messages: count(row, 5)?,
        })
    };
    found[0].iter().map(read).collect()
}

/// Messages to read at once: of these conversations those from sequence `from` up to, not including, `to`.
#[derive(Debug, Default, PartialEq)]
struct ScanPage {
    conversations: Vec<String>,
    from: i64,
    to: i64,
}

/// All messages of the conversations, newest first, in pages of about `size`.
fn pages(chats: &[SearchedChat], size: u64) -> Vec<ScanPage> {
    let mut pages: Vec<ScanPage> = Vec::new();
    let mut room = 0;
    for chat in chats {
        let key = chat.id.to_string();
        match pages.last_mut() {
            Some(last) if chat.messages <= room && (last.from, last.to) == (0, i64::MAX) => {
                last.conversations.push(key);
                room -= chat.messages;
            }
            _ => {
                // The last page of a conversation is unbounded: its counter may be wrong.
                let mut to = i64::MAX;
                for part in (0..chat.messages.div_ceil(size).max(1)).rev() {
                    let from = int(part * size);
                    let conversations = vec![key.clone()];
                    pages.push(ScanPage {
                        conversations,
                        from,
                        to,
                    });
                    to = from;
                }
                // Other conversations are added only to a page that contains this one whole.
                room = size.saturating_sub(chat.messages);
            }
        }
    }
    pages
}

/// Passes every message to `scan`, and its row to `also`.
async fn compare(
    session: &mut PooledConnection,
    chats: &[SearchedChat],
    model: &ModelId,
    scan: &mut VectorScan,
    mut also: impl FnMut(&Row) -> Attempt<()>,
) -> Attempt<()> {
    let model = model.as_str();
    for page in pages(chats, PAGE_OF_VECTORS) {
        let statements = [
            statement!(sql::MESSAGES_WITH_VECTORS; page.conversations => TEXT_ARRAY,
            page.from => INT8, page.to => INT8, model => TEXT),
        ];
        for row in &session.go_on(&statements, EndMode::Open).await?[0] {
            let place = MessagePosition {
                conversation: ConversationId(id(row, 4)?),
                sequence: count(row, 0)?,
            };
            scan.see(place, get(row, 5)?);
            also(row)?;
        }
    }
    Ok(())
}

/// Searches from the newest message on, until there are enough hits.
async fn by_words(
    session: &mut PooledConnection,
    chats: &[SearchedChat],
    words: &Words,
    wanted: usize,
) -> Attempt<SearchResults> {
    let of = chats.iter().map(|chat| chat.messages).sum();
    let mut best = TopK::of(wanted);
    let mut found = HashMap::new();
    let ascii = words.in_ascii().unwrap_or("");
    for page in pages(chats, PAGE_OF_CONTENTS) {
        let statements = [
            statement!(sql::MESSAGES_THAT_MAY_HOLD; page.conversations => TEXT_ARRAY,
            page.from => INT8, page.to => INT8, ascii => TEXT),
        ];
        for row in &session.go_on(&statements, EndMode::Open).await?[0] {
            if words.are_all_in(text(row, 3)?) {
                let (place, message) = placed(row)?;
                best.offer(place);
                found.insert(place, message);
            }
        }
        if best.least().is_some() {
            break; // everything that is left is older
        }
    }
    session.go_on(&[], EndMode::Commit).await?;
    let hits = best.into_sorted().into_iter().filter_map(|place| {
        let message = found.remove(&place)?;
        Some(Hit::new(place.conversation, message, Score::FULL))
    });
    Ok(SearchResults {
        hits: hits.collect(),
        searched: of,
        of,
    })
}

/// Reads the chosen messages, and ends the snapshot.
async fn messages(
    session: &mut PooledConnection,
    places: &[MessagePosition],
) -> Attempt<HashMap<MessagePosition, Message>> {
    let conversations: Vec<_> = places
        .iter()
        .map(|it| it.conversation.to_string())
        .collect();
    let sequences: Vec<_> = places.iter().map(|it| int(it.sequence)).collect();
    let statements =
        [statement!(sql::MESSAGES_AT; conversations => TEXT_ARRAY, sequences => INT8_ARRAY)];
    let found = session.go_on(&statements, EndMode::Commit).await?;
    found[0].iter().map(placed).collect()
}

/// The end of a conversation, as far back as the budget can reach.
async fn newest(
    session: &mut PooledConnection,
    conversation: ConversationId,
    budget: ContextBudget,
) -> Attempt<Vec<MessageSummary>> {
    let (key, limit) = (conversation.to_string(), int(PAGE_OF_SKETCHES));
    let mut outline: Vec<MessageSummary> = Vec::new();
    let mut reach = SelectionRange::of(budget);
    loop {
        let before = outline.last().map_or(i64::MAX, |last| int(last.sequence));
        let statements =
            [statement!(sql::MESSAGES_SKETCHED; key => TEXT, before => INT8, limit => INT8)];
        let found = session.go_on(&statements, EndMode::Open).await?.remove(0);
        for row in &found {
            let message = sketch(row)?;
            outline.push(message);
            if !reach.goes_beyond(&message) {
                return Ok(outline);
            }
        }
        if int(found.len() as u64) < limit {
            return Ok(outline);
        }
    }
}

/// A row that begins as `MESSAGES…` do and has the conversation's id after that.
pub(super) fn placed(row: &Row) -> Attempt<(MessagePosition, Message)> {
    let message = rows::message(row)?;
    let place = MessagePosition {
        conversation: ConversationId(id(row, 8)?),
        sequence: message.sequence,
    };
    Ok((place, message))
}

/// The first columns of `MESSAGES_SKETCHED`, in that order.
fn sketch(row: &Row) -> Attempt<MessageSummary> {
    Ok(MessageSummary {
        sequence: count(row, 0)?,
        role: Role::parse(text(row, 1)?)
            .map_err(|_| PostgresFault::Row("role holds no known word".into()))?,
        tokens: count(row, 2)?,
        bytes: count(row, 3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn pages_hold_everything_once_and_no_more_than_they_may() {
        let chat = |n, messages| SearchedChat {
            id: ConversationId(Uuid::from_u128(n)),
            messages,
        };
        let chats = [
            chat(9, 4),
            chat(8, 6),
            chat(7, 0),
            chat(6, 1),
            chat(5, 25),
            chat(4, 3),
        ];
        let shown: Vec<_> = pages(&chats, 10)
            .iter()
            .map(|page| (page.conversations.len(), page.from, page.to))
            .collect();
        let last = i64::MAX;
        let expected = [
            (3, 0, last),
            (1, 0, last),
            (1, 20, last),
            (1, 10, 20),
            (1, 0, 10),
            (1, 0, last),
        ];
        assert_eq!(shown, expected);
        assert!(pages(&[], 10).is_empty());
    }
}
