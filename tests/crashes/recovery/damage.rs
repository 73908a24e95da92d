//! A data folder as a server left it, and ways to damage a copy of it.

use crate::recovery::harness::{as_of_now, converse};
use guestbook_testkit::oracle::{Dice, OnDisk, Oracle};
use guestbook_testkit::process::Place;
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a page, and of what stands before the frames of a write-ahead log and before each.
pub(crate) const PAGE: u64 = 4096;
const LOG_HEAD: u64 = 32;
const FRAME: u64 = 24 + PAGE;

/// How the last server ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Stopped,
    Killed,
}

/// What is done to a copy. All but the last five are done to `guestbook.db`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Damage {
    Header,
    Schema,
    Messages,
    MessageIndex,
    Conversations,
    AnyPage,
    ZeroedPage,
    SwappedPages,
    CutFile,
    NoShm,
    FlippedShm,
    FlippedLog,
    CutLog,
    TornLog,
    NoLog,
}

impl Damage {
    /// Whether it takes commits away that are nowhere else.
    pub(crate) fn is_of_log(self) -> bool {
        matches!(
            self,
            Self::FlippedLog | Self::CutLog | Self::TornLog | Self::NoLog
        )
    }

    /// Does it to a data folder; what was done.
    pub(crate) fn strike(self, data: &Path, dice: &mut Dice) -> String {
        let (file, log) = (data.join("guestbook.db"), data.join("guestbook.db-wal"));
        let shared = data.join("guestbook.db-shm");
        let pages = length(&file) / PAGE;
        match self {
            Self::Header => flip(&file, 0, 100, dice),
            Self::Schema => flip(&file, 100, PAGE - 100, dice),
            Self::Messages => flip_page(&file, page_of(&file, "message_cache", dice), dice),
            Self::MessageIndex => {
                let index = [
                    "sqlite_autoindex_message_cache_1",
                    "sqlite_autoindex_message_cache_2",
                ];
                let index = index[usize::try_from(dice.roll(2)).unwrap()];
                flip_page(&file, page_of(&file, index, dice), dice)
            }
            Self::Conversations => {
                flip_page(&file, page_of(&file, "conversation_cache", dice), dice)
            }
            Self::AnyPage => flip_page(&file, 1 + dice.roll(pages), dice),
            Self::ZeroedPage => {
                let page = 2 + dice.roll(pages - 1);
                write(&file, (page - 1) * PAGE, &[0; PAGE as usize]);
                format!("page {page} zeroed")
            }
            Self::SwappedPages => {
                let (one, two) = (2 + dice.roll(pages - 1), 2 + dice.roll(pages - 1));
                let (first, second) = (read(&file, one), read(&file, two));
                write(&file, (one - 1) * PAGE, &second);
                write(&file, (two - 1) * PAGE, &first);
                format!("pages {one} and {two} swapped")
            }
            Self::CutFile => cut(&file, PAGE + dice.roll(length(&file) - PAGE)),
            Self::NoShm => gone(&shared),
            Self::FlippedShm => flip(&shared, 0, length(&shared), dice),
            Self::FlippedLog => flip(&log, 0, length(&log), dice),
            Self::CutLog => cut(&log, LOG_HEAD + FRAME * dice.roll(frames(&log))),
            Self::TornLog => cut(&log, dice.roll(length(&log))),
            Self::NoLog => gone(&log),
        }
    }
}

/// A folder that a server left, and what it had answered.
pub(crate) struct Image {
    place: Place,
    pub(crate) oracle: Arc<Oracle>,
}

impl Image {
    /// Most messages are in the file, for a server has closed it; the last ones are in the write-ahead log if it was killed.
    pub(crate) async fn of(end: End) -> Self {
        let (place, oracle) = (Place::new(), Arc::new(Oracle::default()));
        let node = place.serve();
        converse(&oracle, &node, 300).await;
        oracle
            .assert_clean(&OnDisk::new(&place, &node), &[&node.client])
            .await;
        node.stop();
        let node = place.serve();
        converse(&oracle, &node, 60).await;
        match end {
            End::Stopped => node.stop(),
            End::Killed => node.kill(),
        }
        Self { place, oracle }
    }

    /// A copy, and an oracle of its own.
    pub(crate) fn copy(&self) -> (Place, Arc<Oracle>) {
        let copy = Place::new();
        copy_folder(&self.place.data(), &copy.data());
        (copy, as_of_now(&self.oracle))
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name): (PathBuf, _) = entry.map(|it| (it.path(), it.file_name())).unwrap();
        match path.is_dir() {
            true => copy_folder(&path, &to.join(name)),
            false => drop(std::fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}

/// A page of a table or index that stands in the file and in no write-ahead log, if there is one.
pub(crate) fn page_of(file: &Path, name: &str, dice: &mut Dice) -> u64 {
    let log = PathBuf::from(format!("{}-wal", file.display()));
    let logged = if log.exists() {
        logged(&log)
    } else {
        Vec::new()
    };
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("guestbook.db");
    std::fs::copy(file, &copy).unwrap(); // looking must change nothing
    let connection = Connection::open(&copy).unwrap();
    let sql = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf'";
    let mut leaves = connection.prepare(sql).unwrap();
    let pages = leaves.query_map([name], |row| row.get(0)).unwrap();
    let pages: Vec<u64> = pages.collect::<rusqlite::Result<_>>().unwrap();
    let only: Vec<u64> = pages
        .iter()
        .copied()
        .filter(|page| !logged.contains(page))
        .collect();
    let pages = if only.is_empty() { pages } else { only };
    pages[usize::try_from(dice.roll(pages.len() as u64)).unwrap()]
}

/// The pages that a write-ahead log has.
fn logged(log: &Path) -> Vec<u64> {
    let bytes = std::fs::read(log).unwrap();
    let frames = bytes[LOG_HEAD as usize..].chunks_exact(FRAME as usize);
    frames
        .map(|frame| u64::from(u32::from_be_bytes(frame[..4].try_into().unwrap())))
        .collect()
}

fn frames(log: &Path) -> u64 {
    (length(log) - LOG_HEAD) / FRAME
}

fn length(file: &Path) -> u64 {
    file.metadata().unwrap().len()
}

fn open(file: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap()
}

fn read(file: &Path, page: u64) -> Vec<u8> {
    let mut bytes = vec![0; PAGE as usize];
    open(file)
        .read_exact_at(&mut bytes, (page - 1) * PAGE)
        .unwrap();
    bytes
}

pub(crate) fn write(file: &Path, at: u64, bytes: &[u8]) {
    open(file).write_all_at(bytes, at).unwrap();
}

fn flip_page(file: &Path, page: u64, dice: &mut Dice) -> String {
    format!("page {page}: {}", flip(file, (page - 1) * PAGE, PAGE, dice))
}

/// One to eight bytes made others.
fn flip(file: &Path, from: u64, length: u64, dice: &mut Dice) -> String {
    let places: Vec<_> = (0..=dice.roll(8))
        .map(|_| from + dice.roll(length))
        .collect();
    for place in &places {
        let mut byte = [0];
        open(file).read_exact_at(&mut byte, *place).unwrap();
        let mask = u8::try_from(1 + dice.roll(255)).unwrap();
        write(file, *place, &[byte[0] ^ mask]);
    }
    format!("bytes at {places:?} changed")
}

fn cut(file: &Path, length: u64) -> String {
    let before = file.metadata().unwrap().len();
    open(file).set_len(length).unwrap();
    format!("cut from {before} to {length} bytes")
}

fn gone(file: &Path) -> String {
    std::fs::remove_file(file).unwrap();
    "removed".into()
}
