//! Switching the index over words on and off, over what is stored already.

use guestbook::core::{Filters, Limit, SearchText, Words};
#[cfg(feature = "postgres")]
use guestbook::postgres::{PostgresDatabase, PostgresUrl};
use guestbook::sqlite::SqliteDatabase;
use guestbook::storage::Stores;
use guestbook::storage::database::{TableSettings, WordsRequest};
use guestbook::storage::memory::MemoryLists;
use guestbook_storage_contract::Fixture;
use guestbook_storage_contract::words::*;
use std::sync::Arc;

/// Off, on, off and on again, with a message more each time; all are found where it is on.
async fn switched(open: impl AsyncFn(TableSettings) -> Stores) {
    for (n, text_index) in [false, true, false, true].into_iter().enumerate() {
        let settings = TableSettings {
            text_index,
            ..forever()
        };
        let fixture = Fixture {
            database: open(settings).await,
            lists: Arc::new(MemoryLists::new()),
            lists_expire_themselves: false,
        };
        fixture.say(at(n as u64), "g1", "more tea").await;
        let asked = WordsRequest {
            words: Words::of("q", &SearchText::parse("q", "tea").unwrap()).unwrap(),
            k: Limit::default(),
            filters: Filters::default(),
            now: at(99),
        };
        let found = fixture.database.search.search_words(asked).await;
        assert_eq!(found.is_ok(), text_index, "{found:?}");
        if let Ok(found) = found {
            assert_eq!(found.hits.len(), n + 1);
        }
        fixture.database.backend.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_file_is_indexed_from_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guestbook.db");
    switched(async |settings| {
        let opened = SqliteDatabase::open(&path, settings).unwrap();
        Stores::of(Arc::new(opened))
    })
    .await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_server_is_indexed_from_what_is_on_it() {
    let (_server, url) = guestbook_testkit::servers::shared_postgres().await;
    let url = PostgresUrl::parse(&url).unwrap();
    switched(async |settings| {
        let opened = PostgresDatabase::open(&url, 4, settings).await.unwrap();
        Stores::of(Arc::new(opened))
    })
    .await;
}

/// Several nodes start at once.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_make_one_index() {
    let (_server, url) = guestbook_testkit::servers::shared_postgres().await;
    let url = Arc::new(PostgresUrl::parse(&url).unwrap());
    let settings = TableSettings {
        text_index: true,
        ..forever()
    };
    let starting = (0..4).map(|_| {
        let (url, settings) = (Arc::clone(&url), settings.clone());
        tokio::spawn(async move { PostgresDatabase::open(&url, 4, settings).await.map(drop) })
    });
    let starting: Vec<_> = starting.collect();
    for node in starting {
        node.await.unwrap().unwrap();
    }
}
