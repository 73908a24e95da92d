//! The laws of `ListCache`.

use crate::sled::*;
use guestbook::core::error::ErrorKind;
use guestbook::storage::Storage;
use guestbook_storage_contract::words::WHOLE;

#[tokio::test]
async fn consecutive_appends_make_one_list() {
    let fixture = Fixture::new();
    assert_eq!(fixture.apply(append("g", 0..2)).await, Applied::Stored);
    assert_eq!(fixture.apply(append("g", 2..3)).await, Applied::Stored);
    assert_eq!(fixture.read("g").await, Some((0, items(0..3))));
    assert_eq!(fixture.read("other").await, None);
}

#[tokio::test]
async fn a_hole_is_refused_and_changes_nothing() {
    let fixture = Fixture::new();
    assert_eq!(fixture.apply(append("g", 1..2)).await, Applied::Gap);
    assert_eq!(fixture.read("g").await, None);
    fixture.apply(append("g", 0..2)).await;
    assert_eq!(fixture.apply(append("g", 3..4)).await, Applied::Gap);
    assert_eq!(fixture.read("g").await, Some((0, items(0..2))));
}

#[tokio::test]
async fn what_is_there_is_skipped_and_only_the_rest_is_added() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..3)).await;
    let changed = Append {
        items: vec![item("not this"), item("message 3")],
        ..append("g", 2..4)
    };
    assert_eq!(fixture.apply(changed).await, Applied::Stored);
    assert_eq!(fixture.read("g").await, Some((0, items(0..4))));
    assert_eq!(
        fixture.apply(append("g", 1..4)).await,
        Applied::AlreadyThere
    );
    assert_eq!(fixture.read("g").await, Some((0, items(0..4))));
}

#[tokio::test]
async fn one_batch_may_hold_many_appends_of_one_guest() {
    let fixture = Fixture::new();
    let batch = vec![
        append("a", 0..1),
        append("b", 1..2),
        append("a", 1..3),
        append("a", 4..5),
        append("a", 0..3),
    ];
    let answers = fixture.lists.apply(Arc::new(batch)).await.unwrap();
    use Applied::{AlreadyThere, Gap, Stored};
    assert_eq!(answers, [Stored, Gap, Stored, Gap, AlreadyThere]);
    assert_eq!(fixture.read("a").await, Some((0, items(0..3))));
}

#[tokio::test]
async fn a_window_that_moves_on_leaves_its_old_items_behind() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..4)).await;
    let moved = Append {
        from: 3,
        ..append("g", 4..5)
    };
    assert_eq!(fixture.apply(moved).await, Applied::Stored);
    assert_eq!(fixture.read("g").await, Some((3, items(3..5))));
    let moved = Append {
        from: 4,
        ..append("g", 3..5)
    };
    assert_eq!(fixture.apply(moved).await, Applied::AlreadyThere);
    assert_eq!(fixture.read("g").await, Some((4, items(4..5))));
    // An old append that comes again does not bring them back; one that begins a window brings all of it.
    assert_eq!(
        fixture.apply(append("g", 0..4)).await,
        Applied::AlreadyThere
    );
    assert_eq!(fixture.read("g").await, Some((4, items(4..5))));
    assert_eq!(fixture.apply(append("g", 0..5)).await, Applied::Stored);
    assert_eq!(fixture.read("g").await, Some((0, items(0..5))));
}

#[tokio::test]
async fn a_window_may_begin_where_the_list_ends() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..4)).await;
    let anew = Append {
        from: 4,
        ..append("g", 4..6)
    };
    assert_eq!(fixture.apply(anew).await, Applied::Stored);
    assert_eq!(fixture.read("g").await, Some((4, items(4..6))));
}

#[tokio::test]
async fn a_list_of_another_origin_is_never_continued() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..2)).await;
    let other = |sequences| Append {
        origin: origin(2),
        ..append("g", sequences)
    };
    assert_eq!(fixture.apply(other(2..3)).await, Applied::Gap);
    assert_eq!(fixture.read("g").await, Some((0, items(0..2))));
    assert_eq!(fixture.apply(other(0..1)).await, Applied::Stored);
    assert_eq!(fixture.read("g").await, Some((0, items(0..1))));
    let head = fixture.lists.heads(vec![guest("g")]).await.unwrap()[0].unwrap();
    assert_eq!((head.origin, head.next), (origin(2), 1));
}

#[tokio::test]
async fn replace_makes_the_list_exactly_these_items() {
    let fixture = Fixture::new();
    let long = Append {
        items: vec![item(&"x".repeat(20_000)), item("tail")],
        ..append("g", 0..2)
    };
    fixture.apply(long).await;
    let list = Append {
        from: 1,
        ..append("g", 1..4)
    };
    fixture.lists.replace(list).await.unwrap();
    assert_eq!(fixture.read("g").await, Some((1, items(1..4))));
    fixture.lists.replace(append("g", 0..1)).await.unwrap();
    assert_eq!(fixture.read("g").await, Some((0, items(0..1))));
}

#[tokio::test]
async fn remove_takes_all_of_one_guest_and_nothing_of_another() {
    let fixture = Fixture::new();
    for name in ["g", "g-", "g0"] {
        fixture.apply(append(name, 0..2)).await;
    }
    let gone = vec![guest("g"), guest("never")];
    fixture.lists.remove(gone.clone()).await.unwrap();
    fixture.lists.remove(gone).await.unwrap();
    assert_eq!(fixture.read("g").await, None);
    assert_eq!(fixture.apply(append("g", 1..2)).await, Applied::Gap);
    for name in ["g-", "g0"] {
        assert_eq!(fixture.read(name).await, Some((0, items(0..2))));
    }
    assert_eq!(fixture.lists.stats().await.unwrap().entries, 2);
}

