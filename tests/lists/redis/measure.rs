//! Figures, not laws: `cargo test --release --features redis --test redis_lists -- --ignored --nocapture measure`.

use crate::redis::*;

const BATCH: u64 = 64;
const BATCHES: u64 = 300;

async fn run(label: &str, lists: &dyn ListCache, size: u64) {
    let mut took = Vec::new();
    for number in 0..BATCHES {
        let batch = (0..size).map(|n| {
            let mut append = append(&format!("{label}-{n}"), number..number + 1);
            append.items[0].content = Content::from_stored(&"x".repeat(90));
            append
        });
        let batch = Arc::new(batch.collect::<Vec<_>>());
        let since = Instant::now();
        let applied = lists.apply(batch).await.unwrap();
        took.push(since.elapsed());
        assert!(applied.iter().all(|it| *it == Applied::Stored));
    }
    took.sort();
    let median = took[took.len() / 2];
    let each = median.as_secs_f64() * 1e6 / size as f64;
    println!(
        "{label}: {each:.1} us per append, a batch of {size} in {median:?} (median of {BATCHES})"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_batches() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    run("server", &*lists, BATCH).await;
    run("server-one", &*lists, 1).await;
    let cluster = cluster::Cluster::start();
    let lists = open(&cluster.url()).await;
    run("cluster", &*lists, BATCH).await;
}
