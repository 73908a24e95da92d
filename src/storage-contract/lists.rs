//! Laws of the expiring lists.

use crate::Fixture;
use crate::words::*;
use guestbook_core::{ConversationId, GuestId, Role, Timestamp};
use guestbook_storage::list_cache::{Append, Applied, Head, Item, ListRange, Origin};
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinSet;
use uuid::Uuid;

fn origin(n: u128) -> Origin {
    Origin {
        epoch: Uuid::from_u128(1),
        conversation: ConversationId(Uuid::from_u128(n)),
    }
}

pub fn item(sequence: u64) -> Item {
    Item {
        role: Role::ALL[usize::try_from(sequence % 4).unwrap()],
        content: content(&format!("text {sequence}")),
        timestamp: at(sequence),
    }
}

/// These messages of the first chat of `name`, for a list that begins at `from`.
fn append(name: &str, from: u64, sequences: Range<u64>) -> Append {
    Append {
        guest: guest(name),
        origin: origin(1),
        from,
        first: sequences.start,
        expires_at: at(sequences.end).plus(TTL),
        at: at(sequences.end),
        items: sequences.map(item).collect(),
    }
}

impl Fixture {
    async fn apply(&self, append: Append) -> Applied {
        let applied = self.lists.apply(Arc::new(vec![append])).await;
        only(applied.unwrap())
    }

    async fn head(&self, name: &str) -> Option<Head> {
        let heads = self.lists.heads(vec![guest(name)]).await;
        only(heads.unwrap())
    }

    /// The list of `g1` holds exactly these messages.
    async fn assert_holds(&self, sequences: Range<u64>) {
        let list = self.lists.range(&guest("g1"), WHOLE, noon()).await.unwrap();
        let list = list.unwrap();
        let bounds = (list.head.from, list.head.next);
        assert_eq!(bounds, (sequences.start, sequences.end));
        assert_eq!(list.items, sequences.map(item).collect::<Vec<_>>());
        assert_eq!(self.head("g1").await, Some(list.head));
    }

    async fn assert_no_list(&self, name: &str, now: Timestamp) {
        let list = self.lists.range(&guest(name), WHOLE, now).await.unwrap();
        assert_eq!(list, None);
    }
}

pub async fn a_list_begins_and_goes_on(f: &Fixture) {
    f.assert_no_list("g1", noon()).await;
    assert_eq!(f.head("g1").await, None);
    assert_eq!(f.apply(append("g1", 0, 0..2)).await, Applied::Stored);
    f.assert_holds(0..2).await;
    assert_eq!(f.apply(append("g1", 0, 2..5)).await, Applied::Stored);
    f.assert_holds(0..5).await;
    let head = f.head("g1").await.unwrap();
    assert_eq!((head.origin, head.expires_at), (origin(1), at(5).plus(TTL)));
}

pub async fn an_append_repeated_is_already_there(f: &Fixture) {
    f.apply(append("g1", 0, 0..3)).await;
    for again in [append("g1", 0, 0..3), append("g1", 0, 2..3)] {
        assert_eq!(f.apply(again).await, Applied::AlreadyThere);
    }
    f.assert_holds(0..3).await;
}

pub async fn an_append_that_overlaps_adds_only_the_rest(f: &Fixture) {
    f.apply(append("g1", 0, 0..3)).await;
    assert_eq!(f.apply(append("g1", 0, 1..5)).await, Applied::Stored);
    f.assert_holds(0..5).await;
    assert_eq!(f.apply(append("g1", 0, 0..6)).await, Applied::Stored);
    f.assert_holds(0..6).await;
}

pub async fn a_late_append_changes_nothing(f: &Fixture) {
    f.apply(append("g1", 0, 0..3)).await;
    f.apply(append("g1", 0, 3..6)).await;
    let before = f.head("g1").await;
    let late = append("g1", 0, 0..3);
    assert_eq!(f.apply(late).await, Applied::AlreadyThere);
    assert_eq!(f.head("g1").await, before, "its expiry is not set back");
    f.assert_holds(0..6).await;
}

