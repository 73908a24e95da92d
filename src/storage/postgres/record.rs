//! Steps 2-7 of a batch of messages, in one transaction of at most two round trips.
//!
//! The first asks for everything at once: the rows of the batch's guests, locked, and the messages whose ids may repeat.
//! What is to be written is then worked out here (`stage`), and the second sends all of it together with COMMIT. Where this
//! node was the last to write every conversation of the batch (`known`), the first is left out.
//!
//! Transactions of other connections and nodes are kept out of each other's way by order: conversation rows are locked
//! by id before anything is written, then written by guest, then usage rows are locked and written by owner, and the
//! hour's counters come last. A guest that two transactions see for the first time at the same moment is decided by the
//! unique index: the later one is undone and done again.
//!
//! **Invariant:** a commit whose answer was lost is looked up by message id before anything is answered.

use super::columns::Columns;
use super::error::{Attempt, Fault};
use super::ids::{AskedIds, FoundIds, wants_ids};
use super::known::Expected;
use super::outbox::Marks;
use super::rows::{count, get, id, text, time_or_none, window};
use super::session::{Begin, End, Session, statement};
use super::settings::{self, Held};
use super::stage::Stage;
use super::{NAME, PostgresDatabase, erase, sql};
use crate::chat::{ConversationId, GuestId, OwnerId, RowState, Timestamp, Usage};
use crate::error::{Error, Result};
use crate::storage::database::{Batch, Outcome};
use crate::storage::open_chat::{OpenChat, miscounted};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio_postgres::Row;

/// How often a batch is tried again after another transaction came first or a connection was lost.
const ATTEMPTS: usize = 6;

/// How an attempt to store a batch ended.
enum Ended {
    /// It is stored.
    Stored(Vec<Outcome>),
    /// It is not, for this reason.
    Failed(Fault),
    /// COMMIT was sent and its answer is not known.
    Unknown(Fault, Sent),
}

/// What was sent with a COMMIT whose answer is not known: enough to find out, and to answer.
struct Sent {
    ids: Vec<String>,
    conversations: Vec<String>,
    sequences: Vec<i64>,
    hashes: Vec<String>,
    /// Whether the id is of our own making, so that nobody else can have stored it.
    is_ours: Vec<bool>,
    outcomes: Vec<Outcome>,
}

/// How long a commit of unknown outcome is looked up. Whoever asked has been told by then that it is not known.
const LOOKUP: Duration = Duration::from_secs(15);

/// A pause before looking again; an error, which never says that nothing was stored, once it has taken too long.
async fn look_again_later(began: Instant, attempts: usize) -> Result<()> {
    if began.elapsed() > LOOKUP {
        return Err(Fault::Late.into_error("record"));
    }
    tokio::time::sleep(Duration::from_millis(50 * attempts.min(10) as u64)).await;
    Ok(())
}

