//! Laws of the settings that are stored with the tables, and of what a change of them does to what is there.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{Timestamp, Ttl};
use guestbook_storage::database::{Persisted, PersistedSettings, ReschedulePage, StoredSettings};
use guestbook_storage::list_cache::{Append, NewLife, Origin};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

impl Fixture {
    async fn stored(&self) -> StoredSettings {
        self.database.settings.stored_settings().await.unwrap()
    }

    async fn change(&self, which: Persisted, change: impl FnOnce(&mut PersistedSettings)) {
        let mut wanted = self.stored().await.held.unwrap();
        change(&mut wanted);
        let changed = self.database.settings.change_setting(which, wanted, noon());
        changed.await.unwrap();
        while self.database.settings.retain_some(1).await.unwrap() {}
    }

    async fn live(&self, ttl: Duration) {
        let to = |wanted: &mut PersistedSettings| wanted.list_ttl = Ttl(ttl);
        self.change(Persisted::ListTtl, to).await;
    }

    async fn next_page(&self, now: Timestamp, limit: usize) -> Option<ReschedulePage> {
        let asked = self.database.settings.lists_to_retime(now, limit).await;
        asked.unwrap()
    }

    /// Gives the rows of every list their life, a list at a time; whose they were, in this order.
    async fn retime(&self, now: Timestamp) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(page) = self.next_page(now, 1).await {
            names.extend(page.lists.iter().map(|list| list.guest.to_string()));
            self.database.settings.note_retimed(page).await.unwrap();
        }
        names
    }

    /// When a guest's list goes, if it is there at `now`.
    async fn goes(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        let row = self
            .database
            .outbox
            .list_row(&guest(name), now)
            .await
            .unwrap();
        row.map(|row| row.window.expires_at)
    }

    async fn listed(&self, name: &str, at: Timestamp, expires_at: Timestamp) -> Origin {
        let said = self.say(at, name, "hello").await;
        let origin = Origin {
            epoch: self.database.outbox.epoch(),
            conversation: said.conversation,
        };
        let append = Append {
            guest: guest(name),
            origin,
            from: 0,
            first: 0,
            items: vec![crate::lists::item(0)],
            expires_at,
            at,
        };
        self.lists.apply(vec![append].into()).await.unwrap();
        origin
    }

    async fn head_goes(&self, name: &str) -> Option<Timestamp> {
        let heads = self.lists.heads(vec![guest(name)]).await.unwrap();
        heads[0].map(|head| head.expires_at)
    }
}

pub async fn what_is_served_with_is_stored(f: &Fixture) {
    let stored = f.stored().await;
    let held = stored.held.unwrap();
    assert_eq!((held.list_ttl, held.retention), (Ttl(TTL), None));
    assert_eq!(
        (held.text_index, held.model),
        (false, model_name(&model("first")))
    );
    assert_eq!((stored.retiming, stored.is_retaining), (None, false));
}

pub async fn a_changed_life_holds_for_the_next_message(f: &Fixture) {
    f.say(noon(), "g1", "before").await;
    f.live(TTL * 3).await;
    assert!(f.stored().await.retiming.is_some());
    f.say(at(1), "g2", "after").await;
    assert_eq!(f.goes("g2", at(1)).await, Some(at(1).plus(TTL * 3)));
    f.say(at(2), "g1", "after").await;
    assert_eq!(f.goes("g1", at(2)).await, Some(at(2).plus(TTL * 3)));
}

pub async fn a_longer_life_holds_for_every_live_list_and_brings_none_back(f: &Fixture) {
    f.say(noon(), "gone", "hello").await;
    let now = noon().plus(TTL);
    f.say(now, "g1", "hello").await;
    f.say(now, "g2", "hello").await;
    f.live(TTL * 3).await;
    assert_eq!(f.retime(now).await, ["g1", "g2"]);
    for name in ["g1", "g2"] {
        assert_eq!(f.goes(name, now).await, Some(now.plus(TTL * 3)), "{name}");
    }
    assert_eq!(f.goes("gone", now).await, None);
    let stored = f.stored().await;
    assert_eq!((stored.retiming, stored.retimed_at), (None, Some(now)));
    assert!(f.next_page(now, 9).await.is_none());
}

