//! What the unit tests of this backend share.

use super::keys;
use super::lists::SledStore;
use guestbook_core::{Content, ConversationId, GuestId, Role, Timestamp};
use guestbook_storage::list_cache::{Append, Item, ListRange, Origin};
use std::ops::Range;
use tempfile::TempDir;
use uuid::Uuid;

/// All items of a list.
pub(super) const WHOLE: ListRange = ListRange {
    from: 0,
    limit: usize::MAX,
    bytes: usize::MAX,
};

pub(super) fn origin(number: u128) -> Origin {
    Origin {
        epoch: Uuid::from_u128(7),
        conversation: ConversationId(Uuid::from_u128(number)),
    }
}

/// Items whose texts are their sequences.
pub(super) fn items(sequences: Range<u64>) -> Vec<Item> {
    let item = |n| Item {
        role: Role::User,
        content: Content::from_stored(&format!("message {n}")),
        timestamp: Timestamp::from_ms(5),
    };
    sequences.map(item).collect()
}

/// The append of these sequences to a list that begins at 0 and ends at 1,000 ms.
pub(super) fn append(name: &str, sequences: Range<u64>) -> Append {
    Append {
        guest: GuestId::parse(name).unwrap(),
        origin: origin(1),
        from: 0,
        first: sequences.start,
        items: items(sequences),
        expires_at: Timestamp::from_ms(1_000),
        at: Timestamp::from_ms(0),
    }
}

pub(super) fn open_lists() -> (TempDir, SledStore) {
    let folder = tempfile::tempdir().unwrap();
    let opened = super::open::open(&folder.path().join("lists")).unwrap();
    (folder, opened.lists)
}

impl SledStore {
    pub(super) fn expiry_entries(&self) -> usize {
        self.trees.expiry.len()
    }

    /// How many items there are, counted by their first pieces.
    pub(super) fn first_pieces(&self) -> usize {
        let keys = self.trees.items.iter().keys().map(|key| key.unwrap());
        keys.filter(|key| matches!(keys::place(key), Some((_, 0))))
            .count()
    }

    pub(super) fn damage_head(&self, guest: &GuestId) {
        let heads = &self.trees.heads;
        let mut record = heads.get(keys::head(guest)).unwrap().unwrap();
        record[3] ^= 1;
        heads.insert(keys::head(guest), record).unwrap();
    }

    /// Overwrites a piece of an item, or removes it.
    pub(super) fn damage_item(&self, key: &[u8], piece: Option<&[u8]>) {
        let items = &self.trees.items;
        let before = match piece {
            Some(piece) => items.insert(key, piece).unwrap(),
            None => items.remove(key).unwrap(),
        };
        assert!(before.is_some());
    }
}
