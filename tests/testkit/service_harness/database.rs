//! A database that fails when told to: each part of it passes through the strings.

use super::control::Control;
use super::faulty::Faulty;
use guestbook::core::error::{Error, ErrorKind, Result};
use guestbook::core::{
    Conversation, ConversationId, GuestId, MessageId, ModelId, OwnerId, PromptKey, PromptScope,
    PromptSetting, SearchResults, Timestamp,
};
use guestbook::storage::database::*;
use guestbook::storage::gated;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// The database, and its chats as they are in it.
pub fn faulty(
    inner: &Stores,
    control: &Arc<Control>,
    writers: Option<usize>,
) -> (Stores, Arc<FaultyChats>) {
    let chats = Arc::new(FaultyChats {
        inner: Arc::clone(&inner.chats),
        control: Arc::clone(control),
        refused: Mutex::default(),
        batches: Mutex::default(),
        writers,
    });
    let stores = Stores {
        backend: Faulty::new(&inner.backend, control),
        chats: chats.clone(),
        outbox: Faulty::new(&inner.outbox, control),
        vectors: Faulty::new(&inner.vectors, control),
        corpus: Faulty::new(&inner.corpus, control),
        search: Faulty::new(&inner.search, control),
        prompts: Faulty::new(&inner.prompts, control),
        audit: Faulty::new(&inner.audit, control),
        settings: Faulty::new(&inner.settings, control),
    };
    (stores, chats)
}

/// Chats that also refuse, and count.
#[derive(Debug)]
pub struct FaultyChats {
    inner: Arc<dyn Chats>,
    control: Arc<Control>,
    /// A guest whose messages make their batch `Invalid`.
    pub refused: Mutex<Option<GuestId>>,
    /// The messages of each call of `record`.
    pub batches: Mutex<Vec<usize>>,
    /// Batches at the same time, where a test says how many.
    pub writers: Option<usize>,
}

impl FaultyChats {
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

    async fn pass<T>(
        &self,
        method: &'static str,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.control.pass(method, effect).await
    }
}

gated! {
    impl Chats for FaultyChats => pass {
        fn is_fresh(&self, version: &CacheVersion) -> bool;
        async fn history(&self, chat: &ChatKey, page: PageRange, now: Timestamp) -> Result<Option<History>>;
        async fn message_sizes(&self, conversation: ConversationId, page: PageRange) -> Result<Vec<MessageSize>>;
        async fn conversations(
            &self,
            owner: &OwnerId,
            before: Option<ConversationId>,
            limit: usize,
        ) -> Result<Vec<Conversation>>;
        async fn erase(&self, guest: &GuestId, at: Timestamp) -> Result<Erased>;
        async fn migrate(&self, guest: &GuestId, user: &OwnerId, at: Timestamp) -> Result<Migrated>;
        async fn migration_failed(&self, guest: &GuestId, user: &OwnerId, at: Timestamp, cause: &str) -> Result<()>;
        async fn expire(&self, now: Timestamp, limit: usize) -> Result<Erased>;
        with
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
            self.pass("record", effect).await
        }
    }
}

gated! {
    impl Outbox for Faulty<dyn Outbox> => pass {
        fn epoch(&self) -> Uuid;
        async fn outbox_entries(
            &self,
            after: Option<ConversationId>,
            now: Timestamp,
            limit: usize,
        ) -> Result<Vec<OutboxEntry>>;
        async fn list_row(&self, guest: &GuestId, now: Timestamp) -> Result<Option<ListRow>>;
        async fn list_rows(&self, after: Option<ConversationId>, now: Timestamp, limit: usize) -> Result<Vec<ListRow>>;
        async fn mark_synced(&self, synced_ranges: Vec<SyncedRange>, deltas: CounterDeltas, at: Timestamp) -> Result<()>;
        async fn removals_done(&self, guests: Vec<GuestId>) -> Result<()>;
        async fn lapse(&self, now: Timestamp, limit: usize) -> Result<usize>;
        async fn lists_incarnation(&self) -> Result<Option<Uuid>>;
        async fn set_lists_incarnation(&self, incarnation: Uuid) -> Result<()>;
    }
}

