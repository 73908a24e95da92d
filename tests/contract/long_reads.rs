//! Reads of unbounded length wait for each other and hold up no others, on a server.

use guestbook::core::{Limit, OwnerId, SearchText, Words};
use guestbook::postgres::{PostgresDatabase, PostgresUrl};
use guestbook::storage::Stores;
use guestbook::storage::database::{SearchQuery, SearchRequest, SearchScope};
use guestbook::storage::memory::MemoryLists;
use guestbook_storage_contract::Fixture;
use guestbook_storage_contract::words::*;
use guestbook_testkit::servers::{SharedDatabase, shared_postgres};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 6;
const SEARCHES: usize = 24;
const PATIENCE: Duration = Duration::from_secs(120);
/// Keeps every read of a message waiting.
const HOLD: &str =
    "BEGIN; LOCK TABLE message_cache IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(601);";
const LET_GO: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE query LIKE '%pg_sleep(601)%' AND datname = current_database() AND pid <> pg_backend_pid()";
const HELD: &str = "SELECT count(*) FROM pg_locks WHERE relation = 'message_cache'::regclass
    AND mode = 'AccessExclusiveLock' AND granted";
const WAITING: &str =
    "SELECT count(*) FROM pg_locks WHERE relation = 'message_cache'::regclass AND NOT granted";

async fn at_least_one(server: &SharedDatabase, count: &str) -> usize {
    let since = Instant::now();
    loop {
        let counted = server.psql(count).await.trim().parse().unwrap();
        if counted > 0 {
            return counted;
        }
        assert!(since.elapsed() < PATIENCE, "{count}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn search() -> SearchRequest {
    let text = SearchText::parse("q", "tea").unwrap();
    SearchRequest {
        scope: SearchScope::Guest(guest("g1")),
        sought: SearchQuery::Text(Words::of("q", &text).unwrap()),
        k: Limit::default(),
        now: at(99),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_of_a_long_chat_leave_connections_to_everybody_else() {
    let (server, url) = shared_postgres().await;
    let url = PostgresUrl::parse(&url).unwrap();
    let database = PostgresDatabase::open(&url, CONNECTIONS, forever()).await;
    let fixture = Fixture {
        database: Stores::of(Arc::new(database.unwrap())),
        lists: Arc::new(MemoryLists::new()),
        lists_expire_themselves: false,
    };
    fixture.say(at(0), "g1", "tea").await;
    server
        .psql("UPDATE conversation_cache SET message_count = 5000")
        .await;
    let server = Arc::new(server);
    let holder = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.psql(HOLD).await }
    });
    at_least_one(&server, HELD).await;
    let mut searches = JoinSet::new();
    for _ in 0..SEARCHES {
        let store = Arc::clone(&fixture.database.search);
        searches.spawn(async move { store.search(search()).await });
    }
    at_least_one(&server, WAITING).await;
    let nobody = OwnerId::parse("user_id", "nobody").unwrap();
    for _ in 0..20 {
        fixture.database.backend.health().await.unwrap();
        let owned = fixture.database.chats.conversations(&nobody, None, 10);
        assert_eq!(owned.await.unwrap(), []);
        let waiting = server.psql(WAITING).await;
        assert!(waiting.trim().parse::<usize>().unwrap() <= 1, "{waiting}");
    }
    server.psql(LET_GO).await;
    searches.abort_all();
    let _ = holder.await; // its session was ended
    let found = fixture.database.search.search(search()).await.unwrap();
    assert_eq!(found.hits.len(), 1);
    fixture.database.backend.close().await.unwrap();
}
