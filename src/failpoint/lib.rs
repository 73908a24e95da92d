//! Places where a test can end the process, to see what a crash there leaves. In a build without the feature `failpoints`
//! they are nothing.
//!
//! `FAILPOINTS="commit.after=3*off->return" guestbook` aborts when that place is reached for the fourth time; other actions
//! (`sleep(100)`, `panic`) are those of the [fail](https://docs.rs/fail) crate. `tests/crashes/matrix.rs` goes through all.

/// Every place there is.
pub const NAMES: [&str; 13] = [
    "schema.mid",    // the tables are made, and what the database knows of itself is not
    "open.after",    // both stores are open, nothing is served yet
    "commit.before", // everything of a transaction is done but its commit
    "commit.after",  // it is committed, nobody knows
    "list.before",   // … the messages of a batch, before they are applied to the session lists
    "list.after",    // they are applied, and no reply is sent
    "flush.before",  // list writes are about to be made durable
    "flush.after",   // they are durable, the tables do not know
    "replace.mid",   // a list is rebuilt up to a page
    "replay.mid",    // some outbox entries are paid, and not noted
    "migrate.mid",   // a guest's chat is half a user's
    "erase.mid",     // a guest's chat is half gone
    "retime.mid",    // some lists have another life in their store, and not in the tables
];

/// Keeps what `FAILPOINTS` says in force.
#[cfg(feature = "failpoints")]
pub struct Armed(#[allow(dead_code)] fail::FailScenario<'static>);
/// There are no failpoints in this build.
#[cfg(not(feature = "failpoints"))]
pub struct Armed;

/// Reads `FAILPOINTS`; while what it returns is kept, places do what was asked.
pub fn arm() -> Armed {
    #[cfg(feature = "failpoints")]
    return Armed(fail::FailScenario::setup());
    #[cfg(not(feature = "failpoints"))]
    Armed
}

/// Names a place. `return` ends the process there as a crash would.
#[cfg(feature = "failpoints")]
pub fn reach(name: &'static str) {
    debug_assert!(NAMES.contains(&name), "{name}");
    fail::fail_point!(name, |_| std::process::abort());
}

/// Names a place.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_: &'static str) {}