pub async fn a_hole_is_refused(f: &Fixture) {
    assert_eq!(f.apply(append("g1", 0, 1..2)).await, Applied::Gap);
    assert_eq!(f.head("g1").await, None);
    f.apply(append("g1", 0, 0..2)).await;
    let before = f.head("g1").await;
    assert_eq!(f.apply(append("g1", 0, 3..4)).await, Applied::Gap);
    assert_eq!(f.head("g1").await, before);
    f.assert_holds(0..2).await;
}

pub async fn a_list_of_other_rows_is_never_continued(f: &Fixture) {
    f.apply(append("g1", 0, 0..2)).await;
    let before = f.head("g1").await;
    let other_chat = Append {
        origin: origin(2),
        ..append("g1", 0, 2..3)
    };
    let other_epoch = Append {
        origin: Origin {
            epoch: Uuid::from_u128(2),
            ..origin(1)
        },
        ..append("g1", 0, 2..3)
    };
    for stranger in [other_chat, other_epoch] {
        assert_eq!(f.apply(stranger).await, Applied::Gap);
        assert_eq!(f.head("g1").await, before);
    }
}

pub async fn the_begin_of_a_window_replaces_a_list_of_other_rows(f: &Fixture) {
    f.apply(append("g1", 0, 0..5)).await;
    let anew = Append {
        origin: origin(2),
        ..append("g1", 0, 0..1)
    };
    assert_eq!(f.apply(anew).await, Applied::Stored);
    f.assert_holds(0..1).await;
    assert_eq!(f.head("g1").await.unwrap().origin, origin(2));
}

pub async fn a_window_begun_anew_drops_the_older_items(f: &Fixture) {
    f.apply(append("g1", 0, 0..3)).await;
    assert_eq!(f.apply(append("g1", 3, 3..5)).await, Applied::Stored);
    f.assert_holds(3..5).await;
    // Also when messages in between never came: they do not belong to the list any more.
    assert_eq!(f.apply(append("g1", 9, 9..10)).await, Applied::Stored);
    f.assert_holds(9..10).await;
}

pub async fn older_items_are_dropped_by_an_append_in_passing(f: &Fixture) {
    f.apply(append("g1", 0, 0..4)).await;
    assert_eq!(f.apply(append("g1", 2, 4..6)).await, Applied::Stored);
    f.assert_holds(2..6).await;
}

pub async fn answers_come_in_the_order_of_the_appends(f: &Fixture) {
    let appends = vec![
        append("g1", 0, 0..1),
        append("g2", 0, 5..6),
        append("g1", 0, 1..2),
        append("g1", 0, 1..2),
        append("g2", 7, 7..8),
    ];
    let applied = f.lists.apply(Arc::new(appends)).await.unwrap();
    let expected = [
        Applied::Stored,
        Applied::Gap,
        Applied::Stored,
        Applied::AlreadyThere,
        Applied::Stored,
    ];
    assert_eq!(applied, expected);
    f.assert_holds(0..2).await;
    assert_eq!(f.head("g2").await.unwrap().from, 7);
}

pub async fn a_list_is_hidden_from_its_expiry_on(f: &Fixture) {
    f.apply(append("g1", 0, 0..2)).await;
    let expiry = at(2).plus(TTL);
    let just_before = Timestamp::from_ms(expiry.ms() - 1);
    let live = f
        .lists
        .range(&guest("g1"), WHOLE, just_before)
        .await
        .unwrap();
    assert!(live.is_some());
    f.assert_no_list("g1", expiry).await;
}

pub async fn an_append_prolongs_the_list(f: &Fixture) {
    f.apply(append("g1", 0, 0..2)).await;
    f.apply(append("g1", 0, 2..100)).await;
    let list = f
        .lists
        .range(&guest("g1"), WHOLE, at(50).plus(TTL))
        .await
        .unwrap();
    assert_eq!(list.unwrap().head.expires_at, at(100).plus(TTL));
}