#[tokio::test]
async fn a_list_ends_at_its_expiry_but_keeps_its_head_until_the_sweep() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..1)).await;
    let name = guest("g");
    let alive = |ms| fixture.lists.range(&name, WHOLE, at(ms));
    assert!(alive(END - 1).await.unwrap().is_some());
    assert!(alive(END).await.unwrap().is_none());
    let head = fixture.lists.heads(vec![guest("g")]).await.unwrap()[0];
    assert_eq!(head.unwrap().expires_at, at(END));
    assert_eq!(fixture.lists.sweep(at(END - 1), 10).await.unwrap(), 0);
    assert_eq!(fixture.lists.sweep(at(END), 10).await.unwrap(), 1);
    assert_eq!(fixture.lists.heads(vec![guest("g")]).await.unwrap(), [None]);
    assert_eq!(fixture.lists.sweep(at(END), 10).await.unwrap(), 0);
}

#[tokio::test]
async fn a_list_that_lives_longer_is_re_armed_and_goes_at_its_later_end() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..1)).await;
    let later = Append {
        expires_at: at(2 * END),
        ..append("g", 1..2)
    };
    fixture.apply(later).await;
    assert_eq!(fixture.lists.sweep(at(END), 10).await.unwrap(), 0);
    assert_eq!(fixture.lists.sweep(at(2 * END - 1), 10).await.unwrap(), 0);
    assert_eq!(fixture.read("g").await, Some((0, items(0..2))));
    assert_eq!(fixture.lists.sweep(at(2 * END), 10).await.unwrap(), 1);
    assert_eq!(fixture.read("g").await, None);
}

#[tokio::test]
async fn a_repeated_append_may_lengthen_a_life_but_not_shorten_it() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..1)).await;
    let again = |ms| Append {
        expires_at: at(ms),
        ..append("g", 0..1)
    };
    for (given, kept) in [(END - 500, END), (END + 500, END + 500)] {
        assert_eq!(fixture.apply(again(given)).await, Applied::AlreadyThere);
        let head = fixture.lists.heads(vec![guest("g")]).await.unwrap()[0];
        assert_eq!(head.unwrap().expires_at, at(kept));
    }
}

#[tokio::test]
async fn a_new_message_may_bring_the_end_forward() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..1)).await;
    let sooner = Append {
        expires_at: at(END - 500),
        ..append("g", 1..2)
    };
    fixture.apply(sooner).await;
    assert_eq!(fixture.lists.sweep(at(END - 500), 10).await.unwrap(), 1);
    assert_eq!(fixture.lists.stats().await.unwrap().entries, 0);
}

#[tokio::test]
async fn a_sweep_keeps_to_its_limit_and_takes_the_oldest_first() {
    let fixture = Fixture::new();
    for (name, end) in [("c", 1), ("a", 2), ("b", 3), ("d", -5)] {
        let list = Append {
            expires_at: at(end),
            ..append(name, 0..1)
        };
        fixture.apply(list).await;
    }
    assert_eq!(fixture.lists.sweep(at(2), 0).await.unwrap(), 0);
    assert_eq!(fixture.lists.sweep(at(2), 2).await.unwrap(), 2);
    let left = fixture.lists.guests(None, 10).await.unwrap();
    assert_eq!(left, [guest("a"), guest("b")]);
    assert_eq!(fixture.lists.sweep(at(2), 2).await.unwrap(), 1);
}

#[tokio::test]
async fn a_large_message_comes_back_whole() {
    let fixture = Fixture::new();
    // 65,536 bytes of three-byte characters: pieces are cut within characters.
    let text = "€".repeat(21_845) + "x";
    assert_eq!(text.len(), 65_536);
    let large = Append {
        items: vec![item("before"), item(&text), item("after")],
        ..append("g", 0..3)
    };
    fixture.apply(large.clone()).await;
    assert_eq!(fixture.read("g").await, Some((0, large.items)));
    fixture.lists.remove(vec![guest("g")]).await.unwrap();
    fixture.apply(append("g", 0..3)).await;
    assert_eq!(fixture.read("g").await, Some((0, items(0..3))));
}

#[tokio::test]
async fn guests_come_in_ascending_order_page_by_page() {
    let fixture = Fixture::new();
    for name in ["b", "B", "a~", "a", "a-1"] {
        fixture.apply(append(name, 0..1)).await;
    }
    let page = |after: Option<GuestId>| {
        let lists = &fixture.lists;
        async move { lists.guests(after.as_ref(), 2).await.unwrap() }
    };
    assert_eq!(page(None).await, [guest("B"), guest("a")]);
    assert_eq!(page(Some(guest("a"))).await, [guest("a-1"), guest("a~")]);
    assert_eq!(page(Some(guest("a~"))).await, [guest("b")]);
    assert!(page(Some(guest("b"))).await.is_empty());
}

#[tokio::test]
async fn heads_come_in_the_order_asked_for() {
    let fixture = Fixture::new();
    fixture.apply(append("a", 0..1)).await;
    fixture.apply(append("b", 0..2)).await;
    let asked = ["b", "none", "a", "b"].map(guest).to_vec();
    let heads = fixture.lists.heads(asked).await.unwrap();
    let ends: Vec<_> = heads.iter().map(|head| head.map(|h| h.next)).collect();
    assert_eq!(ends, [Some(2), None, Some(1), Some(2)]);
}

#[tokio::test]
async fn after_close_every_call_says_so() {
    let fixture = Fixture::new();
    fixture.lists.close().await.unwrap();
    fixture.lists.close().await.unwrap();
    let error = fixture.lists.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        (fixture.lists.name(), fixture.lists.location()),
        ("sled", fixture.path().display().to_string())
    );
}
