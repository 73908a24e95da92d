//! Migrates a guest's chat to a user.

use super::error::{Attempt, PostgresFault};
use super::rows::{count, get, int, moment, without_nul};
use super::session::{EndMode, Statement, statement};
use super::{PostgresDatabase, prompts, sql};
use chrono::{DateTime, Utc};
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, GuestId, OwnerId, Timestamp};
use guestbook_storage::database::Migrated;
use uuid::Uuid;

/// What one conversation counted for its owner.
#[derive(Debug, Default)]
struct MigratedUsage {
    messages: i64,
    input: i64,
    output: i64,
}

/// A row of `cache_migrations`.
struct MigrationLog {
    id: String,
    status: &'static str,
    migrated: i64,
    failed: i64,
    at: DateTime<Utc>,
    source: String,
    destination: String,
    notes: Option<String>,
}

impl MigrationLog {
    fn of(guest: &GuestId, user: &OwnerId, at: Timestamp, migrated: Migrated) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            status: "completed",
            migrated: int(migrated.messages),
            failed: 0,
            at: moment(at),
            source: format!("guest:{guest}"),
            destination: format!("user:{user}"),
            notes: None,
        }
    }

    fn statement(&self) -> Statement<'_> {
        statement!(sql::MIGRATION_ADD; self.id => TEXT, self.status => TEXT, self.migrated => INT8,
            self.failed => INT8, self.at => TIMESTAMPTZ, self.source => TEXT, self.destination => TEXT,
            self.notes => TEXT)
    }
}

impl PostgresDatabase {
    pub(super) async fn migrate_guest(
        &self,
        guest: &GuestId,
        user: &OwnerId,
        at: Timestamp,
    ) -> Attempt<Migrated> {
        let mut session = self.session().await?;
        let Some(conversation) = self.lock_guest(&mut session, guest, at).await? else {
            let log = MigrationLog::of(guest, user, at, Migrated::default());
            let scopes = vec![prompts::scope_of(guest.as_str())];
            let prompts = statement!(sql::PROMPTS_ERASE; scopes => TEXT_ARRAY);
            let statements = [prompts, log.statement()];
            session.go_on(&statements, EndMode::Commit).await?;
            return Ok(Migrated::default());
        };
        let key = conversation.to_string();
        let (name, target) = (guest.as_str(), user.as_str());
        let owners = vec![name, target];
        let statements = [
            statement!(sql::USAGE_LOCK; owners => TEXT_ARRAY),
            statement!(sql::COUNT_MESSAGES; key => TEXT),
            statement!(sql::OWNS_AS_USER; name => TEXT),
        ];
        let rows = session.go_on(&statements, EndMode::Open).await?;
        guestbook_failpoint::reach("migrate.mid");
        let counted = rows[1]
            .first()
            .ok_or_else(|| PostgresFault::Row("no count".into()))?;
        let share = MigratedUsage {
            messages: get(counted, 0)?,
            input: get(counted, 1)?,
            output: get(counted, 2)?,
        };
        let migrated = Migrated {
            conversations: 1,
            messages: count(counted, 0)?,
        };
        let owns = rows[2]
            .first()
            .ok_or_else(|| PostgresFault::Row("no result".into()))?;
        let moved = MovedRows::new(conversation, name, target, at, share, get(owns, 0)?);
        let log = MigrationLog::of(guest, user, at, migrated);
        let mut statements = moved.statements();
        statements.push(log.statement());
        session.go_on(&statements, EndMode::Commit).await?;
        Ok(migrated)
    }

    pub(super) async fn log_failed_migration(
        &self,
        guest: &GuestId,
        user: &OwnerId,
        at: Timestamp,
        cause: &str,
    ) -> Result<()> {
        let log = MigrationLog {
            status: "failed",
            failed: 1,
            notes: Some(without_nul(cause)),
            ..MigrationLog::of(guest, user, at, Migrated::default())
        };
        self.write("migration_failed", &[log.statement()])
            .await
            .map(drop)
    }
}

/// The rows that change owner.
struct MovedRows<'a> {
    conversations: Vec<String>,
    guests: Vec<&'a str>,
    /// The guest's own cache scopes, which are removed.
    scopes: Vec<String>,
    user: &'a str,
    at: DateTime<Utc>,
    usage_id: String,
    share: MigratedUsage,
    /// Whether the guest's id is a user's as well: then only the chat's share of the counters moves.
    is_shared: bool,
}

impl<'a> MovedRows<'a> {
    fn new(
        conversation: ConversationId,
        guest: &'a str,
        user: &'a str,
        at: Timestamp,
        share: MigratedUsage,
        is_shared: bool,
    ) -> Self {
        Self {
            conversations: vec![conversation.to_string()],
            guests: vec![guest],
            scopes: vec![prompts::scope_of(guest)],
            user,
            at: moment(at),
            usage_id: Uuid::now_v7().to_string(),
            share,
            is_shared,
        }
    }

    fn statements(&self) -> Vec<Statement<'_>> {
        let id = &self.conversations[0];
        let mut all = self.usage();
        all.extend([
            statement!(sql::MIGRATE_CONVERSATION; *id => TEXT, self.user => TEXT),
            statement!(sql::MIGRATE_MAPPINGS; *id => TEXT, self.user => TEXT),
            statement!(sql::REMOVALS_ADD; self.guests => TEXT_ARRAY, self.at => TIMESTAMPTZ),
            statement!(sql::PROMPTS_ERASE; self.scopes => TEXT_ARRAY),
        ]);
        all
    }

    /// Adds the guest's counters to the user's.
    fn usage(&self) -> Vec<Statement<'_>> {
        let (guest, share) = (&self.guests[0], &self.share);
        if *guest == self.user {
            return vec![statement!(sql::USAGE_PROMOTE; self.user => TEXT)];
        }
        if self.is_shared {
            return vec![
                statement!(sql::USAGE_SUBTRACT; self.conversations => TEXT_ARRAY,
                    self.guests => TEXT_ARRAY, self.at => TIMESTAMPTZ),
                statement!(sql::USAGE_ADD; self.usage_id => TEXT, self.user => TEXT, share.messages => INT8,
                    share.input => INT8, share.output => INT8, self.at => TIMESTAMPTZ),
            ];
        }
        vec![
            statement!(sql::MIGRATE_USAGE; *guest => TEXT, self.user => TEXT, self.usage_id => TEXT,
                self.at => TIMESTAMPTZ),
            statement!(sql::USAGE_DELETE; *guest => TEXT),
        ]
    }
}
