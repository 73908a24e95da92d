//! The model: seeded random operations on the reference in memory and on another backend, with every answer compared, and
//! now and then everything that can be read.
//!
//! A failure prints its seed and step. `GUESTBOOK_MODEL_SEED` runs that seed alone, `GUESTBOOK_MODEL_STEPS` sets how many
//! steps; the first steps of a seed do not depend on how many follow.

#![allow(clippy::unwrap_used)] // a test may fail

mod held;
mod operations;
mod side;
mod sound;

use guestbook::core::{Timestamp, Ttl};
use guestbook::storage::database::TableSettings;
use guestbook_testkit::fixture::{Fixture, Guard, open_memory};
use operations::Generator;
use side::Side;
use std::env;
use std::time::Duration;

/// Seeds run by default, and steps of each: a few seconds on SQLite.
const SEEDS: u64 = 12;
const STEPS: usize = 400;
/// Everything is compared after so many steps.
const INSPECTION: usize = 50;

const HOUR: Duration = Duration::from_secs(3600);

fn settings(retention: Option<Duration>) -> TableSettings {
    TableSettings {
        list_ttl: Ttl(HOUR),
        retention,
        model: Some(operations::model("first")),
        cache_backend: "lists",
        text_index: false,
    }
}

/// How many seeds and steps the environment wants.
fn plan() -> (Vec<u64>, usize) {
    let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
    let seed = number("GUESTBOOK_MODEL_SEED");
    let seeds = seed.map_or_else(|| (0..SEEDS).collect(), |seed| vec![seed]);
    let steps = number("GUESTBOOK_MODEL_STEPS").map_or(STEPS, |steps| steps as usize);
    (seeds, steps)
}

/// Runs every seed on fresh pairs of stores.
async fn compare<Opened: Future<Output = (Guard, Fixture)>>(
    retention: Option<Duration>,
    open: impl Fn(TableSettings) -> Opened,
) {
    let (seeds, steps) = plan();
    for seed in seeds {
        let (_reference_guard, reference) = open_memory(settings(retention)).await;
        let (_subject_guard, subject) = open(settings(retention)).await;
        let mut sides = [Side::new(reference.database), Side::new(subject.database)];
        run(&mut sides, seed, steps).await;
    }
}

async fn run(sides: &mut [Side; 2], seed: u64, steps: usize) {
    let mut generator = Generator::new(seed);
    let mut recent = Vec::new();
    for step in 1..=steps {
        let (at, operation) = generator.next();
        recent.push(format!("{at} {operation:?}"));
        let [reference, subject] = &mut *sides;
        let expected = reference.run(&operation, at).await;
        let answer = subject.run(&operation, at).await;
        let told = || told(seed, step, &recent);
        assert_eq!(answer, expected, "{}", told());
        if step % INSPECTION == 0 || step == steps {
            inspect(sides, at, &told()).await;
        }
    }
}

async fn inspect([reference, subject]: &mut [Side; 2], at: Timestamp, told: &str) {
    let expected = reference.inspect(at).await;
    let found = subject.inspect(at).await;
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "everything compared, {told}");
    }
    assert_eq!(found.len(), expected.len(), "{told}");
}

/// What a person needs to see the failure again.
fn told(seed: u64, step: usize, recent: &[String]) -> String {
    let last = recent[recent.len().saturating_sub(8)..].join("\n  ");
    format!(
        "left: subject, right: reference\n\
         GUESTBOOK_MODEL_SEED={seed} GUESTBOOK_MODEL_STEPS={step}; the last operations:\n  {last}"
    )
}

/// The two tests of one subject.
macro_rules! model {
    ($pair:ident, $open:path) => {
        mod $pair {
            #[tokio::test]
            async fn answers_like_the_reference() {
                crate::databases::compare(None, $open).await;
            }

            #[tokio::test]
            async fn answers_like_the_reference_with_retention() {
                crate::databases::compare(Some(crate::databases::HOUR * 36), $open).await;
            }
        }
    };
}

model!(memory, guestbook_testkit::fixture::open_memory);
model!(sqlite_sled, guestbook_testkit::fixture::open_sqlite_sled);
#[cfg(feature = "redis")]
model!(sqlite_redis, guestbook_testkit::fixture::open_sqlite_redis);
#[cfg(feature = "postgres")]
model!(
    postgres_sled,
    guestbook_testkit::fixture::open_postgres_sled
);
#[cfg(all(feature = "postgres", feature = "redis"))]
model!(
    postgres_redis,
    guestbook_testkit::fixture::open_postgres_redis
);
