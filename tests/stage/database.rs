//! A database that fails when told to. Every method is forwarded by hand: nothing may bypass the strings.

use super::control::Control;
use async_trait::async_trait;
use guestbook::chat::{
    Conversation, ConversationId, Findings, GuestId, MessageId, ModelId, OwnerId, PromptKey,
    PromptSetting, Scope, Timestamp,
};
use guestbook::error::{Error, ErrorKind, Result};
use guestbook::storage::database::*;
use guestbook::storage::{Promise, Stats, Storage};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// The wrapper.
#[derive(Debug)]
pub(crate) struct FaultyDatabase {
    pub(crate) inner: Arc<dyn Database>,
    pub(crate) control: Arc<Control>,
    /// A guest whose messages make their batch `Invalid`.
    pub(crate) refused: Mutex<Option<GuestId>>,
    /// The messages of each call of `record`.
    pub(crate) batches: Mutex<Vec<usize>>,
    /// Batches at the same time, where a test says how many.
    pub(crate) writers: Option<usize>,
}

impl FaultyDatabase {
    pub(crate) fn new(
        inner: Arc<dyn Database>,
        control: Arc<Control>,
        writers: Option<usize>,
    ) -> Arc<Self> {
        let (refused, batches) = (Mutex::default(), Mutex::default());
        Arc::new(Self {
            inner,
            control,
            refused,
            batches,
            writers,
        })
    }

