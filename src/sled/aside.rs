//! Stores that are set aside beside the one in use: damaged ones, and those of an unknown history.

use super::fault::NAME;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use guestbook_core::error::{Error, ErrorKind, Result};
use guestbook_storage::path::parent;
use guestbook_storage::private::{files_below, tighten};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Damaged stores kept for inspection: a failing disk would fill up with more.
const KEPT_ASIDE: usize = 3;
/// How long lists of another history are kept: erased messages must not stay longer.
const UNKNOWN_KEPT: TimeDelta = TimeDelta::hours(1);
/// The timestamp in the name of a store set aside.
const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Why a store is not used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum RejectionReason {
    Damaged,
    Unknown,
}

impl RejectionReason {
    fn word(self) -> &'static str {
        match self {
            Self::Damaged => ".bad-",
            Self::Unknown => ".unknown-",
        }
    }
}

/// Moves a damaged store aside, beside its path; returns its new path.
pub(super) fn set_aside(path: &Path, cause: &Error) -> Result<PathBuf> {
    let moved = move_away(path, RejectionReason::Damaged)?;
    tracing::error!(
        %cause,
        store = %path.display(),
        set_aside = %moved.display(),
        "the list store was damaged: it was set aside and an empty one begun, which is filled from the tables"
    );
    remove_older(path, &moved);
    Ok(moved)
}

/// Moves a store aside that has lists of other tables than these.
pub(super) fn set_unknown_aside(path: &Path) -> Result<PathBuf> {
    let moved = move_away(path, RejectionReason::Unknown)?;
    tracing::error!(
        store = %path.display(),
        set_aside = %moved.display(),
        kept_until = %(Utc::now() + UNKNOWN_KEPT).format("%FT%TZ"),
        "the lists are of another history than the tables, which are new or were replaced: they were set aside, and are made anew \
         from the tables. If the tables were lost by mistake, stop, put the database file or a backup back, and the lists into their \
         place; to keep them for longer, move them elsewhere"
    );
    Ok(moved)
}

/// Removes stores of other histories whose time has passed.
pub(super) fn remove_unknown(path: &Path) {
    let now = Utc::now();
    let is_over = |when: &str| {
        let when = NaiveDateTime::parse_from_str(when, FORMAT);
        when.is_ok_and(|when| now - when.and_utc() >= UNKNOWN_KEPT)
    };
    for ((when, _), old) in all(path, RejectionReason::Unknown) {
        if is_over(&when) {
            remove(
                &old,
                "lists of another history were removed, whose time was over",
            );
        }
    }
}

/// Makes the stores set aside private.
pub(super) fn keep_private(path: &Path) {
    let aside = [RejectionReason::Damaged, RejectionReason::Unknown].map(|why| all(path, why));
    let folders = aside.into_iter().flatten().map(|(_, folder)| folder);
    tighten(folders.flat_map(|folder| files_below(&folder)));
}

fn move_away(path: &Path, why: RejectionReason) -> Result<PathBuf> {
    let moved = free_name(path, why, Utc::now());
    let context = || format!("moving {} away failed", path.display());
    let failed = |io| Error::caused(ErrorKind::Unavailable, NAME, "open", context(), io);
    fs::rename(path, &moved).map_err(failed)?;
    File::open(parent(path))
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(moved)
}

/// Removes all but the newest of the damaged stores. Leftovers of a failure are removed next time.
fn remove_older(path: &Path, newest: &Path) {
    let mut older = all(path, RejectionReason::Damaged);
    older.retain(|(_, other)| other != newest);
    older.sort_unstable();
    for (_, old) in older.iter().rev().skip(KEPT_ASIDE - 1) {
        remove(
            old,
            "an older damaged list store was removed; the newest are kept",
        );
    }
}

fn remove(store: &Path, why: &str) {
    let shown = store.display();
    match fs::remove_dir_all(store) {
        Ok(()) => tracing::warn!(removed = %shown, "{why}"),
        Err(cause) => {
            tracing::error!(store = %shown, %cause, "a list store that was set aside could not be removed");
        }
    }
}

/// The stores set aside for this reason: timestamp, number within the same second, and path.
fn all(path: &Path, why: RejectionReason) -> Vec<((String, u32), PathBuf)> {
    let Ok(entries) = fs::read_dir(parent(path)) else {
        return Vec::new();
    };
    let aside = entries.flatten().filter_map(|entry| {
        let when = set_aside_when(path, &entry.path(), why)?;
        Some((when, entry.path()))
    });
    aside.collect()
}

/// When a store was set aside, and its number within the same second; `None` for any other path.
fn set_aside_when(path: &Path, other: &Path, why: RejectionReason) -> Option<(String, u32)> {
    let name = path.file_name()?.to_str()?;
    let rest = other.file_name()?.to_str()?.strip_prefix(name)?;
    let suffix = rest.strip_prefix(why.word())?;
    let (when, number) = match suffix.split_once('-') {
        Some((when, number)) => (when, number.parse().ok()?),
        None => (suffix, 1),
    };
    NaiveDateTime::parse_from_str(when, FORMAT).ok()?;
    Some((when.to_owned(), number))
}

/// `<name>.bad-<UTC time>`, with a number when there is one already.
fn free_name(path: &Path, why: RejectionReason, now: DateTime<Utc>) -> PathBuf {
    let (word, now) = (why.word(), now.format(FORMAT));
    let named = |suffix: String| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!("{word}{now}{suffix}"));
        path.with_file_name(name)
    };
    let numbers = std::iter::once(String::new()).chain((2_u32..).map(|n| format!("-{n}")));
    let mut names = numbers.map(named);
    // The iterator does not end.
    names
        .find(|name| !name.exists())
        .unwrap_or_else(|| named("-last".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_the_newest_damaged_stores_are_kept_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists");
        let bystanders = [
            "lists.bad-mine",
            "lists.bad-20200101T000000Z-x",
            "other.bad-20200101T000000Z",
        ];
        let older = [
            "20200101T000000Z",
            "20200101T000000Z-2",
            "20200101T000000Z-10",
            "20210101T000000Z",
        ];
        for name in bystanders {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for when in older {
            let old = folder.path().join(format!("lists.bad-{when}"));
            fs::create_dir_all(old.join("blobs")).unwrap();
        }
        fs::create_dir(&path).unwrap();
        let cause = Error::new(ErrorKind::Corrupt, NAME, "open", "torn page");
        let moved = set_aside(&path, &cause).unwrap();
        let newest = moved.file_name().unwrap().to_str().unwrap();
        let mut left = bystanders.map(str::to_owned).to_vec();
        left.extend([
            "lists.bad-20200101T000000Z-10".to_owned(),
            "lists.bad-20210101T000000Z".to_owned(),
            newest.to_owned(),
        ]);
        left.sort();
        assert_eq!(names(folder.path()), left);
    }

    #[test]
    fn lists_of_another_history_go_when_their_time_is_over_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists");
        let kept = ["lists", "lists.bad-20200101T000000Z", "lists.unknown-mine"];
        for name in kept.iter().chain(&["lists.unknown-20200101T000000Z"]) {
            fs::create_dir_all(folder.path().join(name).join("blobs")).unwrap();
        }
        let newest = set_unknown_aside(&path).unwrap();
        fs::create_dir(&path).unwrap();
        remove_unknown(&path);
        let newest = newest.file_name().unwrap().to_str().unwrap().to_owned();
        let mut left: Vec<_> = kept.map(str::to_owned).to_vec();
        left.push(newest);
        left.sort();
        assert_eq!(names(folder.path()), left);
    }
}