gated! {
    impl Vectors for Faulty<dyn Vectors> => pass {
        async fn vectors_pending(&self, after: Option<MessageId>, limit: usize) -> Result<Vec<Unembedded>>;
        async fn vectors_missing(
            &self,
            model: &ModelId,
            after: Option<MessageId>,
            limit: usize,
        ) -> Result<Vec<Unembedded>>;
        async fn vectors_missing_count(&self, model: &ModelId) -> Result<u64>;
        async fn vectors_update(&self, model: &ModelId, updates: Vec<VectorUpdate>, at: Timestamp) -> Result<()>;
    }
}

gated! {
    impl Search for Faulty<dyn Search> => pass {
        async fn search(&self, asked: SearchRequest) -> Result<SearchResults>;
        async fn search_words(&self, asked: WordsRequest) -> Result<SearchResults>;
        async fn context(&self, asked: ContextRequest) -> Result<Option<Context>>;
    }
}

gated! {
    impl Prompts for Faulty<dyn Prompts> => pass {
        async fn prompts_find(&self, keys: &[PromptKey], now: Timestamp) -> Result<Vec<Option<CacheEntry>>>;
        async fn prompts_near(
            &self,
            setting: &PromptSetting,
            model: &ModelId,
            now: Timestamp,
            limit: usize,
        ) -> Result<Vec<NearPrompt>>;
        async fn prompts_put(&self, answers: Vec<NewCacheEntry>, at: Timestamp) -> Result<()>;
        async fn prompts_remove(&self, scope: Option<&PromptScope>, limit: usize) -> Result<usize>;
        async fn prompts_expire(&self, now: Timestamp, limit: usize) -> Result<usize>;
        async fn prompts_evict(&self, bytes: u64, limit: usize) -> Result<usize>;
        async fn lookup_totals(&self, deltas: LookupTotals, at: Timestamp) -> Result<()>;
        async fn prompts_stats(&self, now: Timestamp) -> Result<PromptStats>;
    }
}

gated! {
    impl VectorSource for Faulty<dyn VectorSource> => pass {
        fn is_shared(&self) -> bool;
        async fn indexable(&self, model: &ModelId, after: Option<MessageId>, limit: usize) -> Result<IndexedVectorPage>;
        async fn indexable_of(&self, model: &ModelId, ids: Vec<MessageId>) -> Result<Vec<IndexedVector>>;
        async fn embedded_since(
            &self,
            since: Timestamp,
            after: Option<MessageId>,
            limit: usize,
        ) -> Result<Vec<(Timestamp, MessageId)>>;
        async fn searchable(&self, model: &ModelId) -> Result<u64>;
        async fn candidates(&self, model: &ModelId, proposal: CandidateRequest, now: Timestamp) -> Result<Vec<Candidate>>;
    }
}

gated! {
    impl Audit for Faulty<dyn Audit> => pass {
        async fn conversation_audits(&self, scope: AuditScope, messages: usize) -> Result<ConversationAuditPage>;
        async fn usage_audits(&self, after: Option<&OwnerId>, limit: usize) -> Result<Vec<UsageAudit>>;
        async fn usage_audit(&self, owner: &OwnerId) -> Result<UsageAudit>;
        async fn orphans(&self, limit: usize) -> Result<Vec<Orphan>>;
        async fn metrics_audit(&self) -> Result<MetricsAudit>;
        async fn metrics_missing(&self, hours: Vec<Timestamp>) -> Result<Vec<Timestamp>>;
        async fn repair(&self, repairs: Vec<Repair>, at: Timestamp) -> Result<()>;
    }
}

gated! {
    impl SettingsStore for Faulty<dyn SettingsStore> => pass {
        async fn stored_settings(&self) -> Result<StoredSettings>;
        async fn change_setting(&self, which: Persisted, wanted: PersistedSettings, at: Timestamp) -> Result<()>;
        async fn refresh_settings(&self) -> Result<Option<StoredSettings>>;
        async fn retain_some(&self, limit: usize) -> Result<bool>;
        async fn lists_to_retime(&self, now: Timestamp, limit: usize) -> Result<Option<ReschedulePage>>;
        async fn note_retimed(&self, page: ReschedulePage) -> Result<()>;
    }
}
