//! The power goes under PostgreSQL, and under the service with it: what was answered is there afterwards.
//!
//! PostgreSQL's files are on the disk that loses what was not synced; Redis keeps the lists elsewhere and runs on, with lists of
//! messages that may be gone. Only in the long form: PostgreSQL's own durability is shown here, and that the service asks
//! for it. Shown to fail: with `PostgresOptions::fast()` messages are lost, or the server does not start again.

use crate::disks::mount::Disk;
use crate::disks::power_cut::{EARLIEST, LATEST, busy, end};
use guestbook_testkit::oracle::{Dice, Load, Nodes, Oracle, given, is_long, needed};
use guestbook_testkit::pair::{Lists, Pair, Tables};
use guestbook_testkit::servers::{Postgres, PostgresOptions, Redis, RedisOptions};

use std::process::Command;
use std::sync::Arc;

const MEGABYTES: u64 = 512;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_postgres_keeps_what_was_answered() {
    if !is_long() {
        return;
    }
    let Some(disk) = needed(Disk::ext4(MEGABYTES)) else {
        return;
    };
    let mut dice = Dice::thrown();
    let options = PostgresOptions {
        data: Some(disk.path().join("postgres")),
        ..PostgresOptions::default()
    };
    let server = Postgres::start_with(options).await;
    let database = server.create_database().await;
    assert!(Command::new("sync").status().unwrap().success()); // initdb has not waited for the disk
    let lists = Lists::Redis(Redis::start_with(RedisOptions::default()).await);
    let pair = Pair::of(Tables::Postgres { server, database }, lists);
    let Tables::Postgres { server, .. } = &pair.tables else {
        unreachable!()
    };
    let oracle = Arc::new(Oracle::default());
    let mut node = pair.serve();
    let nodes = Nodes::of(&[&node]);
    let cuts = given("GUESTBOOK_TEST_ROUNDS").unwrap_or(20);
    for _ in 0..cuts {
        let load = Load::start(&oracle, &nodes, busy());
        let switch = disk.switch();
        tokio::time::sleep(dice.between(EARLIEST, LATEST)).await;
        let answered = oracle.book().saved;
        switch.off();
        end(node);
        server.kill().await;
        oracle.suspect_since(answered);
        disk.start_again();
        server.start_again().await;
        node = pair.serve();
        nodes.set(0, &node);
        load.finish().await;
        oracle.assert_clean(&pair, &[&node.client]).await;
    }
    let saved = oracle.book().saved;
    println!(
        "figure: power cut under PostgreSQL: {cuts} cuts, {saved} messages acknowledged, 0 lost"
    );
    tokio::task::block_in_place(|| node.stop());
}
