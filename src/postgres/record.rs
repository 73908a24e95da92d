//! Steps 2-7 of a batch of messages, in one transaction of at most two round trips.
//!
//! The first round trip reads everything at once: the rows of the batch's guests, locked, and the messages whose ids may repeat.
//! The writes are then planned here (`storage/plan.rs`), and the second round trip sends all of them together with COMMIT. If this
//! node was the last to write every conversation of the batch (`optimistic_cache`), the first is skipped.
//!
//! Transactions of other connections and nodes avoid deadlocks by lock order: conversation rows are locked by id before
//! anything is written, then written by guest, then usage rows are locked and written by owner, and the hour's counters come
//! last. If two transactions create the same guest's conversation, the unique index decides: the later one is rolled back and
//! retried.
//!
//! **Invariant:** a commit of unknown outcome is looked up by message id before anything is acknowledged.

use super::columns::{BatchColumns, MessageColumns};
use super::error::{Attempt, PostgresFault};
use super::ids::{AskedIds, wants_ids};
use super::optimistic_cache::ExpectedColumns;
use super::outbox::SyncMarkColumns;
use super::rows::{count, get, id, text, time_or_none, window};
use super::session::{BeginMode, EndMode, PooledConnection, statement};
use super::settings::{self, Held};
use super::{NAME, PostgresDatabase, erase, sql};
use guestbook_core::error::{Error, Result};
use guestbook_core::{ConversationId, GuestId, OwnerId, Timestamp, Usage};
use guestbook_storage::conversation_state::{ConversationState, Conversations, miscounted};
use guestbook_storage::database::{Batch, Outcome};
use guestbook_storage::plan::{BatchPlan, plan};
use guestbook_storage::stored_ids::StoredIds;
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio_postgres::Row;

/// Attempts per batch after a conflict with another transaction or a lost connection.
const ATTEMPTS: usize = 6;

/// The outcome of an attempt to store a batch.
enum AttemptOutcome<'a> {
    /// It is stored.
    Stored(Vec<Outcome>),
    /// It is not, for this reason.
    Failed(PostgresFault),
    /// COMMIT was sent and its outcome is unknown.
    Unknown(PostgresFault, Box<UnconfirmedCommit<'a>>),
}

/// A batch whose COMMIT has an unknown outcome: enough to look it up, and to reply.
struct UnconfirmedCommit<'a> {
    messages: MessageColumns<'a>,
    outcomes: Vec<Outcome>,
}

/// How long a commit of unknown outcome is looked up. The client has been sent an unknown outcome by then.
const LOOKUP: Duration = Duration::from_secs(15);

/// Pauses before the next lookup; fails, without claiming that nothing was stored, once it has taken too long.
async fn look_again_later(began: Instant, attempts: usize) -> Result<()> {
    if began.elapsed() > LOOKUP {
        return Err(PostgresFault::Late.into_error("record"));
    }
    tokio::time::sleep(Duration::from_millis(50 * attempts.min(10) as u64)).await;
    Ok(())
}

impl PostgresDatabase {
    pub(super) async fn record_batch(&self, batch: &Batch) -> Result<Vec<Outcome>> {
        let began = Instant::now();
        let mut unknown: Option<Box<UnconfirmedCommit<'_>>> = None;
        let mut attempts = 0;
        loop {
            attempts += 1;
            if let Some(sent) = &unknown {
                match self.is_stored(&sent.messages).await {
                    Ok(false) => {} // it may still be in flight: storing it again decides
                    Ok(true) => {
                        return Ok(unknown.take().map_or_else(Vec::new, |sent| sent.outcomes));
                    }
                    Err(_) => {
                        look_again_later(began, attempts).await?;
                        continue;
                    }
                }
            }
            let fault = match self.attempt(batch).await {
                AttemptOutcome::Stored(outcomes) => return Ok(outcomes),
                AttemptOutcome::Failed(fault) => fault,
                AttemptOutcome::Unknown(fault, sent) => {
                    let messages = sent.messages.ids.len();
                    tracing::warn!(
                        messages,
                        "the response to a commit was lost; looking the batch up"
                    );
                    unknown = Some(sent);
                    fault
                }
            };
            if unknown.is_some() {
                look_again_later(began, attempts).await?;
                continue;
            }
            if matches!(fault, PostgresFault::Settings) {
                self.take_over().await?;
            }
            let again = match fault.repeated() {
                // The id is another transaction's: reading again resolves it. Other transactions may keep taking the batch's ids.
                Some("message_cache_pkey") => attempts == 1 || wants_ids(batch),
                Some(_) => true,
                None => {
                    fault.is_undone() || fault.is_lost() || matches!(fault, PostgresFault::Settings)
                }
            };
            if !again || attempts >= ATTEMPTS {
                return Err(refused(fault, batch));
            }
        }
    }

