//! Reopening: what is kept, what is set aside, and what is only refused.

use crate::sled::*;
use guestbook::core::error::ErrorKind;
use guestbook::storage::Storage;
use guestbook_storage_contract::words::WHOLE;
use std::fs;
use std::path::Path;

/// A closed store with some lists, and its incarnation.
async fn a_store() -> (TempDir, PathBuf, Uuid) {
    let fixture = Fixture::new();
    for n in 0..200 {
        fixture.apply(append(&format!("guest-{n}"), 0..5)).await;
    }
    let incarnation = fixture.lists.incarnation().await.unwrap();
    fixture.lists.close().await.unwrap();
    let path = fixture.path();
    (fixture.folder, path, incarnation)
}

fn set_aside_names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with("lists.bad-"))
        .collect()
}

fn snapshot_of(path: &Path) -> PathBuf {
    let mut files = fs::read_dir(path).unwrap().map(|it| it.unwrap().path());
    let is_snapshot = |it: &PathBuf| {
        it.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("snap.")
    };
    files.find(is_snapshot).unwrap()
}

fn copy_store(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("blobs")).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Opens a store that must be found damaged: it is set aside by name, and an empty one works in its place.
async fn assert_set_aside(folder: &Path, path: &Path, before: Uuid) {
    let lists = SledLists::open(path).unwrap();
    let names = set_aside_names(folder);
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(lists.set_aside(), Some(folder.join(&names[0]).as_path()));
    assert!(folder.join(&names[0]).join("db").exists());
    assert_ne!(lists.incarnation().await.unwrap(), before);
    assert_eq!(lists.stats().await.unwrap().entries, 0);
    let answers = lists.apply(Arc::new(vec![append("g", 0..3)])).await;
    assert_eq!(answers.unwrap(), [Applied::Stored]);
    lists.close().await.unwrap();
    let lists = SledLists::open(path).unwrap();
    assert_eq!(lists.set_aside(), None);
    let list = lists
        .range(&guest("g"), WHOLE, at(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(list.items, items(0..3));
}

#[tokio::test]
async fn a_reopened_store_has_everything_and_the_same_incarnation() {
    let (_folder, path, incarnation) = a_store().await;
    let lists = SledLists::open(&path).unwrap();
    assert_eq!(lists.set_aside(), None);
    assert_eq!(lists.incarnation().await.unwrap(), incarnation);
    assert_eq!(lists.stats().await.unwrap().entries, 200);
    for n in 0..200 {
        let name = guest(&format!("guest-{n}"));
        let list = lists.range(&name, WHOLE, at(0)).await.unwrap().unwrap();
        assert_eq!((list.head.from, list.items), (0, items(0..5)));
    }
}

/// A copy of the files after a flush is what a killed process leaves behind.
#[tokio::test]
async fn what_was_flushed_is_in_the_files_without_a_close() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..5)).await;
    fixture.lists.flush().await.unwrap();
    let copy = fixture.folder.path().join("copy");
    copy_store(&fixture.path(), &copy);
    let lists = SledLists::open(&copy).unwrap();
    assert_eq!(lists.set_aside(), None);
    let list = lists
        .range(&guest("g"), WHOLE, at(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(list.items, items(0..5));
    assert_eq!(
        lists.incarnation().await.unwrap(),
        fixture.lists.incarnation().await.unwrap()
    );
}

#[tokio::test]
async fn a_second_open_of_one_store_is_refused_and_harms_nothing() {
    let fixture = Fixture::new();
    fixture.apply(append("g", 0..1)).await;
    // Not even when the store looks damaged: sled reads this file before it tries the lock.
    fs::write(fixture.path().join("conf"), [b'x'; 40]).unwrap();
    let error = SledLists::open(&fixture.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("open already"), "{error}");
    assert!(set_aside_names(fixture.folder.path()).is_empty());
    assert_eq!(fixture.read("g").await, Some((0, items(0..1))));
}

#[tokio::test]
async fn a_file_in_place_of_the_directory_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists");
    fs::write(&path, "mine").unwrap();
    let error = SledLists::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("is a file"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[tokio::test]
async fn garbage_in_the_data_is_set_aside() {
    let (folder, path, incarnation) = a_store().await;
    overwrite(&path.join("db"), |bytes| {
        let length = bytes.len();
        let noise = (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 7) as u8);
        bytes.splice(.., noise);
    });
    assert_set_aside(folder.path(), &path, incarnation).await;
}

#[tokio::test]
async fn damaged_data_in_the_middle_is_set_aside() {
    let (folder, path, incarnation) = a_store().await;
    // A restart makes a snapshot that says what the file must hold.
    SledLists::open(&path).unwrap().close().await.unwrap();
    overwrite(&path.join("db"), |bytes| bytes[100..60_000].fill(0xa5));
    assert_set_aside(folder.path(), &path, incarnation).await;
}

#[tokio::test]
async fn a_flipped_snapshot_is_set_aside() {
    let (folder, path, incarnation) = a_store().await;
    SledLists::open(&path).unwrap().close().await.unwrap();
    overwrite(&snapshot_of(&path), |bytes| bytes[20] ^= 1);
    assert_set_aside(folder.path(), &path, incarnation).await;
}

#[tokio::test]
async fn a_truncated_file_never_passes_for_the_whole_store() {
    let (folder, path, incarnation) = a_store().await;
    SledLists::open(&path).unwrap().close().await.unwrap();
    overwrite(&path.join("db"), |bytes| bytes.truncate(30_000));
    let lists = SledLists::open(&path).unwrap();
    let set_aside = set_aside_names(folder.path()).len();
    let same = lists.incarnation().await.unwrap() == incarnation;
    assert!(set_aside == 1 && !same, "{set_aside} {same}");
}

#[tokio::test]
async fn a_missing_configuration_is_written_anew_and_loses_nothing() {
    let (folder, path, incarnation) = a_store().await;
    fs::remove_file(path.join("conf")).unwrap();
    let lists = SledLists::open(&path).unwrap();
    assert_eq!(lists.incarnation().await.unwrap(), incarnation);
    assert_eq!(lists.stats().await.unwrap().entries, 200);
    assert!(set_aside_names(folder.path()).is_empty());
}

#[tokio::test]
async fn a_damaged_configuration_is_set_aside() {
    let (folder, path, incarnation) = a_store().await;
    overwrite(&path.join("conf"), |bytes| bytes.fill(b'x'));
    assert_set_aside(folder.path(), &path, incarnation).await;
}

/// Small damage anywhere. sled may not notice it, or only later, in which case the call fails and the store begins anew;
/// but nothing wrong is ever read, nothing hangs, and the lists work afterwards.
#[tokio::test]
async fn damage_anywhere_is_never_read_as_data() {
    const ROUNDS: u64 = 30;
    // Large enough for several of sled's segments of 512 KiB: only the last one is read in full when a store is opened.
    let fixture = Fixture::new();
    for n in 0..200 {
        fixture.apply(large(n, 0..5)).await;
    }
    fixture.lists.close().await.unwrap();
    let (folder, path) = (&fixture.folder, fixture.path());
    SledLists::open(&path).unwrap().close().await.unwrap();
    let sound = fs::read(path.join("db")).unwrap();
    let written = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (noise >> 33) as usize % below
    };
    let (mut at_open, mut later) = (0, 0);
    for round in 0..ROUNDS {
        let copy = folder.path().join(format!("copy-{round}"));
        copy_store(&path, &copy);
        let from = random(written);
        // The first round is the control: nothing is damaged and nothing may be noticed.
        let length = if round == 0 {
            0
        } else {
            [1, 8, 512, 4_096][random(4)]
        };
        overwrite(&copy.join("db"), |bytes| {
            for byte in bytes.iter_mut().skip(from).take(length) {
                *byte ^= 0x5a;
            }
        });
        println!("round {round}: {length} bytes at {from} of {written}");
        let lists = SledLists::open(&copy).unwrap();
        at_open += usize::from(lists.set_aside().is_some());
        later += usize::from(read_and_rewrite(&lists).await);
        assert!(
            round > 0 || at_open + later == 0,
            "a sound store was refused"
        );
    }
    println!("{ROUNDS} rounds: noticed when opened {at_open}, when used {later}");
    // About half of it falls on pages that are no longer in use.
    assert!(at_open + later > 0, "the damage was never noticed");
}

/// An append of items of 2 KiB that each say their sequence.
fn large(number: u64, sequences: Range<u64>) -> Append {
    let texts = sequences.clone().map(|n| item(&format!("{n:2048}")));
    Append {
        items: texts.collect(),
        ..append(&format!("guest-{number}"), sequences)
    }
}

/// Whether the store failed at first.
async fn read_and_rewrite(lists: &SledLists) -> bool {
    let mut failed = false;
    for n in 0..200 {
        let expected = large(n, 0..5);
        match lists.range(&expected.guest, WHOLE, at(0)).await {
            Ok(Some(list)) => assert!(list.items == expected.items, "guest {n}"),
            Ok(None) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                failed = true;
            }
        }
    }
    for n in 0..200 {
        let list = large(n, 0..7);
        // The first call that meets the damage fails; from then on the store is a new one.
        if lists.replace(list.clone()).await.is_err() {
            failed = true;
            lists.replace(list.clone()).await.unwrap();
        }
        let read = lists.range(&list.guest, WHOLE, at(0)).await.unwrap();
        assert!(read.unwrap().items == list.items, "guest {n}");
    }
    lists.close().await.unwrap();
    failed
}