pub async fn replace_makes_the_list_exactly_so(f: &Fixture) {
    f.lists.replace(append("g1", 2, 2..6)).await.unwrap();
    f.assert_holds(2..6).await;
    f.lists.replace(append("g1", 3, 3..5)).await.unwrap();
    f.assert_holds(3..5).await;
    let other = Append {
        origin: origin(2),
        ..append("g1", 0, 0..3)
    };
    f.lists.replace(other).await.unwrap();
    f.assert_holds(0..3).await;
    assert_eq!(f.head("g1").await.unwrap().origin, origin(2));
    f.lists.replace(append("g1", 4, 4..4)).await.unwrap();
    assert_eq!(f.head("g1").await, None, "no items, no list");
}

pub async fn a_replaced_list_goes_on(f: &Fixture) {
    f.lists.replace(append("g1", 2, 2..4)).await.unwrap();
    assert_eq!(f.apply(append("g1", 2, 4..5)).await, Applied::Stored);
    f.assert_holds(2..5).await;
}

pub async fn items_are_returned_as_they_were_given(f: &Fixture) {
    let odd = Item {
        role: Role::Tool,
        content: content(" \u{1F600}\n\"quoted\" \\ é "),
        timestamp: time("1999-12-31T23:59:59.999Z"),
    };
    let append = Append {
        items: vec![odd.clone()],
        ..append("g1", 0, 0..1)
    };
    f.apply(append).await;
    let list = f.lists.range(&guest("g1"), WHOLE, noon()).await.unwrap();
    assert_eq!(only(list.unwrap().items), odd);
}

pub async fn a_list_is_read_part_by_part(f: &Fixture) {
    f.apply(append("g1", 0, 0..40)).await;
    f.apply(append("g1", 3, 40..100)).await;
    let read = async |from: u64, limit: usize| {
        let range = ListRange {
            from,
            limit,
            bytes: usize::MAX,
        };
        let page = f.lists.range(&guest("g1"), range, noon()).await.unwrap();
        let page = page.expect("a live list");
        assert_eq!((page.head.from, page.head.next), (3, 100));
        assert_eq!(
            page.items,
            (page.first..page.next()).map(item).collect::<Vec<_>>()
        );
        page.first..page.next()
    };
    let parts = [
        (read(0, 5).await, 3..8),
        (read(3, 1).await, 3..4),
        (read(50, 25).await, 50..75),
        (read(90, 25).await, 90..100),
        (read(99, 25).await, 99..100),
        (read(100, 25).await, 100..100),
        (read(2_000, 25).await, 100..100),
        (read(50, 0).await, 50..50),
        (read(0, 1_000).await, 3..100),
    ];
    for (read, expected) in parts {
        assert_eq!(read, expected);
    }
}

/// How an item is stored is the store's own, so the bytes are about right.
pub async fn a_part_of_a_list_is_as_long_as_its_bytes_allow(f: &Fixture) {
    let large = |sequence| Item {
        content: content(&"x".repeat(10_000)),
        ..item(sequence)
    };
    let append = Append {
        items: (0..30).map(large).collect(),
        ..append("g1", 0, 0..30)
    };
    f.apply(append).await;
    for (bytes, expected) in [
        (1, 1..2),
        (25_000, 2..4),
        (99_000, 9..11),
        (1 << 20, 30..31),
    ] {
        let range = ListRange {
            from: 0,
            limit: 100,
            bytes,
        };
        let page = f.lists.range(&guest("g1"), range, noon()).await.unwrap();
        let items = page.expect("a live list").items;
        assert!(
            expected.contains(&items.len()),
            "{} of {bytes}",
            items.len()
        );
    }
    // Whoever reads step by step reads everything.
    let mut next = 0;
    while next < 30 {
        let step = ListRange::step(next);
        let page = f.lists.range(&guest("g1"), step, noon()).await.unwrap();
        let page = page.expect("a live list");
        assert_eq!((page.first, page.items.is_empty()), (next, false));
        next = page.next();
    }
}