pub async fn a_shorter_life_ends_the_lists_that_are_older(f: &Fixture) {
    let old = f.say(noon(), "old", "hello").await;
    f.mark_synced(noon(), std::slice::from_ref(&old)).await;
    let now = noon().plus(MINUTE);
    f.say(now, "young", "hello").await;
    f.live(MINUTE).await;
    f.retime(now).await;
    assert_eq!(f.goes("young", now).await, Some(now.plus(MINUTE)));
    assert_eq!(f.goes("old", now).await, None);
    assert_eq!(f.database.outbox.lapse(now, ALL).await.unwrap(), 1);
    assert_eq!(f.synced(old.conversation).await, [0; 0]);
    // It is over: what is said now begins anew.
    let next = f.say(now, "old", "again").await;
    assert_eq!(next.window.map(|window| window.from), Some(1));
}

pub async fn what_was_asked_for_and_not_noted_is_asked_for_again(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    f.say(noon(), "g2", "hello").await;
    f.live(TTL * 2).await;
    let first = f.next_page(noon(), 1).await.unwrap();
    assert_eq!(f.next_page(noon(), 1).await.unwrap(), first);
    f.database.settings.note_retimed(first).await.unwrap();
    let done = f.stored().await.retiming.unwrap().done;
    assert!(done.is_some());
    assert_eq!(f.retime(noon()).await, ["g2"]);
}

pub async fn a_page_from_before_another_change_changes_nothing(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    f.live(TTL * 2).await;
    let late = f.next_page(noon(), 9).await.unwrap();
    f.live(TTL * 3).await;
    f.database.settings.note_retimed(late).await.unwrap();
    assert_eq!(f.goes("g1", noon()).await, Some(noon().plus(TTL)));
    assert_eq!(f.retime(noon()).await, ["g1"]);
    assert_eq!(f.goes("g1", noon()).await, Some(noon().plus(TTL * 3)));
}

pub async fn a_message_that_comes_between_asking_and_noting_counts(f: &Fixture) {
    f.say(noon(), "g1", "hello").await;
    f.live(TTL * 2).await;
    let page = f.next_page(noon(), 9).await.unwrap();
    f.say(at(5), "g1", "and").await;
    f.database.settings.note_retimed(page).await.unwrap();
    assert_eq!(f.goes("g1", at(5)).await, Some(at(5).plus(TTL * 2)));
}

pub async fn a_changed_retention_holds_for_every_chat(f: &Fixture) {
    for name in ["g1", "g2", "g3"] {
        f.say(noon(), name, "hello").await;
    }
    f.migrate(noon(), "g3", "u1").await;
    let keep = |span| move |wanted: &mut PersistedSettings| wanted.retention = span;
    f.change(Persisted::Retention, keep(Some(KEPT))).await;
    f.say(at(1), "g4", "hello").await;
    for (name, end) in [("g1", noon()), ("g2", noon()), ("g4", at(1))] {
        let row = f.conversation(name, at(1)).await;
        assert_eq!(row.expires_at, Some(end.plus(KEPT)), "{name}");
    }
    assert_eq!(only(f.owned("u1", None, 10).await).expires_at, None);
    assert!(!f.stored().await.is_retaining);
    f.change(Persisted::Retention, keep(None)).await;
    assert_eq!(f.conversation("g1", at(1)).await.expires_at, None);
}

pub async fn each_change_is_known_by_a_higher_number(f: &Fixture) {
    let before = f.stored().await.version;
    f.live(TTL * 2).await;
    assert!(f.stored().await.version > before);
}

pub async fn a_list_gets_another_expiry_unless_it_has_gone_on(f: &Fixture) {
    let expires_at = noon().plus(TTL);
    let origin = f.listed("g1", noon(), expires_at).await;
    let life = |origin, next, expires_at| NewLife {
        guest: guest("g1"),
        origin,
        next,
        expires_at,
        at: noon(),
    };
    let (later, stranger) = (
        noon().plus(TTL * 2),
        Origin {
            epoch: uuid::Uuid::from_u128(7),
            ..origin
        },
    );
    for (origin, next) in [(origin, 0), (origin, 2), (stranger, 1)] {
        f.lists
            .retime(vec![life(origin, next, later)])
            .await
            .unwrap();
        assert_eq!(f.head_goes("g1").await, Some(expires_at));
    }
    f.lists.retime(vec![life(origin, 1, later)]).await.unwrap();
    assert_eq!(f.head_goes("g1").await, Some(later));
    assert!(
        f.lists
            .range(&guest("g1"), WHOLE, noon())
            .await
            .unwrap()
            .is_some()
    );
    let past = Timestamp::from_ms(noon().ms() - 1);
    f.lists.retime(vec![life(origin, 1, past)]).await.unwrap();
    assert!(
        f.lists
            .range(&guest("g1"), WHOLE, noon())
            .await
            .unwrap()
            .is_none()
    );
    f.lists.sweep(noon(), ALL).await.unwrap();
    assert_eq!(f.head_goes("g1").await, None);
}
