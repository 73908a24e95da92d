//! Supervises a store: after an I/O error it is reopened, after damage it is set aside and replaced by an empty one.
//!
//! Both are safe because lists are derived. Lost lists are rebuilt from the tables: a new store has a new incarnation, and
//! an older one shows in its heads.

use super::aside;
use super::fault::{NAME, Recovery, SledFault, SledResult};
use super::lists::SledStore;
use super::open::{self, OpenFailure};
use guestbook_core::error::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A store that may be closed at times. Lives on the worker's thread.
#[derive(Debug)]
pub(super) struct SupervisedStore {
    path: PathBuf,
    state: StoreState,
    set_aside_at: Option<Instant>,
    pauses: ReopenBackoff,
}

/// How long a store stays closed before it is reopened.
#[derive(Clone, Copy, Debug)]
struct ReopenBackoff {
    /// sled never recovers from an I/O error, so each attempt costs a whole open.
    after_io_error: Duration,
    /// Each damage leaves a directory behind; a recurring fault must not fill the disk with them.
    after_damage: Duration,
}

#[derive(Debug)]
enum StoreState {
    Open(SledStore),
    /// Calls fail with `cause` until `retry_at`.
    Failed {
        cause: Error,
        retry_at: Instant,
    },
}

impl SupervisedStore {
    /// Supervises an open store.
    pub(super) fn new(path: PathBuf, lists: SledStore) -> Self {
        Self::in_state(path, StoreState::Open(lists))
    }

    /// Supervises a store that could not be opened yet; opening is retried.
    pub(super) fn closed(path: PathBuf, cause: Error) -> Self {
        let retry_at = Instant::now();
        Self::in_state(path, StoreState::Failed { cause, retry_at })
    }

    fn in_state(path: PathBuf, state: StoreState) -> Self {
        Self {
            path,
            state,
            set_aside_at: None,
            pauses: ReopenBackoff {
                after_io_error: Duration::from_secs(1),
                after_damage: Duration::from_secs(60),
            },
        }
    }

    /// Runs `work` on the open store. A panic in it is converted to an error.
    pub(super) fn run<R>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut SledStore) -> SledResult<R>,
    ) -> Result<R> {
        let lists = self.lists()?;
        // State that a panic leaves half done is never used: the store is reopened or set aside.
        open::caught(|| work(lists)).map_err(|fault| self.recover(operation, fault))
    }

    /// The open store, reopened when its time has come.
    fn lists(&mut self) -> Result<&mut SledStore> {
        if let StoreState::Failed { retry_at, .. } = self.state
            && Instant::now() >= retry_at
        {
            self.reopen();
        }
        match &mut self.state {
            StoreState::Open(lists) => Ok(lists),
            StoreState::Failed { cause, .. } => Err(cause.clone()),
        }
    }

    fn reopen(&mut self) {
        match open::open(&self.path) {
            Ok(opened) => {
                tracing::info!(store = %self.path.display(), "the list store is open again");
                if opened.set_aside.is_some() {
                    self.set_aside_at = Some(Instant::now());
                }
                self.state = StoreState::Open(opened.lists.in_place_of_another());
            }
            Err(failure) => {
                tracing::warn!(cause = %failure.cause, "the list store could not be opened again");
                self.stay_closed(failure);
            }
        }
    }

    fn stay_closed(&mut self, failure: OpenFailure) {
        if failure.after_setting_aside {
            self.set_aside_at = Some(Instant::now());
            return self.fail(failure.cause, self.pauses.after_damage);
        }
        self.fail(failure.cause, self.pauses.after_io_error);
    }

    fn recover(&mut self, operation: &'static str, fault: SledFault) -> Error {
        let remedy = fault.remedy();
        let error = fault.into_error(operation);
        match remedy {
            Recovery::Keep => {}
            Recovery::Reopen => {
                tracing::error!(cause = %error, "the list store failed and is opened again soon");
                self.fail(error.clone(), self.pauses.after_io_error);
            }
            Recovery::SetAside => self.begin_anew(&error),
        }
        error
    }

    /// Sets the damaged store aside and opens a new one.
    fn begin_anew(&mut self, cause: &Error) {
        self.fail(cause.clone(), self.pauses.after_damage);
        let pause = self.pauses.after_damage;
        if self.set_aside_at.is_some_and(|at| at.elapsed() < pause) {
            tracing::error!(%cause, "the list store is damaged again and stays closed for a while");
            return;
        }
        self.set_aside_at = Some(Instant::now());
        if let Err(cause) = aside::set_aside(&self.path, cause) {
            return self.fail(cause, self.pauses.after_io_error);
        }
        match open::open(&self.path) {
            Ok(opened) => self.state = StoreState::Open(opened.lists.in_place_of_another()),
            Err(failure) => self.stay_closed(failure),
        }
    }

    /// Closes the store; calls fail with `cause` until it is reopened.
    fn fail(&mut self, cause: Error, pause: Duration) {
        let retry_at = Instant::now() + pause;
        let failed = StoreState::Failed { cause, retry_at };
        if let StoreState::Open(broken) = std::mem::replace(&mut self.state, failed) {
            open::abandon(broken);
        }
    }
}

