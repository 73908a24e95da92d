//! Verify: "why is nothing in that table?" Compares every store with every other one and names each difference.
//!
//! A running service changes during verify. A difference is therefore rechecked after everything in flight has had time to
//! be marked as synced, and only a lasting one is reported.

mod chats;
mod check;
mod counters;
mod repair;
mod report;
mod windows;

pub use report::{AuditedTable, Difference, TableReport, VerifyReport};

use super::Service;
use check::{AuditContext, AuditTotals, AuditedList};
use futures_util::future::join_all;
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, GuestId, OwnerId, Timestamp};
use guestbook_storage::database::{AuditScope, ConversationAudit, UsageAudit};
use guestbook_storage::list_cache::{Head, ListPage, ListRange};
use std::collections::HashSet;

/// Messages read at a time.
const PAGE_MESSAGES: usize = 2000;
const PAGE_OWNERS: usize = 500;
const PAGE_LISTS: usize = 256;
/// Orphans named per table; further ones are only counted.
const ORPHANS: usize = 100;
/// How often a difference is rechecked.
const LOOKS: usize = 4;

/// The scope of a verify.
#[derive(Clone, Debug)]
pub enum VerifyScope {
    /// Everything.
    All,
    /// One guest: the chat, and conversations begun as that guest.
    Guest(GuestId),
}

/// Whether to repair derived data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VerifyMode {
    /// Report only.
    Look,
    /// Rebuild lists, counters, mappings and missing vectors, then verify again.
    Repair,
}

/// Items that differed and must be rechecked.
#[derive(Default)]
struct Suspects {
    conversations: Vec<ConversationId>,
    owners: Vec<OwnerId>,
    lists: Vec<GuestId>,
}

impl Service {
    /// Compares all stores, and with [`VerifyMode::Repair`] repairs derived data. Never invents a message.
    ///
    /// # Errors
    /// A store that cannot be read: then nothing is known.
    pub async fn verify(&self, scope: &VerifyScope, mode: VerifyMode) -> Result<VerifyReport> {
        let found = self.recount(scope).await?;
        if mode == VerifyMode::Look || found.fixes.is_empty() {
            return Ok(found.into_report(scope, self.now(), Vec::new()));
        }
        let repaired = repair::apply(self, found.fixes).await?;
        self.mark_synced().await?;
        let rest = self.recount(scope).await?;
        Ok(rest.into_report(scope, self.now(), repaired))
    }

    async fn recount(&self, scope: &VerifyScope) -> Result<AuditTotals> {
        let mut deltas = AuditTotals::default();
        let mut suspects = self.first_look(scope, &mut deltas).await?;
        for look in 1..=LOOKS {
            if suspects.is_empty() {
                break;
            }
            tokio::time::sleep(self.settings().verify_wait).await;
            suspects = self
                .look_again(suspects, &mut deltas, look == LOOKS)
                .await?;
        }
        match scope {
            VerifyScope::All => {
                let orphans = self.stores().audit.orphans(ORPHANS).await?;
                deltas.orphans(orphans, self.parts().embedder.is_some());
                deltas.metrics(&self.stores().audit.metrics_audit().await?);
            }
            VerifyScope::Guest(_) => {
                let hours: Vec<Timestamp> = deltas.hours.iter().copied().collect();
                let expected = hours.len() as u64;
                let missing = self.stores().audit.metrics_missing(hours).await?;
                deltas.hours_missing(expected, &missing);
            }
        }
        Ok(deltas)
    }

    /// The first pass: consistent items are counted, the others returned.
    async fn first_look(&self, scope: &VerifyScope, deltas: &mut AuditTotals) -> Result<Suspects> {
        let context = self.context().await?;
        let mut look = FirstPass::default();
        let audit = &self.stores().audit;
        let first = match scope {
            VerifyScope::All => AuditScope::AllAfter(None),
            VerifyScope::Guest(guest) => AuditScope::Guest(guest.clone()),
        };
        let mut page = audit.conversation_audits(first, PAGE_MESSAGES).await?;
        loop {
            // The next page is read while the current one is checked.
            let next = async {
                match page.next {
                    Some(last) => audit
                        .conversation_audits(AuditScope::AllAfter(Some(last)), PAGE_MESSAGES)
                        .await
                        .map(Some),
                    None => Ok(None),
                }
            };
            let (next, ()) = tokio::join!(
                next,
                self.check_page(&page.conversation_audits, &context, deltas, &mut look)
            );
            match next? {
                Some(next) => page = next,
                None => break,
            }
        }
        match scope {
            VerifyScope::All => {
                self.all_owners(deltas, &mut look.suspects).await?;
                if let Err(cause) = self.all_lists(&context, &mut look).await {
                    deltas.lists_unreadable(&cause);
                }
            }
            VerifyScope::Guest(guest) => {
                look.owners.insert(OwnerId::from(guest));
                look.suspects.owners.extend(look.owners);
                look.suspects.lists.push(guest.clone());
            }
        }
        Ok(look.suspects)
    }

