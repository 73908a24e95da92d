//! The full-text index over all messages. The server updates it, whichever node stores a message; it is created and removed
//! concurrently, queried here.
//!
//! It only proposes candidates: [`guestbook_core::Words`] decide on the rows of the same snapshot.

use super::error::{Attempt, PostgresFault};
use super::rows::{self, get, limit as rows_limit, moment, text};
use super::search::placed;
use super::session::{BeginMode, EndMode, PooledConnection, statement};
use super::{NAME, PostgresDatabase, first_count, sql};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_core::{Hit, Message, MessagePosition, Platform, Role, Score, SearchResults};
use guestbook_storage::database::WordsRequest;
use tokio_postgres::Row;

const OPERATION: &str = "text index";
/// Candidates of the first page; the pages grow while few turn out to be hits.
const PAGE: usize = 128;
const LARGEST_PAGE: usize = 2048;

/// The state of the server's index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TextIndexState {
    /// Nothing.
    Absent,
    /// One that cannot be used; `true` while somebody is creating it.
    Unfinished(bool),
    /// Complete.
    Ready,
}

/// Creates or removes the index, unless that is done. Other nodes keep working. Another node may do the same concurrently; then the
/// final state counts.
pub(super) async fn apply_wanted(mut session: PooledConnection, wanted: bool) -> Result<()> {
    let fault = |fault: PostgresFault| fault.into_error(OPERATION);
    let found = state(&mut session).await.map_err(fault)?;
    let done = match (wanted, found) {
        (false, TextIndexState::Absent)
        | (true, TextIndexState::Ready | TextIndexState::Unfinished(true)) => return Ok(()),
        (false, _) => session.raw().batch_execute(sql::TEXT_REMOVE).await,
        (true, _) => {
            require_unicode(&mut session).await?;
            make(&mut session, found).await.map_err(fault)?
        }
    };
    let Err(cause) = done else {
        return Ok(());
    };
    let is_there = match state(&mut session).await {
        Ok(found) => found != TextIndexState::Absent,
        Err(_) => !wanted,
    };
    match is_there == wanted {
        true => Ok(()),
        false => Err(fault(cause.into())),
    }
}

async fn make(
    session: &mut PooledConnection,
    found: TextIndexState,
) -> Attempt<std::result::Result<(), tokio_postgres::Error>> {
    let begun = [
        statement!(sql::SCHEMA_LOCK),
        statement!(sql::TEXT_FUNCTION),
        statement!(sql::ENTRIES),
    ];
    let rows = session
        .transact(BeginMode::LongWrite, &begun, EndMode::Commit)
        .await?;
    let messages = first_count(&rows[2])?;
    tracing::info!(messages, "creating the full-text index");
    let client = session.raw();
    if found != TextIndexState::Absent {
        client.batch_execute(sql::TEXT_REMOVE).await?; // its creation was interrupted
    }
    Ok(client.batch_execute(sql::TEXT_MAKE).await)
}

async fn state(session: &mut PooledConnection) -> Attempt<TextIndexState> {
    let statements = [statement!(sql::TEXT_STATE)];
    let rows = session
        .transact(BeginMode::Read, &statements, EndMode::Commit)
        .await?;
    state_of(&rows[0])
}

fn state_of(rows: &[Row]) -> Attempt<TextIndexState> {
    Ok(match rows.first() {
        None => TextIndexState::Absent,
        Some(row) if get(row, 0)? => TextIndexState::Ready,
        Some(row) => TextIndexState::Unfinished(get(row, 1)?),
    })
}

/// Under another encoding the function fails, and every message with it.
async fn require_unicode(session: &mut PooledConnection) -> Result<()> {
    let statements = [statement!(sql::TEXT_ENCODING)];
    let rows = session
        .transact(BeginMode::Read, &statements, EndMode::Commit)
        .await;
    let rows = rows.map_err(|fault| fault.into_error(OPERATION))?;
    let encoding = rows[0].first().map(|row| text(row, 0));
    if matches!(encoding, Some(Ok("UTF8"))) {
        return Ok(());
    }
    let context = "the database is not encoded in UTF8, so its words cannot be indexed; start with --text-index off, or make a \
                   database with ENCODING 'UTF8'";
    Err(Error::new(ErrorKind::Unsupported, NAME, OPERATION, context))
}

impl PostgresDatabase {
    /// The newest messages that contain all words.
    pub(super) async fn search_words_once(
        &self,
        request: &WordsRequest,
    ) -> Attempt<Result<SearchResults>> {
        let mut session = self.long_session().await?;
        let first = [statement!(sql::TEXT_STATE), statement!(sql::ENTRIES)];
        let rows = session
            .transact(BeginMode::Read, &first, EndMode::Open)
            .await?;
        let (state, of) = (state_of(&rows[0])?, first_count(&rows[1])?);
        if state != TextIndexState::Ready {
            session.go_on(&[], EndMode::Commit).await?;
            return Ok(Err(not_ready(state)));
        }
        let mut found: Vec<(MessagePosition, Message)> = Vec::new();
        let mut page = PAGE.max(request.k.get());
        let mut last = None;
        loop {
            let proposed = proposed(&mut session, request, last.as_ref(), page).await?;
            for row in &proposed {
                if request.words.are_all_in(text(row, 3)?) {
                    found.push(placed(row)?);
                }
            }
            last = proposed.last().map(placed).transpose()?;
            if found.len() >= request.k.get() || proposed.len() < page {
                break;
            }
            page = (page * 4).min(LARGEST_PAGE);
        }
        session.go_on(&[], EndMode::Commit).await?;
        found.truncate(request.k.get());
        let hits = found
            .into_iter()
            .map(|(place, message)| Hit::new(place.conversation, message, Score::FULL));
        Ok(Ok(SearchResults {
            hits: hits.collect(),
            searched: of,
            of,
        }))
    }
}

/// The next candidates after the last one.
async fn proposed(
    session: &mut PooledConnection,
    request: &WordsRequest,
    last: Option<&(MessagePosition, Message)>,
    page: usize,
) -> Attempt<Vec<Row>> {
    let filters = &request.filters;
    let (parts, now) = (request.words.parts().join(" "), moment(request.now));
    let (role, platform) = (
        filters.role.map(Role::as_str),
        filters.platform.map(Platform::as_str),
    );
    let (from, to) = (filters.from.map(moment), filters.to.map(moment));
    let stored = last.map(|(_, message)| moment(message.created_at));
    let conversation = last.map(|(place, _)| place.conversation.to_string());
    let sequence = last.map(|(place, _)| rows::int(place.sequence));
    let most = rows_limit(page);
    let statements = [
        statement!(sql::TEXT_PROPOSED; parts => TEXT, now => TIMESTAMPTZ, role => TEXT, platform => TEXT,
        from => TIMESTAMPTZ, to => TIMESTAMPTZ, stored => TIMESTAMPTZ, conversation => TEXT, sequence => INT8, most => INT8),
    ];
    Ok(session.go_on(&statements, EndMode::Open).await?.remove(0))
}

fn not_ready(state: TextIndexState) -> Error {
    let context = match state {
        TextIndexState::Absent => {
            "the index over words is not there; make it with `guestbook settings set text-index on`"
        }
        _ => {
            "the index over words is still being made; try again when that is done, or search within a guest's chat or a \
             user's conversations (GET …/search?mode=text)"
        }
    };
    Error::new(ErrorKind::Conflict, NAME, "search_words", context)
}