impl PostgresDatabase {
    pub(super) async fn record_batch(&self, batch: &Batch) -> Result<Vec<Outcome>> {
        let began = Instant::now();
        let mut unknown: Option<Sent> = None;
        let mut attempts = 0;
        loop {
            attempts += 1;
            if let Some(sent) = &unknown {
                match self.is_stored(sent).await {
                    Ok(false) => {} // it may still be under way: storing it again decides
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
                Ended::Stored(outcomes) => return Ok(outcomes),
                Ended::Failed(fault) => fault,
                Ended::Unknown(fault, sent) => {
                    let messages = sent.ids.len();
                    tracing::warn!(
                        messages,
                        "the answer to a commit was lost; it is being looked up"
                    );
                    unknown = Some(sent);
                    fault
                }
            };
            if unknown.is_some() {
                look_again_later(began, attempts).await?;
                continue;
            }
            if matches!(fault, Fault::Settings) {
                self.take_over().await?;
            }
            let again = match fault.repeated() {
                // Another transaction's: looking again tells. Others may go on taking what this batch wants.
                Some("message_cache_pkey") => attempts == 1 || wants_ids(batch),
                Some(_) => true,
                None => fault.is_undone() || fault.is_lost() || matches!(fault, Fault::Settings),
            };
            if !again || attempts >= ATTEMPTS {
                return Err(refused(fault, batch));
            }
        }
    }

    /// Whether what was sent is stored. All of it is, or nothing: it was one transaction. A message with an id of our own
    /// making is proof; ids that a client chose may have been stored by another node, so then all must be there.
    async fn is_stored(&self, sent: &Sent) -> Attempt<bool> {
        if sent.ids.is_empty() {
            return Ok(false); // only notes, which may be written twice
        }
        let asked = [
            statement!(sql::MESSAGES_STORED; sent.ids => TEXT_ARRAY, sent.conversations => TEXT_ARRAY,
            sent.sequences => INT8_ARRAY, sent.hashes => TEXT_ARRAY, sent.is_ours => BOOL_ARRAY),
        ];
        let mut session = self.session().await?;
        let rows = session.transact(Begin::Read, &asked, End::Commit).await?;
        let row = rows[0]
            .first()
            .ok_or_else(|| Fault::Row("no count".into()))?;
        Ok(count(row, 1)? > 0 || count(row, 0)? == sent.ids.len() as u64)
    }

    async fn attempt(&self, batch: &Batch) -> Ended {
        let held = self.held();
        if let Some(chats) = self.0.known.take(&guests(batch)) {
            match self.at_once(batch, chats, &held).await {
                Ended::Failed(fault) if fault.is_stale() || fault.repeated().is_some() => {}
                ended => return ended,
            }
        }
        let mut session = match self.session().await {
            Ok(session) => session,
            Err(fault) => return Ended::Failed(fault),
        };
        let (chats, sent) = match self.look(&mut session, batch, &held).await {
            Ok(seen) => seen,
            Err(fault) => return Ended::Failed(fault),
        };
        let mut stage = Stage::new(batch.at, &held.tables, chats, sent);
        let outcomes = match stage.work_out(&batch.groups) {
            Ok(outcomes) => outcomes,
            Err(fault) => {
                session.roll_back().await;
                return Ended::Failed(fault);
            }
        };
        let columns = Columns::of(self, &stage, batch);
        let answered = session.go_on(&columns.statements(), End::Commit).await;
        self.ended(answered, 0, outcomes, &columns, stage)
    }

    /// One round trip, for guests whose conversations this node was the last to write, and ids that are new. Should either
    /// not be so, the server undoes it, and everything is read first.
    async fn at_once(
        &self,
        batch: &Batch,
        chats: BTreeMap<GuestId, OpenChat>,
        held: &Held,
    ) -> Ended {
        let expected = Expected::of(&chats, batch.at, held.version);
        let marks = Marks::of(&batch.settled, batch.at);
        let locked: Vec<&String> = expected.ids.iter().chain(&marks.conversations).collect();
        let nobody: Vec<&str> = Vec::new();
        let sent = FoundIds::default();
        let mut stage = Stage::new(batch.at, &held.tables, chats, sent);
        let outcomes = match stage.work_out(&batch.groups) {
            Ok(outcomes) => outcomes,
            Err(fault) => return Ended::Failed(fault),
        };
        let columns = Columns::of(self, &stage, batch);
        let mut statements = vec![
            statement!(sql::SETTINGS_SHARE),
            statement!(sql::CHATS_LOCK; nobody => TEXT_ARRAY, locked => TEXT_ARRAY),
        ];
        statements.push(expected.statement());
        marks.settle(&mut statements);
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
            Err(fault) => return Ended::Failed(fault),
        };
        let answered = session
            .transact(Begin::Write, &statements, End::Commit)
            .await;
        self.ended(answered, usage_at, outcomes, &columns, stage)
    }

    /// How it ended, from the answers to everything up to COMMIT.
    fn ended(
        &self,
        answered: Attempt<Vec<Vec<Row>>>,
        usage_at: usize,
        mut outcomes: Vec<Outcome>,
        columns: &Columns<'_>,
        stage: Stage<'_>,
    ) -> Ended {
        match answered {
            Ok(rows) => {
                let totals = rows.get(usage_at).map_or(&[][..], Vec::as_slice);
                note_created(totals, &mut outcomes, &stage);
                self.0.known.keep(stage.chats);
                Ended::Stored(outcomes)
            }
            Err(fault) if fault.is_lost() => Ended::Unknown(fault, Sent::of(columns, outcomes)),
            Err(fault) => Ended::Failed(fault),
        }
    }