    /// Whether the batch is stored. It is all or nothing: it was one transaction. One message with a generated id proves it; client ids
    /// may have been stored by another node, so then all messages must be there.
    async fn is_stored(&self, messages: &MessageColumns<'_>) -> Attempt<bool> {
        if messages.ids.is_empty() {
            return Ok(false); // only sync marks, which may be written twice
        }
        let statements = [
            statement!(sql::MESSAGES_STORED; messages.ids => TEXT_ARRAY, messages.conversations => TEXT_ARRAY,
            messages.sequences => INT8_ARRAY, messages.hashes => TEXT_ARRAY, messages.is_ours => BOOL_ARRAY),
        ];
        let mut session = self.session().await?;
        let rows = session
            .transact(BeginMode::Read, &statements, EndMode::Commit)
            .await?;
        let row = rows[0]
            .first()
            .ok_or_else(|| PostgresFault::Row("no count".into()))?;
        Ok(count(row, 1)? > 0 || count(row, 0)? == messages.ids.len() as u64)
    }

    async fn attempt<'a>(&self, batch: &'a Batch) -> AttemptOutcome<'a> {
        let held = self.held();
        if let Some(chats) = self.0.known.take(&guests(batch)) {
            match self.at_once(batch, chats, &held).await {
                AttemptOutcome::Failed(fault) if fault.is_stale() || fault.repeated().is_some() => {
                }
                ended => return ended,
            }
        }
        let mut session = match self.session().await {
            Ok(session) => session,
            Err(fault) => return AttemptOutcome::Failed(fault),
        };
        let (chats, stored) = match self.look(&mut session, batch, &held).await {
            Ok(seen) => seen,
            Err(fault) => return AttemptOutcome::Failed(fault),
        };
        let plan = match plan(batch, &held.tables, chats, stored) {
            Ok(plan) => plan,
            Err(wrong) => {
                session.roll_back().await;
                return AttemptOutcome::Failed(PostgresFault::Value(wrong));
            }
        };
        let columns = BatchColumns::of(self, &held.tables, &plan, batch);
        let answered = session.go_on(&columns.statements(), EndMode::Commit).await;
        self.ended(answered, 0, columns.messages, plan)
    }

    /// One round trip, for cached conversations and new ids. If either assumption is wrong, the server rolls back, and everything
    /// is read first.
    async fn at_once<'a>(
        &self,
        batch: &'a Batch,
        chats: Conversations,
        held: &Held,
    ) -> AttemptOutcome<'a> {
        let expected = ExpectedColumns::of(&chats, batch.at, held.version);
        let marks = SyncMarkColumns::of(&batch.synced_ranges, batch.at);
        let locked: Vec<&String> = expected.ids.iter().chain(&marks.conversations).collect();
        let nobody: Vec<&str> = Vec::new();
        let plan = match plan(batch, &held.tables, chats, StoredIds::default()) {
            Ok(plan) => plan,
            Err(wrong) => return AttemptOutcome::Failed(PostgresFault::Value(wrong)),
        };
        let columns = BatchColumns::of(self, &held.tables, &plan, batch);
        let mut statements = vec![
            statement!(sql::SETTINGS_SHARE),
            statement!(sql::CHATS_LOCK; nobody => TEXT_ARRAY, locked => TEXT_ARRAY),
        ];
        statements.push(expected.statement());
        marks.push_statements(&mut statements);
        let ids = AskedIds::of(batch);
        if !ids.keys.is_empty() {
            statements.push(
                statement!(sql::EXPECT_UNSENT; ids.guests => TEXT_ARRAY, ids.keys => TEXT_ARRAY),
            );
        }
        let usage_at = statements.len();
        statements.extend(columns.statements());
        let mut session = match self.session().await {
            Ok(session) => session,
            Err(fault) => return AttemptOutcome::Failed(fault),
        };
        let answered = session
            .transact(BeginMode::Write, &statements, EndMode::Commit)
            .await;
        drop(statements);
        self.ended(answered, usage_at, columns.messages, plan)
    }

    /// The outcome, from the results of all statements up to COMMIT.
    fn ended<'a>(
        &self,
        answered: Attempt<Vec<Vec<Row>>>,
        usage_at: usize,
        messages: MessageColumns<'a>,
        mut plan: BatchPlan<'_>,
    ) -> AttemptOutcome<'a> {
        match answered {
            Ok(rows) => {
                let totals = rows.get(usage_at).map_or(&[][..], Vec::as_slice);
                note_usage(totals, &mut plan);
                self.0.known.keep(plan.conversations);
                AttemptOutcome::Stored(plan.outcomes)
            }
            Err(fault) if fault.is_lost() => {
                let outcomes = plan.outcomes;
                AttemptOutcome::Unknown(fault, Box::new(UnconfirmedCommit { messages, outcomes }))
            }
            Err(fault) => AttemptOutcome::Failed(fault),
        }
    }

    /// The first round trip: writes sync marks, locks and reads.
    async fn look<'a>(
        &self,
        session: &mut PooledConnection,
        batch: &'a Batch,
        held: &Held,
    ) -> Attempt<(Conversations, StoredIds<'a>)> {
        let guests = guests(batch);
        let names: Vec<&str> = guests.iter().map(GuestId::as_str).collect();
        let marks = SyncMarkColumns::of(&batch.synced_ranges, batch.at);
        let ids = AskedIds::of(batch);
        let mut statements = settings::share().to_vec();
        let chats_at = statements.len();
        statements.push(
            statement!(sql::CHATS_LOCK; names => TEXT_ARRAY, marks.conversations => TEXT_ARRAY),
        );
        marks.push_statements(&mut statements);
        let find = statements.len();
        if !ids.keys.is_empty() {
            statements.push(ids.statement());
        }
        let rows = session
            .transact(BeginMode::Write, &statements, EndMode::Open)
            .await?;
        settings::check(&rows, held)?;
        let mut chats = Conversations::default();
        let mut ended = erase::LockedChats::default();
        for row in &rows[chats_at] {
            match open_chat(row, &guests, batch.at)? {
                LockedRow::Open(chat) => _ = chats.insert(chat),
                LockedRow::Ended(id, owner) => ended.add(id, &owner),
                LockedRow::Another => {}
            }
        }
        let mut found_rows = rows.into_iter().nth(find).unwrap_or_default();
        if !ended.is_empty() {
            // Chats that retention has ended: none of their messages may be found again.
            ended.erase(self, session, batch.at, EndMode::Open).await?;
            if !ids.keys.is_empty() {
                let again = [ids.statement()];
                found_rows = session.go_on(&again, EndMode::Open).await?.remove(0);
            }
        }
        Ok((chats, ids.found(&found_rows)?))
    }
}

