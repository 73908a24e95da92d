//! Probes whether the file can be written.

use super::{Writer, sql};
use guestbook_core::error::Result;
use rusqlite::{Connection, TransactionBehavior};

impl Writer {
    /// Tries a write, and rolls it back unless the disk was full: then nothing of it reaches the disk.
    pub(super) fn try_to_write(&mut self) -> Result<()> {
        if self.full.is_some() {
            return self.look_for_room();
        }
        if let Some(outcome) = self.probe.last() {
            return outcome;
        }
        let run = |connection: &mut Connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute(sql::META_PUT, ["room", "1"])?;
            tx.rollback()
        };
        let tried = run(&mut self.connection).map_err(|cause| self.failed("health", cause));
        self.probe.note(tried)
    }

    /// Whether a full disk has space again. Only a commit shows that.
    fn look_for_room(&mut self) -> Result<()> {
        self.transact("health", |tx, _| {
            tx.execute(sql::META_PUT, ["room", "1"])?;
            tx.execute(sql::META_DELETE, ["room"]).map(drop)
        })?;
        self.full = None;
        Ok(())
    }
}