/// Flushes, and releases the store's lock.
impl Drop for SupervisedStore {
    fn drop(&mut self) {
        if !matches!(self.state, StoreState::Open(_)) {
            return;
        }
        if let Err(cause) = self.run("close", SledStore::flush) {
            tracing::error!(%cause, "the last flush of the list store failed");
        }
        let cause = Error::new(ErrorKind::Unavailable, NAME, "close", "closed");
        let retry_at = Instant::now();
        let closed = StoreState::Failed { cause, retry_at };
        if let StoreState::Open(lists) = std::mem::replace(&mut self.state, closed) {
            drop(lists);
            open::wait_until_free(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::append;
    use guestbook_core::GuestId;
    use std::io;
    use tempfile::TempDir;

    fn a_store(pauses: ReopenBackoff) -> (TempDir, SupervisedStore) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists");
        let opened = open::open(&path).unwrap();
        let mut guarded = SupervisedStore::new(path, opened.lists);
        guarded.pauses = pauses;
        (folder, guarded)
    }

    fn pauses(seconds: u64) -> ReopenBackoff {
        ReopenBackoff {
            after_io_error: Duration::from_secs(seconds),
            after_damage: Duration::from_secs(seconds),
        }
    }

    fn fail_with(guarded: &mut SupervisedStore, kind: io::ErrorKind) -> Error {
        let fault = || SledFault::Sled(sled::Error::Io(kind.into()));
        guarded.run::<()>("apply", |_| Err(fault())).unwrap_err()
    }

    fn panic_in(guarded: &mut SupervisedStore) -> Error {
        guarded
            .run::<()>("range", |_| panic!("torn page"))
            .unwrap_err()
    }

    fn guests(guarded: &mut SupervisedStore) -> Result<Vec<GuestId>> {
        guarded.run("guests", |lists| lists.guests(None, 10))
    }

    fn bad_stores(folder: &TempDir) -> usize {
        let names = std::fs::read_dir(folder.path()).unwrap();
        let bad = |it: &std::fs::DirEntry| it.file_name().to_string_lossy().contains(".bad-");
        names.map(std::result::Result::unwrap).filter(bad).count()
    }

    #[test]
    fn after_a_full_disk_the_store_is_opened_again_with_everything_in_it() {
        let (folder, mut guarded) = a_store(pauses(0));
        let list = append("g", 0..3);
        guarded
            .run("replace", |lists| lists.replace(&list))
            .unwrap();
        let full = fail_with(&mut guarded, io::ErrorKind::StorageFull);
        assert_eq!(full.kind(), ErrorKind::Full);
        // The broken handle is dropped on another thread, and keeps the lock until then.
        open::wait_until_free(&guarded.path);
        assert_eq!(guests(&mut guarded).unwrap(), [list.guest]);
        assert_eq!(bad_stores(&folder), 0);
    }

    #[test]
    fn the_first_flush_after_a_failure_does_not_vouch_for_what_was_written_before() {
        let (_folder, mut guarded) = a_store(pauses(0));
        let list = append("g", 0..3);
        guarded
            .run("replace", |lists| lists.replace(&list))
            .unwrap();
        fail_with(&mut guarded, io::ErrorKind::StorageFull);
        open::wait_until_free(&guarded.path);
        let flush =
            |guarded: &mut SupervisedStore| guarded.run("flush", |lists| lists.begin_flush());
        let error = flush(&mut guarded).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        flush(&mut guarded).unwrap();
    }

    #[test]
    fn a_flush_that_was_under_way_when_the_store_was_set_aside_is_no_flush_of_the_new_one() {
        let (_folder, mut guarded) = a_store(pauses(3_600));
        let list = append("g", 0..3);
        guarded
            .run("replace", |lists| lists.replace(&list))
            .unwrap();
        let flush = guarded.run("flush", |lists| lists.begin_flush()).unwrap();
        panic_in(&mut guarded);
        let ended = guarded.run("flush", |lists| lists.end_flush(&flush.unwrap()));
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    /// After a failed fsync, what the disk shows on reading may be in memory only.
    #[test]
    fn a_store_whose_fsync_failed_is_set_aside() {
        let (folder, mut guarded) = a_store(pauses(3_600));
        let cause = io::Error::from_raw_os_error(5);
        let error = guarded.run::<()>("flush", |_| Err(SledFault::Unsynced(cause)));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(bad_stores(&folder), 1);
        assert!(guests(&mut guarded).unwrap().is_empty());
    }

    #[test]
    fn until_then_calls_fail_with_the_cause() {
        let (_folder, mut guarded) = a_store(pauses(3_600));
        fail_with(&mut guarded, io::ErrorKind::StorageFull);
        let later = guests(&mut guarded).unwrap_err();
        assert_eq!(later.kind(), ErrorKind::Full);
        assert!(matches!(guarded.state, StoreState::Failed { .. }));
    }

    #[test]
    fn a_panic_is_an_error_and_the_store_begins_anew() {
        let (folder, mut guarded) = a_store(pauses(3_600));
        let list = append("g", 0..3);
        guarded
            .run("replace", |lists| lists.replace(&list))
            .unwrap();
        let incarnation = |guarded: &mut SupervisedStore| {
            guarded
                .run("incarnation", |lists| Ok(lists.incarnation()))
                .unwrap()
        };
        let before = incarnation(&mut guarded);
        let error = panic_in(&mut guarded);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("torn page"), "{error}");
        assert!(guests(&mut guarded).unwrap().is_empty());
        assert_ne!(incarnation(&mut guarded), before);
        assert_eq!(bad_stores(&folder), 1);
    }

    #[test]
    fn damage_that_comes_back_at_once_does_not_fill_the_disk() {
        let (folder, mut guarded) = a_store(pauses(3_600));
        for _ in 0..3 {
            panic_in(&mut guarded);
        }
        assert_eq!(bad_stores(&folder), 1);
        assert_eq!(guests(&mut guarded).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_store_that_was_found_damaged_when_opened_again_is_set_aside() {
        let (folder, mut guarded) = a_store(pauses(0));
        fail_with(&mut guarded, io::ErrorKind::StorageFull);
        open::wait_until_free(&guarded.path);
        std::fs::write(guarded.path.join("conf"), [b'x'; 40]).unwrap();
        assert!(guests(&mut guarded).unwrap().is_empty());
        assert_eq!(bad_stores(&folder), 1);
    }

    #[test]
    fn an_unreadable_record_is_no_reason_to_drop_the_store() {
        let (folder, mut guarded) = a_store(pauses(3_600));
        let error = guarded.run::<()>("range", |_| Err(SledFault::Record("crc".into())));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(guests(&mut guarded).is_ok());
        assert_eq!(bad_stores(&folder), 0);
    }
}
