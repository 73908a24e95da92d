//! Opens copies whose log is truncated anywhere, as a crash leaves it.

use super::lists::SledStore;
use super::open;
use super::testing::{append, open_lists, origin};
use guestbook_core::{Content, GuestId, Timestamp};
use guestbook_storage::list_cache::{Append, ListPage};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

const GUESTS: [&str; 2] = ["a", "b"];

type Change = Box<dyn Fn(&mut SledStore)>;

fn guests() -> [GuestId; 2] {
    GUESTS.map(|name| GuestId::parse(name).unwrap())
}

fn apply(list: Append) -> Change {
    Box::new(move |lists| {
        lists.apply(std::slice::from_ref(&list)).unwrap();
    })
}

/// Every kind of change: begin, append, shorten, re-arm, begin again, remove.
fn changes() -> Vec<Change> {
    let mut long = append("a", 0..4);
    long.items[2].content = Content::from_stored(&"x".repeat(4_100));
    let window = Append {
        from: 5,
        expires_at: Timestamp::from_ms(3_000),
        ..append("a", 4..7)
    };
    let sooner = Append {
        expires_at: Timestamp::from_ms(500),
        ..append("b", 4..5)
    };
    let other = Append {
        origin: origin(2),
        ..append("a", 0..2)
    };
    let replaced = other.clone();
    vec![
        apply(long),
        apply(append("b", 0..4)),
        apply(window),
        apply(sooner),
        Box::new(|lists| assert_eq!(lists.sweep(Timestamp::from_ms(1_000), 9).unwrap(), 1)),
        apply(other),
        Box::new(move |lists| lists.replace(&replaced).unwrap()),
        apply(append("b", 0..4)),
        Box::new(|lists| lists.remove(&guests()).unwrap()),
    ]
}

fn lists_of(lists: &SledStore) -> Vec<Option<ListPage>> {
    let early = Timestamp::from_ms(0);
    let read = |guest| lists.range(&guest, super::testing::WHOLE, early).unwrap();
    guests().map(read).to_vec()
}

/// Opens a copy of the store whose log is truncated at `end`.
fn torn(store: &Path, end: usize) -> SledStore {
    let log = fs::read(store.join("db")).unwrap();
    let copy = store.with_file_name(format!("torn-{end}"));
    fs::create_dir_all(copy.join("blobs")).unwrap();
    fs::copy(store.join("conf"), copy.join("conf")).unwrap();
    let mut left = log[..end].to_vec();
    left.resize(log.len(), 0);
    fs::write(copy.join("db"), left).unwrap();
    let opened = open::open(&copy).unwrap();
    assert_eq!(opened.set_aside, None, "a log that ends at {end}");
    opened.lists
}

#[test]
fn wherever_the_log_ends_every_list_is_one_that_it_was() {
    let (folder, mut lists) = open_lists();
    let store = folder.path().join("lists");
    lists.flush().unwrap();
    let log_ends = || {
        let log = fs::read(store.join("db")).unwrap();
        log.iter().rposition(|byte| *byte != 0).unwrap()
    };
    let begun = log_ends() + 1;
    let mut was = vec![lists_of(&lists)];
    for change in changes() {
        change(&mut lists);
        was.push(lists_of(&lists));
    }
    lists.flush().unwrap();
    let ended = log_ends() + 1;
    let mut met = HashSet::new();
    for end in (begun..=ended).step_by(47) {
        let mut left = torn(&store, end);
        for (at, list) in lists_of(&left).iter().enumerate() {
            let seen = was.iter().position(|lists| lists[at] == *list);
            met.insert(seen.unwrap_or_else(|| panic!("a log that ends at {end}: {list:?}")));
        }
        // Every list expires, and items that no head names are removed before the guest's next list.
        left.sweep(Timestamp::from_ms(9_000), 9).unwrap();
        assert_eq!(left.heads(&guests()).unwrap(), [None, None], "{end}");
        left.remove(&guests()).unwrap();
        let left_over = (left.first_pieces(), left.expiry_entries());
        assert_eq!(left_over, (0, 0), "{end}");
    }
    assert!(
        met.len() > 3,
        "{met:?}: the log was never cut where it matters"
    );
}
