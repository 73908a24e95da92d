//! Random calls on the store and on a small model; and records damaged without sled's notice.

use super::fault::SledFault;
use super::keys;
use super::lists::SledStore;
use super::testing::{WHOLE, append, items, open_lists, origin};
use guestbook_core::{Content, GuestId, Role, Timestamp};
use guestbook_storage::list_cache::{Append, Applied, Head, Item, ListPage};
use proptest::prelude::*;
use std::collections::BTreeMap;

const GUESTS: [&str; 3] = ["a", "a-", "b"];

type Model = BTreeMap<GuestId, ListPage>;

#[derive(Clone, Debug)]
enum Call {
    Apply(Vec<Append>),
    Replace(Append),
    Remove(GuestId),
    Sweep(i64, usize),
}

fn guest(name: &str) -> GuestId {
    GuestId::parse(name).unwrap()
}

/// Before every list's end.
fn early() -> Timestamp {
    Timestamp::from_ms(0)
}

prop_compose! {
    fn an_append()(
        name in prop::sample::select(&GUESTS[..]),
        conversation in 1_u128..3,
        from in 0_u64..6,
        skip in 0_u64..6,
        texts in prop::collection::vec((0_u32..1000, prop::bool::weighted(0.1)), 0..4),
        end in 1_i64..40,
    ) -> Append {
        // Every text differs, so that an item of the wrong call shows; some need several keys.
        let item = |(n, large): (u32, bool)| Item {
            role: Role::Tool,
            content: Content::from_stored(&format!("{n}").repeat(if large { 3_000 } else { 1 })),
            timestamp: Timestamp::from_ms(n.into()),
        };
        Append {
            guest: guest(name),
            origin: origin(conversation),
            from,
            first: (from + skip).saturating_sub(2),
            items: texts.into_iter().map(item).collect(),
            expires_at: Timestamp::from_ms(end),
            at: Timestamp::from_ms(0),
        }
    }
}

fn a_call() -> impl Strategy<Value = Call> {
    let name = prop::sample::select(&GUESTS[..]);
    prop_oneof![
        6 => prop::collection::vec(an_append(), 1..4).prop_map(Call::Apply),
        1 => an_append().prop_map(Call::Replace),
        1 => name.prop_map(|name| Call::Remove(guest(name))),
        2 => (0_i64..45, 0_usize..3).prop_map(|(now, limit)| Call::Sweep(now, limit)),
    ]
}

fn whole(append: &Append) -> ListPage {
    ListPage {
        head: Head {
            origin: append.origin,
            from: append.first,
            next: append.first + append.items.len() as u64,
            expires_at: append.expires_at,
        },
        first: append.first,
        items: append.items.clone(),
    }
}

fn apply(model: &mut Model, append: &Append) -> Applied {
    let list = model.get_mut(&append.guest);
    let Some(list) = list.filter(|list| list.head.origin == append.origin) else {
        if append.first != append.from || append.items.is_empty() {
            return Applied::Gap;
        }
        model.insert(append.guest.clone(), whole(append));
        return Applied::Stored;
    };
    let head = &mut list.head;
    let before = head.next;
    if append.first + (append.items.len() as u64) < before {
        return Applied::AlreadyThere;
    }
    if append.first > before || append.from < head.from {
        if append.first != append.from || append.items.is_empty() {
            return Applied::Gap;
        }
        *list = whole(append);
        return Applied::Stored;
    }
    for (sequence, item) in (append.first..).zip(&append.items) {
        if sequence == head.next {
            list.items.push(item.clone());
            head.next += 1;
        }
    }
    while head.from < append.from.min(head.next) {
        list.items.remove(0);
        list.first += 1;
        head.from += 1;
    }
    if head.next > before {
        head.expires_at = append.expires_at;
        return Applied::Stored;
    }
    head.expires_at = head.expires_at.max(append.expires_at);
    Applied::AlreadyThere
}

fn check_call(lists: &mut SledStore, model: &mut Model, call: &Call) {
    match call {
        Call::Apply(appends) => {
            let expected: Vec<_> = appends.iter().map(|it| apply(model, it)).collect();
            assert_eq!(lists.apply(appends).unwrap(), expected);
        }
        Call::Replace(list) => {
            let new = whole(list);
            let reaches_further = |old: &ListPage| {
                (old.head.origin, old.head.from) == (new.head.origin, new.head.from)
                    && old.head.next > new.head.next
            };
            if list.items.is_empty() {
                model.remove(&list.guest);
            } else if !model.get(&list.guest).is_some_and(reaches_further) {
                model.insert(list.guest.clone(), new);
            }
            lists.replace(list).unwrap();
        }
        Call::Remove(guest) => {
            model.remove(guest);
            lists.remove(std::slice::from_ref(guest)).unwrap();
        }
        Call::Sweep(now, limit) => {
            let now = Timestamp::from_ms(*now);
            let due = model.values().filter(|it| it.head.expires_at <= now);
            let expected = due.count().min(*limit);
            assert_eq!(lists.sweep(now, *limit).unwrap(), expected);
            // The order among due lists is unspecified, as long as only due ones are removed.
            let left = lists.guests(None, 10).unwrap();
            let size = model.len();
            model.retain(|guest, list| list.head.expires_at > now || left.contains(guest));
            assert_eq!(model.len(), size - expected);
        }
    }
}