    fn judge(&self, batch: &Batch) -> Result<()> {
        let refused = self.refused.lock().unwrap();
        let mut guests = batch.groups.iter().flat_map(|group| &group.0);
        if guests.any(|entry| Some(&entry.message.guest) == refused.as_ref()) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "faulty",
                "record",
                "a refused guest",
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl Storage for FaultyDatabase {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn location(&self) -> String {
        self.inner.location()
    }
    async fn health(&self) -> Result<()> {
        self.control.pass("health", self.inner.health()).await
    }
    fn fatal(&self) -> Option<Error> {
        self.control.fatal().or_else(|| self.inner.fatal())
    }
    async fn durability(&self) -> Result<Promise> {
        self.inner.durability().await
    }
    async fn stats(&self) -> Result<Stats> {
        self.control.pass("stats", self.inner.stats()).await
    }
    async fn flush(&self) -> Result<()> {
        self.control.pass("flush", self.inner.flush()).await
    }
    async fn close(&self) -> Result<()> {
        self.control.pass("close", self.inner.close()).await
    }
}

#[async_trait]
impl Database for FaultyDatabase {
    fn writers(&self) -> usize {
        self.writers.unwrap_or_else(|| self.inner.writers())
    }

    async fn record(&self, batch: Arc<Batch>) -> Result<Vec<Outcome>> {
        let messages = batch.groups.iter().map(|group| group.0.len()).sum();
        self.batches.lock().unwrap().push(messages);
        let effect = async {
            self.judge(&batch)?;
            self.inner.record(Arc::clone(&batch)).await
        };
        self.control.pass("record", effect).await
    }
    async fn history(&self, chat: &ChatKey, page: Page, now: Timestamp) -> Result<Option<History>> {
        self.control
            .pass("history", self.inner.history(chat, page, now))
            .await
    }
    async fn message_sizes(
        &self,
        conversation: ConversationId,
        page: Page,
    ) -> Result<Vec<MessageSize>> {
        let effect = self.inner.message_sizes(conversation, page);
        self.control.pass("message_sizes", effect).await
    }
    fn is_fresh(&self, version: &CacheVersion) -> bool {
        self.inner.is_fresh(version)
    }
    async fn conversations(
        &self,
        owner: &OwnerId,
        before: Option<ConversationId>,
        limit: usize,
    ) -> Result<Vec<Conversation>> {
        let effect = self.inner.conversations(owner, before, limit);
        self.control.pass("conversations", effect).await
    }
    async fn erase(&self, guest: &GuestId, at: Timestamp) -> Result<Erased> {
        self.control
            .pass("erase", self.inner.erase(guest, at))
            .await
    }
    async fn migrate(&self, guest: &GuestId, user: &OwnerId, at: Timestamp) -> Result<Migrated> {
        self.control
            .pass("migrate", self.inner.migrate(guest, user, at))
            .await
    }
    async fn migration_failed(
        &self,
        guest: &GuestId,
        user: &OwnerId,
        at: Timestamp,
        cause: &str,
    ) -> Result<()> {
        let effect = self.inner.migration_failed(guest, user, at, cause);
        self.control.pass("migration_failed", effect).await
    }
    async fn expire(&self, now: Timestamp, limit: usize) -> Result<Erased> {
        self.control
            .pass("expire", self.inner.expire(now, limit))
            .await
    }
}

#[async_trait]
impl Outbox for FaultyDatabase {
    fn epoch(&self) -> Uuid {
        self.inner.epoch()
    }
    async fn list_debts(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ListDebt>> {
        self.control
            .pass("list_debts", self.inner.list_debts(after, now, limit))
            .await
    }
    async fn list_row(&self, guest: &GuestId, now: Timestamp) -> Result<Option<ListRow>> {
        self.control
            .pass("list_row", self.inner.list_row(guest, now))
            .await
    }
    async fn list_rows(
        &self,
        after: Option<ConversationId>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ListRow>> {
        self.control
            .pass("list_rows", self.inner.list_rows(after, now, limit))
            .await
    }
    async fn settle(&self, settled: Vec<Settled>, tally: Tally, at: Timestamp) -> Result<()> {
        self.control
            .pass("settle", self.inner.settle(settled, tally, at))
            .await
    }
    async fn removals_settled(&self, guests: Vec<GuestId>) -> Result<()> {
        self.control
            .pass("removals_settled", self.inner.removals_settled(guests))
            .await
    }
    async fn lapse(&self, now: Timestamp, limit: usize) -> Result<usize> {
        self.control
            .pass("lapse", self.inner.lapse(now, limit))
            .await
    }
    async fn lists_incarnation(&self) -> Result<Option<Uuid>> {
        self.control
            .pass("lists_incarnation", self.inner.lists_incarnation())
            .await
    }
    async fn set_lists_incarnation(&self, incarnation: Uuid) -> Result<()> {
        let effect = self.inner.set_lists_incarnation(incarnation);
        self.control.pass("set_lists_incarnation", effect).await
    }
}

#[async_trait]
impl Vectors for FaultyDatabase {
    async fn vectors_pending(
        &self,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>> {
        self.control
            .pass("vectors_pending", self.inner.vectors_pending(after, limit))
            .await
    }
    async fn vectors_missing(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Unembedded>> {
        let effect = self.inner.vectors_missing(model, after, limit);
        self.control.pass("vectors_missing", effect).await
    }
    async fn vectors_missing_count(&self, model: &ModelId) -> Result<u64> {
        let effect = self.inner.vectors_missing_count(model);
        self.control.pass("vectors_missing_count", effect).await
    }
    async fn vectors_update(
        &self,
        model: &ModelId,
        updates: Vec<VectorUpdate>,
        at: Timestamp,
    ) -> Result<()> {
        let effect = self.inner.vectors_update(model, updates, at);
        self.control.pass("vectors_update", effect).await
    }
}

#[async_trait]
impl Search for FaultyDatabase {
    async fn search(&self, asked: SearchRequest) -> Result<Findings> {
        self.control.pass("search", self.inner.search(asked)).await
    }
    async fn search_words(&self, asked: WordsRequest) -> Result<Findings> {
        let effect = self.inner.search_words(asked);
        self.control.pass("search_words", effect).await
    }
    async fn context(&self, asked: ContextRequest) -> Result<Option<Context>> {
        self.control
            .pass("context", self.inner.context(asked))
            .await
    }
}

#[async_trait]
impl Prompts for FaultyDatabase {
    async fn prompts_find(
        &self,
        keys: &[PromptKey],
        now: Timestamp,
    ) -> Result<Vec<Option<KeptAnswer>>> {
        self.control
            .pass("prompts_find", self.inner.prompts_find(keys, now))
            .await
    }
    async fn prompts_near(
        &self,
        setting: &PromptSetting,
        model: &ModelId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<NearPrompt>> {
        let effect = self.inner.prompts_near(setting, model, now, limit);
        self.control.pass("prompts_near", effect).await
    }
    async fn prompts_put(&self, answers: Vec<NewAnswer>, at: Timestamp) -> Result<()> {
        self.control
            .pass("prompts_put", self.inner.prompts_put(answers, at))
            .await
    }
    async fn prompts_remove(&self, scope: Option<&Scope>, limit: usize) -> Result<usize> {
        let effect = self.inner.prompts_remove(scope, limit);
        self.control.pass("prompts_remove", effect).await
    }
    async fn prompts_expire(&self, now: Timestamp, limit: usize) -> Result<usize> {
        let effect = self.inner.prompts_expire(now, limit);
        self.control.pass("prompts_expire", effect).await
    }
    async fn prompts_evict(&self, bytes: u64, limit: usize) -> Result<usize> {
        let effect = self.inner.prompts_evict(bytes, limit);
        self.control.pass("prompts_evict", effect).await
    }
    async fn prompts_tally(&self, tally: PromptTally, at: Timestamp) -> Result<()> {
        self.control
            .pass("prompts_tally", self.inner.prompts_tally(tally, at))
            .await
    }
    async fn prompts_stats(&self, now: Timestamp) -> Result<PromptStats> {
        self.control
            .pass("prompts_stats", self.inner.prompts_stats(now))
            .await
    }
}

#[async_trait]
impl Corpus for FaultyDatabase {
    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }
    async fn indexable(
        &self,
        model: &ModelId,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<IndexablePage> {
        let effect = self.inner.indexable(model, after, limit);
        self.control.pass("indexable", effect).await
    }
    async fn indexable_of(&self, model: &ModelId, ids: Vec<MessageId>) -> Result<Vec<Indexable>> {
        let effect = self.inner.indexable_of(model, ids);
        self.control.pass("indexable_of", effect).await
    }
    async fn embedded_since(
        &self,
        since: Timestamp,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, MessageId)>> {
        let effect = self.inner.embedded_since(since, after, limit);
        self.control.pass("embedded_since", effect).await
    }
    async fn searchable(&self, model: &ModelId) -> Result<u64> {
        self.control
            .pass("searchable", self.inner.searchable(model))
            .await
    }
    async fn candidates(
        &self,
        model: &ModelId,
        proposal: Proposal,
        now: Timestamp,
    ) -> Result<Vec<Candidate>> {
        let effect = self.inner.candidates(model, proposal, now);
        self.control.pass("candidates", effect).await
    }
}

#[async_trait]
impl Audit for FaultyDatabase {
    async fn dossiers(&self, scope: AuditScope, messages: usize) -> Result<DossierPage> {
        self.control
            .pass("dossiers", self.inner.dossiers(scope, messages))
            .await
    }
    async fn usage_audits(&self, after: Option<&OwnerId>, limit: usize) -> Result<Vec<UsageAudit>> {
        self.control
            .pass("usage_audits", self.inner.usage_audits(after, limit))
            .await
    }
    async fn usage_audit(&self, owner: &OwnerId) -> Result<UsageAudit> {
        self.control
            .pass("usage_audit", self.inner.usage_audit(owner))
            .await
    }
    async fn orphans(&self, limit: usize) -> Result<Vec<Orphan>> {
        self.control
            .pass("orphans", self.inner.orphans(limit))
            .await
    }
    async fn metrics_audit(&self) -> Result<MetricsAudit> {
        self.control
            .pass("metrics_audit", self.inner.metrics_audit())
            .await
    }
    async fn metrics_missing(&self, hours: Vec<Timestamp>) -> Result<Vec<Timestamp>> {
        self.control
            .pass("metrics_missing", self.inner.metrics_missing(hours))
            .await
    }
    async fn repair(&self, repairs: Vec<Repair>, at: Timestamp) -> Result<()> {
        self.control
            .pass("repair", self.inner.repair(repairs, at))
            .await
    }
}

#[async_trait]
impl SettingsStore for FaultyDatabase {
    async fn stored_settings(&self) -> Result<StoredSettings> {
        let effect = self.inner.stored_settings();
        self.control.pass("stored_settings", effect).await
    }
    async fn change_setting(
        &self,
        which: Persisted,
        wanted: PersistedSettings,
        at: Timestamp,
    ) -> Result<()> {
        let effect = self.inner.change_setting(which, wanted, at);
        self.control.pass("change_setting", effect).await
    }
    async fn refresh_settings(&self) -> Result<Option<StoredSettings>> {
        let effect = self.inner.refresh_settings();
        self.control.pass("refresh_settings", effect).await
    }
    async fn retain_some(&self, limit: usize) -> Result<bool> {
        let effect = self.inner.retain_some(limit);
        self.control.pass("retain_some", effect).await
    }
    async fn lists_to_retime(&self, now: Timestamp, limit: usize) -> Result<Option<RetimePage>> {
        let effect = self.inner.lists_to_retime(now, limit);
        self.control.pass("lists_to_retime", effect).await
    }
    async fn note_retimed(&self, page: RetimePage) -> Result<()> {
        let effect = self.inner.note_retimed(page);
        self.control.pass("note_retimed", effect).await
    }
}