    /// The first round trip: notes what rides along, locks and reads.
    async fn look(
        &self,
        session: &mut Session,
        batch: &Batch,
        held: &Held,
    ) -> Attempt<(BTreeMap<GuestId, OpenChat>, FoundIds)> {
        let guests = guests(batch);
        let names: Vec<&str> = guests.iter().map(GuestId::as_str).collect();
        let marks = Marks::of(&batch.settled, batch.at);
        let ids = AskedIds::of(batch);
        let mut statements = settings::share().to_vec();
        let chats_at = statements.len();
        statements.push(
            statement!(sql::CHATS_LOCK; names => TEXT_ARRAY, marks.conversations => TEXT_ARRAY),
        );
        marks.settle(&mut statements);
        let find = statements.len();
        if !ids.keys.is_empty() {
            statements.push(ids.statement());
        }
        let rows = session
            .transact(Begin::Write, &statements, End::Open)
            .await?;
        settings::check(&rows, held)?;
        let mut chats = BTreeMap::new();
        let mut ended = erase::Doomed::default();
        for row in &rows[chats_at] {
            match open_chat(row, &guests, batch.at)? {
                Seen::Open(chat) => drop(chats.insert(chat.guest.clone(), chat)),
                Seen::Ended(id, owner) => ended.add(id, &owner),
                Seen::Another => {}
            }
        }
        let mut found_rows = rows.into_iter().nth(find).unwrap_or_default();
        if !ended.is_empty() {
            // Retention has ended these chats: none of their messages may be found again.
            ended.erase(self, session, batch.at, End::Open).await?;
            if !ids.keys.is_empty() {
                let again = [ids.statement()];
                found_rows = session.go_on(&again, End::Open).await?.remove(0);
            }
        }
        Ok((chats, ids.found(&found_rows)?))
    }
}

/// A place in a conversation that is taken, although its row was locked, is damage. Whose is known where the batch is of one
/// guest; one of several is split until it is.
fn refused(fault: Fault, batch: &Batch) -> Error {
    match (fault.repeated(), &*guests(batch)) {
        (Some("message_sequence"), [guest]) => miscounted(NAME, guest),
        _ => fault.into_error("record"),
    }
}

fn guests(batch: &Batch) -> Vec<GuestId> {
    let entries = batch.groups.iter().flat_map(|group| &group.0);
    let mut guests: Vec<_> = entries.map(|entry| entry.message.guest.clone()).collect();
    guests.sort_unstable();
    guests.dedup();
    guests
}

/// What a locked row is to the batch.
enum Seen {
    /// The chat of one of its guests.
    Open(OpenChat),
    /// A chat that retention has ended.
    Ended(ConversationId, OwnerId),
    /// One that only a note is about.
    Another,
}

fn open_chat(row: &Row, guests: &[GuestId], at: Timestamp) -> Attempt<Seen> {
    let owner = text(row, 1)?;
    let is_guest = text(row, 2)? == "guest";
    let place = guests.binary_search_by(|guest| guest.as_str().cmp(owner));
    let (true, Ok(place)) = (is_guest, place) else {
        return Ok(Seen::Another);
    };
    let id = ConversationId(id(row, 0)?);
    if time_or_none(row, 7)?.is_some_and(|end| end <= at) {
        return Ok(Seen::Ended(id, OwnerId::from(&guests[place])));
    }
    Ok(Seen::Open(OpenChat {
        id,
        guest: guests[place].clone(),
        is_new: false,
        title: get(row, 3)?,
        has_user_message: Some(get(row, 10)?),
        hash: OpenChat::head(text(row, 4)?),
        message_count: count(row, 5)?,
        total_tokens: count(row, 6)?,
        window: window(row, 8)?,
        lapsed: false,
        counted: Usage::default(),
        first: None,
    }))
}

impl Sent {
    fn of(columns: &Columns<'_>, outcomes: Vec<Outcome>) -> Self {
        let messages = &columns.messages;
        Self {
            ids: messages.ids.clone(),
            conversations: messages.conversations.clone(),
            sequences: messages.sequences.clone(),
            hashes: messages.hashes.clone(),
            is_ours: messages.is_ours.clone(),
            outcomes,
        }
    }
}

/// Completes the outcomes with who got a usage row, from the answer to `USAGE_COUNT`: owner and requests.
fn note_created(answers: &[Row], outcomes: &mut [Outcome], stage: &Stage<'_>) {
    let total = |row: &Row| Some((text(row, 0).ok()?.to_owned(), count(row, 1).ok()?));
    let totals: HashMap<String, u64> = answers.iter().filter_map(total).collect();
    for chat in stage.grown() {
        let is_created = totals.get(chat.guest.as_str()) == Some(&chat.counted.total_requests);
        if let (true, Some((group, place))) = (is_created, chat.first)
            && let Outcome::Stored(recorded) = &mut outcomes[group]
        {
            recorded[place].usage_row = RowState::Created;
        }
    }
}