    async fn check_page(
        &self,
        conversation_audits: &[ConversationAudit],
        context: &AuditContext,
        deltas: &mut AuditTotals,
        look: &mut FirstPass,
    ) {
        // Requested together, so that the list store's thread never idles between two reads.
        let lists = join_all(
            conversation_audits
                .iter()
                .map(|conversation_audit| self.listed_as(conversation_audit, context)),
        )
        .await;
        for (conversation_audit, listed) in conversation_audits.iter().zip(lists) {
            if !deltas.try_conversation_audit(conversation_audit, &listed, context) {
                look.suspects
                    .conversations
                    .push(conversation_audit.conversation.id);
            }
            if windows::should_be_listed(conversation_audit, context)
                || chats::is_retired(conversation_audit, context)
            {
                look.listed
                    .insert(conversation_audit.conversation.owner.clone());
            }
            look.owners
                .insert(conversation_audit.conversation.owner.clone());
        }
    }

    /// Rechecks suspects; returns those that still differ, or with `last` reports them.
    async fn look_again(
        &self,
        suspects: Suspects,
        deltas: &mut AuditTotals,
        last: bool,
    ) -> Result<Suspects> {
        let context = self.context().await?;
        let mut still = Suspects::default();
        for id in suspects.conversations {
            let page = self
                .stores()
                .audit
                .conversation_audits(AuditScope::Conversation(id), 1)
                .await?;
            let Some(conversation_audit) = page.conversation_audits.into_iter().next() else {
                continue;
            };
            let listed = self.listed_as(&conversation_audit, &context).await;
            if last {
                deltas.conversation_audit(&conversation_audit, &listed, &context);
            } else if !deltas.try_conversation_audit(&conversation_audit, &listed, &context) {
                still.conversations.push(id);
            }
        }
        for owner in suspects.owners {
            let audit = self.stores().audit.usage_audit(&owner).await?;
            if last {
                deltas.usage(&audit);
            } else if !deltas.try_usage(&audit) {
                still.owners.push(owner);
            }
        }
        for guest in suspects.lists {
            if self.is_stray(&guest, &context).await? {
                if last {
                    deltas.stray_list(&guest);
                } else {
                    still.lists.push(guest);
                }
            }
        }
        Ok(still)
    }

    /// Lets everything in flight be marked as synced, then reads the settings of this pass.
    async fn context(&self) -> Result<AuditContext> {
        let began = self.now();
        self.barrier().await;
        self.wait_until_synced().await;
        self.barrier().await; // a batch in flight may carry sync marks
        Ok(AuditContext {
            began,
            now: self.now(),
            settings: self.stores().settings.stored_settings().await?,
            epoch: self.stores().outbox.epoch(),
            model: self
                .parts()
                .embedder
                .as_ref()
                .map(|embedder| embedder.model().clone()),
            dimension: self
                .parts()
                .embedder
                .as_ref()
                .map_or(0, |embedder| embedder.dimension() as u64),
        })
    }

    /// A list store that cannot mark as synced is a finding of verify, not a reason to stop.
    async fn wait_until_synced(&self) {
        if let Err(cause) = self.mark_synced().await {
            tracing::warn!(step = "verify", %cause, "messages in flight could not be marked as synced first");
        }
    }

    async fn listed_as(
        &self,
        conversation_audit: &ConversationAudit,
        context: &AuditContext,
    ) -> AuditedList {
        let Ok(guest) = GuestId::parse_stored(conversation_audit.conversation.owner.as_str())
        else {
            return AuditedList::None;
        };
        if !windows::should_be_listed(conversation_audit, context) {
            return AuditedList::None;
        }
        let listed = self.audited_list(&guest, context.now).await;
        listed.unwrap_or_else(AuditedList::Unreadable)
    }

