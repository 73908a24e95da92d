//! A server does what the reference model does, operation by operation, also in whole batches.

use crate::redis::cluster::Cluster;
use crate::redis::*;
use guestbook::storage::memory::MemoryLists;

const STEPS: usize = 400;
const GUESTS: u64 = 12;

/// Numbers that look random and come again with the seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn guest(&mut self) -> String {
        format!("g{}", self.below(GUESTS))
    }

    fn append(&mut self) -> Append {
        let first = self.below(8);
        let from = first.saturating_sub(self.below(4)) + self.below(8) / 7;
        let expires_at = at(1000 + i64::try_from(self.below(1000)).unwrap());
        Append {
            origin: origin(1 + u128::from(self.below(8) / 7)),
            from,
            expires_at,
            ..append(&self.guest(), first..first + self.below(5))
        }
    }
}

async fn compare(lists: &dyn ListCache, seed: u64) {
    let (model, mut dice) = (MemoryLists::new(), Dice(seed));
    for step in 0..STEPS {
        let here = format!("seed {seed}, step {step}");
        match dice.below(10) {
            0..=6 => {
                let batch: Vec<_> = (0..1 + dice.below(6)).map(|_| dice.append()).collect();
                let batch = Arc::new(batch);
                let expected = model.apply(Arc::clone(&batch)).await.unwrap();
                let applied = lists.apply(Arc::clone(&batch)).await.unwrap();
                assert_eq!(applied, expected, "{here}: {batch:?}");
            }
            7 | 8 => {
                let mut list = dice.append();
                list.from = list.first;
                model.replace(list.clone()).await.unwrap();
                lists.replace(list).await.unwrap();
            }
            _ => {
                let gone = vec![guest(&dice.guest()), guest(&dice.guest())];
                model.remove(gone.clone()).await.unwrap();
                lists.remove(gone).await.unwrap();
            }
        }
        let name = dice.guest();
        let (found, expected) = (read(lists, &name).await, read(&model, &name).await);
        assert_eq!(found, expected, "{here}: {name}");
    }
    let everyone = model.guests(None, 100).await.unwrap();
    let heads = model.heads(everyone.clone()).await.unwrap();
    assert_eq!(lists.heads(everyone.clone()).await.unwrap(), heads);
    assert_eq!(lists.guests(None, 100).await.unwrap(), everyone);
}

#[tokio::test]
async fn a_server_answers_like_the_reference() {
    let server = Server::start(&[]);
    let lists = open(&server.url()).await;
    for seed in 0..4 {
        compare(&*lists, seed).await;
        let _: () = redis::cmd("FLUSHALL").query(&mut server.raw()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_answers_like_the_reference() {
    let cluster = Cluster::start();
    let lists = open(&cluster.url()).await;
    compare(&*lists, 99).await;
}