pub async fn heads_come_in_the_order_asked_for(f: &Fixture) {
    f.apply(append("g1", 0, 0..1)).await;
    f.apply(append("g2", 0, 0..2)).await;
    let asked = ["g2", "nobody", "g1", "g2"].map(guest).to_vec();
    let heads = f.lists.heads(asked).await.unwrap();
    let nexts: Vec<_> = heads.iter().map(|head| head.map(|h| h.next)).collect();
    assert_eq!(nexts, [Some(2), None, Some(1), Some(2)]);
}

pub async fn a_removed_list_is_gone_and_no_other(f: &Fixture) {
    // One name is the beginning of the other.
    f.apply(append("g1", 0, 0..2)).await;
    f.apply(append("g10", 0, 0..2)).await;
    let both = vec![guest("g1"), guest("nobody")];
    f.lists.remove(both.clone()).await.unwrap();
    f.assert_no_list("g1", noon()).await;
    assert_eq!(f.head("g1").await, None);
    assert_eq!(f.head("g10").await.unwrap().next, 2);
    f.lists.remove(both).await.unwrap();
    assert_eq!(f.apply(append("g1", 0, 2..3)).await, Applied::Gap);
}

pub async fn swept_lists_are_gone_and_live_ones_stay(f: &Fixture) {
    for name in ["g1", "g2", "g3"] {
        f.apply(append(name, 0, 0..1)).await;
    }
    f.apply(append("g4", 0, 0..90)).await;
    let now = at(1).plus(TTL);
    assert_eq!(f.lists.sweep(noon(), ALL).await.unwrap(), 0);
    let expected = match f.lists_expire_themselves {
        true => [0, 0, 0],
        false => [2, 1, 0],
    };
    for (limit, swept) in [2, ALL, ALL].into_iter().zip(expected) {
        assert_eq!(f.lists.sweep(now, limit).await.unwrap(), swept);
    }
    if !f.lists_expire_themselves {
        assert_eq!(f.head("g1").await, None);
    }
    let live = f.lists.range(&guest("g4"), WHOLE, now).await.unwrap();
    assert_eq!(live.unwrap().items.len(), 90);
}

pub async fn guests_come_page_by_page_in_order(f: &Fixture) {
    for name in ["b", "a", "c", "B", "a:1", "d~"] {
        f.apply(append(name, 0, 0..1)).await;
    }
    let (mut seen, mut after) = (Vec::new(), None::<GuestId>);
    loop {
        let page = f.lists.guests(after.as_ref(), 4).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page.iter().map(GuestId::to_string));
    }
    assert_eq!(seen, ["B", "a", "a:1", "b", "c", "d~"]);
}

pub async fn the_incarnation_stays(f: &Fixture) {
    let incarnation = f.lists.incarnation().await.unwrap();
    f.apply(append("g1", 0, 0..1)).await;
    f.lists.remove(vec![guest("g1")]).await.unwrap();
    assert_eq!(f.lists.incarnation().await.unwrap(), incarnation);
}

pub async fn appends_of_32_writers_do_not_mix(f: &Fixture) {
    let mut writers = JoinSet::new();
    for writer in 0..32 {
        let lists = Arc::clone(&f.lists);
        writers.spawn(async move {
            let name = format!("w{writer}");
            for i in 0..20 {
                let append = append(&name, 0, i..i + 1);
                let applied = lists.apply(Arc::new(vec![append])).await.unwrap();
                assert_eq!(applied, [Applied::Stored]);
            }
        });
    }
    writers.join_all().await;
    for writer in 0..32 {
        let name = guest(&format!("w{writer}"));
        let list = f.lists.range(&name, WHOLE, noon()).await.unwrap().unwrap();
        assert_eq!(list.items, (0..20).map(item).collect::<Vec<_>>());
    }
}