/// A taken sequence although the conversation's row was locked is damage. If the batch is of one guest, the guest is known; a
/// batch of several is bisected until it is.
fn refused(fault: PostgresFault, batch: &Batch) -> Error {
    match (fault.repeated(), &*guests(batch)) {
        (Some("message_sequence"), [guest]) => miscounted(NAME, guest),
        _ => fault.into_error("record"),
    }
}

fn guests(batch: &Batch) -> Vec<GuestId> {
    let guests = batch.entries().map(|entry| &entry.message.guest);
    let mut guests: Vec<_> = guests.cloned().collect();
    guests.sort_unstable();
    guests.dedup();
    guests
}

/// The meaning of a locked row to the batch.
enum LockedRow {
    /// The chat of one of its guests.
    Open(ConversationState),
    /// A chat that retention has ended.
    Ended(ConversationId, OwnerId),
    /// One that only a sync mark is about.
    Another,
}

fn open_chat(row: &Row, guests: &[GuestId], at: Timestamp) -> Attempt<LockedRow> {
    let owner = text(row, 1)?;
    let is_guest = text(row, 2)? == "guest";
    let place = guests.binary_search_by(|guest| guest.as_str().cmp(owner));
    let (true, Ok(place)) = (is_guest, place) else {
        return Ok(LockedRow::Another);
    };
    let id = ConversationId(id(row, 0)?);
    if time_or_none(row, 7)?.is_some_and(|end| end <= at) {
        return Ok(LockedRow::Ended(id, OwnerId::from(&guests[place])));
    }
    Ok(LockedRow::Open(ConversationState {
        id,
        guest: guests[place].clone(),
        is_new: false,
        title: get(row, 3)?,
        has_user_message: Some(get(row, 10)?),
        hash: ConversationState::head(text(row, 4)?),
        message_count: count(row, 5)?,
        total_tokens: count(row, 6)?,
        window: window(row, 8)?,
        expired: false,
        counted: Usage::default(),
        first: None,
    }))
}

/// Passes each owner's number of requests from the result of `USAGE_COUNT` to the plan.
fn note_usage(rows: &[Row], plan: &mut BatchPlan<'_>) {
    let total = |row: &Row| Some((text(row, 0).ok()?.to_owned(), count(row, 1).ok()?));
    let totals: HashMap<String, u64> = rows.iter().filter_map(total).collect();
    let Ok(()) = plan.note_usage(|chat| {
        let total = totals.get(chat.guest.as_str());
        Ok::<_, Infallible>(total.copied())
    });
}
