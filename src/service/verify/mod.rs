//! Verify: "why is nothing in that table?" Recounts every store against every other one and names each difference.
//!
//! A running service changes while it is being looked at. What looks wrong is therefore looked at again, after everything
//! in flight has had time to settle, and only what stays wrong is reported.

mod chats;
mod check;
mod counters;
mod repair;
mod report;
mod windows;

pub use report::{Difference, Place, Report, TableReport};

use super::Service;
use check::{Context, Listed, Tally};
use futures_util::future::join_all;
use guestbook_core::error::Result;
use guestbook_core::{ConversationId, GuestId, OwnerId, Timestamp};
use guestbook_storage::database::{AuditScope, Dossier, UsageAudit};
use guestbook_storage::list_cache::Head;
use std::collections::HashSet;

/// Messages read at a time.
const PAGE_MESSAGES: usize = 2000;
const PAGE_OWNERS: usize = 500;
const PAGE_LISTS: usize = 256;
/// Orphans named per table; more are counted only.
const ORPHANS: usize = 100;
/// How often something that looks wrong is looked at again.
const LOOKS: usize = 4;

/// What to look at.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Everything.
    All,
    /// One guest: the chat, and conversations begun as that guest.
    Guest(GuestId),
}

/// Whether to mend what is derived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Only look.
    Look,
    /// Rebuild lists, counters, mappings and missing vectors, then look again.
    Repair,
}

/// Things that looked wrong and are to be looked at again.
#[derive(Default)]
struct Suspects {
    conversations: Vec<ConversationId>,
    owners: Vec<OwnerId>,
    lists: Vec<GuestId>,
}

impl Service {
    /// Recounts, and with [`Mode::Repair`] mends what is derived. Never invents a message.
    ///
    /// # Errors
    /// A store that cannot be read: then nothing is known.
    pub async fn verify(&self, scope: &Scope, mode: Mode) -> Result<Report> {
        let found = self.recount(scope).await?;
        if mode == Mode::Look || found.fixes.is_empty() {
            return Ok(found.into_report(scope, self.now(), Vec::new()));
        }
        let mended = repair::apply(self, found.fixes).await?;
        self.settle().await?;
        let rest = self.recount(scope).await?;
        Ok(rest.into_report(scope, self.now(), mended))
    }