fn check_state(lists: &SledStore, model: &Model) {
    for name in GUESTS {
        let guest = guest(name);
        assert_eq!(
            lists.range(&guest, WHOLE, early()).unwrap().as_ref(),
            model.get(&guest)
        );
    }
    let guests: Vec<_> = model.keys().cloned().collect();
    assert_eq!(lists.guests(None, 10).unwrap(), guests);
    assert_eq!(lists.stats().unwrap().entries, guests.len() as u64);
    // Removed lists leave nothing behind.
    assert_eq!(lists.expiry_entries(), model.len());
    let pieces = model.values().flat_map(|list| &list.items).count();
    assert_eq!(lists.first_pieces(), pieces);
}

#[test]
fn the_store_does_what_the_model_does() {
    let (_folder, mut lists) = open_lists();
    let calls = prop::collection::vec(a_call(), 1..40);
    let config = ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let lists = std::cell::RefCell::new(&mut lists);
    let run = proptest::test_runner::TestRunner::new(config).run(&calls, |calls| {
        let mut lists = lists.borrow_mut();
        lists.remove(&GUESTS.map(guest)).unwrap();
        let mut model = Model::new();
        for call in &calls {
            check_call(&mut lists, &mut model, call);
            check_state(&lists, &model);
        }
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_damaged_head_counts_as_no_list_until_it_is_rebuilt() {
    let (_folder, mut lists) = open_lists();
    lists.apply(&[append("g", 0..3)]).unwrap();
    lists.damage_head(&guest("g"));
    assert_eq!(lists.heads(&[guest("g")]).unwrap(), [None]);
    assert_eq!(lists.range(&guest("g"), WHOLE, early()).unwrap(), None);
    assert_eq!(lists.apply(&[append("g", 3..4)]).unwrap(), [Applied::Gap]);
    let again = lists.apply(&[append("g", 0..2)]).unwrap();
    assert_eq!(again, [Applied::Stored]);
    let list = lists.range(&guest("g"), WHOLE, early()).unwrap().unwrap();
    assert_eq!(list.items, items(0..2));
    assert_eq!(
        (lists.first_pieces(), lists.stats().unwrap().entries),
        (2, 1)
    );
}

#[test]
fn a_list_with_a_damaged_head_can_be_removed_and_expires() {
    let (_folder, mut lists) = open_lists();
    for name in ["a", "b"] {
        lists.apply(&[append(name, 0..3)]).unwrap();
        lists.damage_head(&guest(name));
    }
    lists.remove(&[guest("a")]).unwrap();
    assert_eq!(lists.first_pieces(), 3);
    // The damaged head did not name a's expiry entry: both entries are found when due, and one has a list.
    assert_eq!(lists.sweep(Timestamp::from_ms(1_000), 10).unwrap(), 1);
    assert_eq!((lists.first_pieces(), lists.expiry_entries()), (0, 0));
    assert_eq!(lists.stats().unwrap().entries, 0);
}

#[test]
fn a_leftover_expiry_entry_does_not_end_a_newer_list() {
    let (_folder, mut lists) = open_lists();
    lists.apply(&[append("g", 0..1)]).unwrap();
    lists.damage_head(&guest("g"));
    let anew = Append {
        expires_at: Timestamp::from_ms(2_000),
        ..append("g", 0..1)
    };
    lists.replace(&anew).unwrap();
    assert_eq!(lists.expiry_entries(), 2);
    assert_eq!(lists.sweep(Timestamp::from_ms(1_500), 10).unwrap(), 0);
    assert_eq!(lists.expiry_entries(), 1);
    assert_eq!(lists.sweep(Timestamp::from_ms(2_000), 10).unwrap(), 1);
}

#[test]
fn an_item_that_is_not_whole_is_corrupt_and_replace_mends_it() {
    let (_folder, mut lists) = open_lists();
    let mut list = append("g", 0..3);
    list.items[1].content = Content::from_stored(&"x".repeat(9_000));
    // The first, a middle and the last piece of an item of three, and an item of one.
    for (sequence, chunk) in [(1, 0), (1, 1), (1, 2), (2, 0), (0, 0)] {
        lists.replace(&list).unwrap();
        lists.damage_item(&keys::item(&list.guest, sequence, chunk), None);
        let error = lists.range(&list.guest, WHOLE, early()).unwrap_err();
        assert!(matches!(error, SledFault::Record(_)), "{sequence} {chunk}");
        lists.replace(&list).unwrap();
        lists.damage_item(&keys::item(&list.guest, sequence, chunk), Some(b"torn"));
        let error = lists.range(&list.guest, WHOLE, early()).unwrap_err();
        assert!(matches!(error, SledFault::Record(_)), "{sequence} {chunk}");
    }
    lists.replace(&list).unwrap();
    let read = lists.range(&list.guest, WHOLE, early()).unwrap().unwrap();
    assert_eq!(read.items, list.items);
}

#[test]
fn a_flush_with_nothing_to_do_touches_no_file() {
    let (folder, mut lists) = open_lists();
    lists.apply(&[append("g", 0..1)]).unwrap();
    lists.flush().unwrap();
    // Were the file opened for a sync, this would fail.
    std::fs::remove_file(folder.path().join("lists/db")).unwrap();
    lists.flush().unwrap();
    lists.apply(&[append("g", 0..1)]).unwrap();
    lists.flush().unwrap();
    lists.apply(&[append("g", 1..2)]).unwrap();
    assert!(matches!(lists.flush().unwrap_err(), SledFault::Io(..)));
}
