//! The server's scripts, each atomic over the two keys of one guest. Their text is in `lua/`.

use super::records::{encode_item, keys};
use ::redis::{Cmd, cmd};
use guestbook_core::GuestId;
use guestbook_storage::list_cache::{Append, ListRange, NewLife};
use std::sync::LazyLock;

/// A script and its SHA-1, by which a server knows it once it was loaded.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        let hash = ::redis::Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Runs the script on a list and its head.
    pub(super) fn on(&self, keys: &[String; 2]) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len()).arg(keys);
        command
    }

    /// The command that loads the script.
    pub(super) fn load(&self) -> Cmd {
        let mut command = cmd("SCRIPT");
        command.arg("LOAD").arg(self.text);
        command
    }
}

/// The head of an intact list.
pub(super) static HEADS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("lua/head.lua"),
        include_str!("lua/heads.lua")
    ))
});

/// The head and the items of an intact list.
pub(super) static RANGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("lua/head.lua"),
        include_str!("lua/range.lua")
    ))
});

/// One append; returns [`STORED`], [`ALREADY_THERE`] or [`GAP`].
pub(super) static APPLY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("lua/head.lua"),
        include_str!("lua/write.lua"),
        include_str!("lua/apply.lua")
    ))
});

/// Replaces a list by exactly these items, or by none.
pub(super) static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("lua/head.lua"),
        include_str!("lua/write.lua"),
        include_str!("lua/replace.lua")
    ))
});

/// Sets the expiry of a list of the expected length.
pub(super) static RETIME: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("lua/head.lua"),
        include_str!("lua/retime.lua")
    ))
});

/// The append was stored.
pub(super) const STORED: i64 = 0;
/// The list had it before.
pub(super) const ALREADY_THERE: i64 = 1;
/// The list must be rebuilt.
pub(super) const GAP: i64 = 2;

/// Runs a script that reads.
pub(super) fn reading(script: &Script, guest: &GuestId) -> Cmd {
    script.on(&keys(guest))
}

/// Reads part of a list.
pub(super) fn ranging(keys: &[String; 2], range: ListRange) -> Cmd {
    let ListRange { from, limit, bytes } = range;
    let mut command = RANGE.on(keys);
    command.arg(from).arg(limit).arg(bytes);
    command
}

/// Runs a script that writes.
pub(super) fn writing(script: &Script, append: &Append) -> Cmd {
    let mut command = reading(script, &append.guest);
    command
        .arg(append.origin.epoch.to_string())
        .arg(append.origin.conversation.to_string())
        .arg(append.from)
        .arg(append.first)
        .arg(append.first + append.items.len() as u64)
        .arg(append.expires_at.ms())
        .arg(append.expires_at.ms() - append.at.ms());
    for item in &append.items {
        command.arg(encode_item(item));
    }
    command
}

/// Runs [`RETIME`].
pub(super) fn retiming(new: &NewLife) -> Cmd {
    let mut command = reading(&RETIME, &new.guest);
    command
        .arg(new.origin.epoch.to_string())
        .arg(new.origin.conversation.to_string())
        .arg(new.next)
        .arg(new.expires_at.ms())
        .arg(new.expires_at.ms() - new.at.ms());
    command
}
