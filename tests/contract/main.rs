//! The contract of a backend on every pair of stores; the laws are src/storage-contract.

#![allow(clippy::unwrap_used)] // a test may fail

#[cfg(feature = "postgres")]
mod long_reads;
mod prompt_size;
mod text_index;

guestbook_storage_contract::contract!(memory, guestbook_testkit::fixture::open_memory);
guestbook_storage_contract::contract!(sqlite_sled, guestbook_testkit::fixture::open_sqlite_sled);
#[cfg(feature = "redis")]
guestbook_storage_contract::contract!(sqlite_redis, guestbook_testkit::fixture::open_sqlite_redis);
#[cfg(feature = "postgres")]
guestbook_storage_contract::contract!(
    postgres_sled,
    guestbook_testkit::fixture::open_postgres_sled
);
#[cfg(all(feature = "postgres", feature = "redis"))]
guestbook_storage_contract::contract!(
    postgres_redis,
    guestbook_testkit::fixture::open_postgres_redis
);