    /// Reads a list step by step. One that is replaced meanwhile shows as wrong, and is looked at again.
    async fn audited_list(&self, guest: &GuestId, now: Timestamp) -> Result<AuditedList> {
        let lists = &self.parts().lists;
        let Some(page) = lists.range(guest, ListRange::step(0), now).await? else {
            return Ok(AuditedList::None);
        };
        let (head, mut next) = (page.head, page.next());
        let mut items = check::hashed(&page);
        while next < head.next {
            let page = lists.range(guest, ListRange::step(next), now).await?;
            let is_same = |page: &ListPage| page.head.origin == head.origin && page.first == next;
            let Some(page) = page.filter(is_same).filter(|page| !page.items.is_empty()) else {
                break;
            };
            items.extend(check::hashed(&page));
            next = page.next();
        }
        items.truncate((head.next - head.from) as usize);
        Ok(AuditedList::List {
            origin: head.origin,
            from: head.from,
            is_ahead: self.is_ahead(guest, &head).await?,
            items,
        })
    }

    async fn all_owners(&self, deltas: &mut AuditTotals, suspects: &mut Suspects) -> Result<()> {
        let mut after: Option<OwnerId> = None;
        loop {
            let audits = self
                .stores()
                .audit
                .usage_audits(after.as_ref(), PAGE_OWNERS)
                .await?;
            let Some(last) = audits.last() else {
                return Ok(());
            };
            after = Some(last.owner.clone());
            let wrong = |audit: &UsageAudit| !deltas.try_usage(audit);
            suspects
                .owners
                .extend(audits.into_iter().filter(wrong).map(|audit| audit.owner));
        }
    }

    /// Lists whose chat was not seen.
    async fn all_lists(&self, context: &AuditContext, look: &mut FirstPass) -> Result<()> {
        let mut after: Option<GuestId> = None;
        loop {
            let guests = self
                .parts()
                .lists
                .guests(after.as_ref(), PAGE_LISTS)
                .await?;
            let Some(last) = guests.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let strays: Vec<_> = guests
                .into_iter()
                .filter(|guest| !look.listed.contains(&OwnerId::from(guest)))
                .collect();
            let heads = self.parts().lists.heads(strays.clone()).await?;
            let lives =
                |head: &Option<Head>| head.is_some_and(|head| context.now < head.expires_at);
            let living = strays
                .into_iter()
                .zip(heads)
                .filter(|(_, head)| lives(head));
            look.suspects.lists.extend(living.map(|(guest, _)| guest));
        }
    }

    /// Whether a guest has a live list but no chat that it could be a view of.
    async fn is_stray(&self, guest: &GuestId, context: &AuditContext) -> Result<bool> {
        let Ok(heads) = self.parts().lists.heads(vec![guest.clone()]).await else {
            return Ok(false);
        };
        let lives = heads
            .into_iter()
            .flatten()
            .any(|head| context.now < head.expires_at);
        let (outbox, audit) = (&self.stores().outbox, &self.stores().audit);
        if !lives || outbox.list_row(guest, context.now).await?.is_some() {
            return Ok(false);
        }
        let scope = AuditScope::Guest(guest.clone());
        let page = audit.conversation_audits(scope, PAGE_MESSAGES).await?;
        let retired =
            |conversation_audit: &ConversationAudit| chats::is_retired(conversation_audit, context);
        Ok(!page.conversation_audits.iter().any(retired))
    }
}

/// The results of the first pass.
#[derive(Default)]
struct FirstPass {
    suspects: Suspects,
    owners: HashSet<OwnerId>,
    /// The guests that should have a list.
    listed: HashSet<OwnerId>,
}

impl Suspects {
    fn is_empty(&self) -> bool {
        self.conversations.is_empty() && self.owners.is_empty() && self.lists.is_empty()
    }
}

impl AuditTotals {
    fn into_report(
        self,
        scope: &VerifyScope,
        at: Timestamp,
        repaired: Vec<String>,
    ) -> VerifyReport {
        let guest = match scope {
            VerifyScope::All => None,
            VerifyScope::Guest(guest) => Some(guest.to_string()),
        };
        VerifyReport::new(guest, at, self.tables, repaired)
    }
}