    async fn recount(&self, scope: &Scope) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut suspects = self.first_look(scope, &mut tally).await?;
        for look in 1..=LOOKS {
            if suspects.is_empty() {
                break;
            }
            tokio::time::sleep(self.settings().verify_wait).await;
            suspects = self.look_again(suspects, &mut tally, look == LOOKS).await?;
        }
        match scope {
            Scope::All => {
                let orphans = self.stores().audit.orphans(ORPHANS).await?;
                tally.orphans(orphans, self.parts().embedder.is_some());
                tally.metrics(&self.stores().audit.metrics_audit().await?);
            }
            Scope::Guest(_) => {
                let hours: Vec<Timestamp> = tally.hours.iter().copied().collect();
                let expected = hours.len() as u64;
                let missing = self.stores().audit.metrics_missing(hours).await?;
                tally.hours_missing(expected, &missing);
            }
        }
        Ok(tally)
    }

    /// Everything once. What is well is counted, what is not is returned.
    async fn first_look(&self, scope: &Scope, tally: &mut Tally) -> Result<Suspects> {
        let context = self.context().await?;
        let mut look = Look::default();
        let audit = &self.stores().audit;
        let first = match scope {
            Scope::All => AuditScope::AllAfter(None),
            Scope::Guest(guest) => AuditScope::Guest(guest.clone()),
        };
        let mut page = audit.dossiers(first, PAGE_MESSAGES).await?;
        loop {
            // The next page is read while this one is checked.
            let next = async {
                match page.next {
                    Some(last) => audit
                        .dossiers(AuditScope::AllAfter(Some(last)), PAGE_MESSAGES)
                        .await
                        .map(Some),
                    None => Ok(None),
                }
            };
            let (next, ()) = tokio::join!(
                next,
                self.check_page(&page.dossiers, &context, tally, &mut look)
            );
            match next? {
                Some(next) => page = next,
                None => break,
            }
        }
        match scope {
            Scope::All => {
                self.all_owners(tally, &mut look.suspects).await?;
                if let Err(cause) = self.all_lists(&context, &mut look).await {
                    tally.lists_unreadable(&cause);
                }
            }
            Scope::Guest(guest) => {
                look.owners.insert(OwnerId::from(guest));
                look.suspects.owners.extend(look.owners);
                look.suspects.lists.push(guest.clone());
            }
        }
        Ok(look.suspects)
    }

    async fn check_page(
        &self,
        dossiers: &[Dossier],
        context: &Context,
        tally: &mut Tally,
        look: &mut Look,
    ) {
        // Asked for together, so that the list store's thread finds the next question waiting.
        let lists = join_all(
            dossiers
                .iter()
                .map(|dossier| self.listed_as(dossier, context)),
        )
        .await;
        for (dossier, listed) in dossiers.iter().zip(lists) {
            if !tally.try_dossier(dossier, &listed, context) {
                look.suspects.conversations.push(dossier.conversation.id);
            }
            if windows::should_be_listed(dossier, context) || chats::is_retired(dossier, context) {
                look.listed.insert(dossier.conversation.owner.clone());
            }
            look.owners.insert(dossier.conversation.owner.clone());
        }
    }

    /// What looked wrong, once more; what still does is returned, or with `last` reported.
    async fn look_again(
        &self,
        suspects: Suspects,
        tally: &mut Tally,
        last: bool,
    ) -> Result<Suspects> {
        let context = self.context().await?;
        let mut still = Suspects::default();
        for id in suspects.conversations {
            let page = self
                .stores()
                .audit
                .dossiers(AuditScope::Conversation(id), 1)
                .await?;
            let Some(dossier) = page.dossiers.into_iter().next() else {
                continue;
            };
            let listed = self.listed_as(&dossier, &context).await;
            if last {
                tally.dossier(&dossier, &listed, &context);
            } else if !tally.try_dossier(&dossier, &listed, &context) {
                still.conversations.push(id);
            }
        }
        for owner in suspects.owners {
            let audit = self.stores().audit.usage_audit(&owner).await?;
            if last {
                tally.usage(&audit);
            } else if !tally.try_usage(&audit) {
                still.owners.push(owner);
            }
        }
        for guest in suspects.lists {
            if self.is_stray(&guest, &context).await? {
                if last {
                    tally.stray_list(&guest);
                } else {
                    still.lists.push(guest);
                }
            }
        }
        Ok(still)
    }

    /// Lets what is in flight settle, then says what holds from now on.
    async fn context(&self) -> Result<Context> {
        let began = self.now();
        self.barrier().await;
        self.settle_for_verify().await;
        self.barrier().await; // a batch on its way may be carrying notes
        Ok(Context {
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

    /// A list store that cannot settle is what verify is to find out, not a reason to stop.
    async fn settle_for_verify(&self) {
        if let Err(cause) = self.settle().await {
            tracing::warn!(step = "verify", %cause, "what is in flight could not be settled first");
        }
    }

    async fn listed_as(&self, dossier: &Dossier, context: &Context) -> Listed {
        let Ok(guest) = GuestId::parse_stored(dossier.conversation.owner.as_str()) else {
            return Listed::None;
        };
        if !windows::should_be_listed(dossier, context) {
            return Listed::None;
        }
        match self.parts().lists.range(&guest, context.now).await {
            Ok(Some(list)) => match self.is_ahead(&guest, &list.head).await {
                Ok(ahead) => Listed::from_list(&list, ahead),
                Err(cause) => Listed::Unreadable(cause),
            },
            Ok(None) => Listed::None,
            Err(cause) => Listed::Unreadable(cause),
        }
    }

    async fn all_owners(&self, tally: &mut Tally, suspects: &mut Suspects) -> Result<()> {
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
            let wrong = |audit: &UsageAudit| !tally.try_usage(audit);
            suspects
                .owners
                .extend(audits.into_iter().filter(wrong).map(|audit| audit.owner));
        }
    }

    /// Lists whose chat was not seen.
    async fn all_lists(&self, context: &Context, look: &mut Look) -> Result<()> {
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

    /// Whether a guest has a list that has not expired but no chat it could be a view of.
    async fn is_stray(&self, guest: &GuestId, context: &Context) -> Result<bool> {
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
        let page = audit.dossiers(scope, PAGE_MESSAGES).await?;
        let retired = |dossier: &Dossier| chats::is_retired(dossier, context);
        Ok(!page.dossiers.iter().any(retired))
    }
}

/// What the first look has seen.
#[derive(Default)]
struct Look {
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

impl Tally {
    fn into_report(self, scope: &Scope, at: Timestamp, repaired: Vec<String>) -> Report {
        let guest = match scope {
            Scope::All => None,
            Scope::Guest(guest) => Some(guest.to_string()),
        };
        Report::new(guest, at, self.tables, repaired)
    }
}
