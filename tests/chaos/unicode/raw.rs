//! What the stores hold, read past the program.

use crate::unicode::stand::{Pair, Stand};
use crate::unicode::words::kept;
use guestbook::core::{GuestId, Timestamp};
use guestbook::sled::SledLists;
use guestbook::storage::{ListCache, QueryRows, Storage};
use guestbook_storage_contract::words::WHOLE;
use guestbook_testkit::client::Client;

const SQL: &str = "SELECT hex(m.content) FROM message_cache m JOIN conversation_cache c ON c.id = m.conversation_id
    WHERE c.user_id = 'batch' ORDER BY m.sequence";
const POSTGRES: &str = "SELECT upper(encode(convert_to(m.content, 'UTF8'), 'hex')) FROM message_cache m
    JOIN conversation_cache c ON c.id = m.conversation_id WHERE c.user_id = 'batch' ORDER BY m.sequence";
/// The items of a list as hexadecimal digits, because what redis-cli prints is for people.
const LUA: &str = "local all = {}
    for i, item in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
        all[i] = item:gsub('.', function(c) return string.format('%02X', c:byte()) end)
    end
    return all";

/// Ends the program and compares the bytes of every content, in tables and list; what was logged.
pub(crate) async fn check(stand: Stand) -> String {
    let expected: Vec<_> = kept().into_iter().map(|word| word.1).collect();
    mark_synced(&stand.node.client).await;
    if let Some(postgres) = &stand.postgres {
        let told = postgres.psql(POSTGRES).await;
        assert_eq!(told.lines().map(unhexed).collect::<Vec<_>>(), expected);
    }
    if let Some(redis) = &stand.redis {
        let told = redis.command(&["EVAL", LUA, "1", "guest:batch"]).await;
        let items = told.lines().map(unhexed);
        let content = |item: String| {
            let json: serde_json::Value = serde_json::from_str(&item).unwrap();
            json["content"].as_str().unwrap().to_owned()
        };
        assert_eq!(items.map(content).collect::<Vec<_>>(), expected);
    }
    let (status, log) = tokio::task::block_in_place(|| stand.node.ended_by("TERM"));
    assert!(status.success(), "{log}");
    if matches!(stand.pair, Pair::SqliteSled | Pair::SqliteRedis) {
        let mut found = QueryRows::default();
        guestbook::sqlite::query(&stand.place.file(), SQL, &mut found).unwrap();
        let cells = found.rows.into_iter().flatten().flatten();
        assert_eq!(
            cells.map(|cell| unhexed(&cell)).collect::<Vec<_>>(),
            expected
        );
    }
    if matches!(stand.pair, Pair::SqliteSled | Pair::PostgresSled) {
        let lists = SledLists::open(&stand.place.data().join("lists")).unwrap();
        let guest = GuestId::parse("batch").unwrap();
        let list = lists
            .range(&guest, WHOLE, Timestamp::default())
            .await
            .unwrap()
            .unwrap();
        let found: Vec<_> = list
            .items
            .iter()
            .map(|item| item.content.as_str())
            .collect();
        assert_eq!(found, expected);
        lists.close().await.unwrap();
    }
    log
}

/// Until every list is there.
async fn mark_synced(client: &Client) {
    let report = client.verify(Some("batch")).await;
    assert_eq!(report["ok"], true, "{report}");
}

fn unhexed(digits: &str) -> String {
    let bytes = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    String::from_utf8(bytes.map(byte).collect()).unwrap()
}
