//! One sequence: the lives of a service, one after the other, beside a reference that never fails.

use crate::stateful_proptest::place::Place;
use crate::stateful_proptest::step::{Death, Failure, GUESTS, Step, Steps, USERS};
use guestbook::core::{Message, MessageId, NewMessage};
use guestbook::service::GroupOutcome;
use guestbook_testkit::service_harness::words::{DAY, SECOND, guest, until, user};
use guestbook_testkit::service_harness::{Plan, ServiceHarness};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

const STEPS: usize = 40;
/// How often a client sends again before it gives up.
const TRIES: usize = 20;

/// What has happened in all sequences.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    steps: AtomicU64,
    failures: AtomicU64,
    reopened: AtomicU64,
    deaths: AtomicU64,
    compared: AtomicU64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |total: &AtomicU64| total.load(Ordering::Relaxed);
        write!(
            f,
            "{} steps, {} failed calls, {} restarts, {} deaths, compared {} times",
            of(&self.steps),
            of(&self.failures),
            of(&self.reopened),
            of(&self.deaths),
            of(&self.compared)
        )
    }
}

fn add(total: &AtomicU64, count: usize) {
    total.fetch_add(count as u64, Ordering::Relaxed);
}

/// How a life ends.
enum End {
    Stopped(ServiceHarness),
    Dead(ServiceHarness, Vec<NewMessage>),
    Over(ServiceHarness),
}

/// Says which sequence it was when it ends by a panic.
struct FailureReport<'a>(u64, u64, &'a std::cell::RefCell<Vec<String>>);

impl Drop for FailureReport<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let steps = self.2.borrow();
            let all = steps.join("\n  ");
            println!(
                "sequence {} of GUESTBOOK_TEST_SEED={}; step {}, which were:\n  {all}",
                self.1,
                self.0,
                steps.len()
            );
        }
    }
}

struct Sequence<'a> {
    reference: ServiceHarness,
    steps: Steps,
    left: usize,
    recent: &'a std::cell::RefCell<Vec<String>>,
    totals: &'a Totals,
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Runs a sequence on stores of its own.
pub(crate) fn run(place: &Place, seed: u64, number: u64, totals: &Totals) {
    let recent = std::cell::RefCell::new(Vec::new());
    let _told = FailureReport(seed, number, &recent);
    let beside = runtime();
    let plan = plan();
    let reference = beside.block_on(async { self::plan().start() });
    let mut sequence = Sequence {
        reference,
        steps: Steps::new(seed, number),
        left: STEPS,
        recent: &recent,
        totals,
    };
    let mut unanswered = Vec::new();
    loop {
        let life = runtime();
        let end = life.block_on(async {
            let harness = plan.start_on(place.open(plan.tables()).await);
            sequence
                .live(harness, std::mem::take(&mut unanswered))
                .await
        });
        match end {
            // Nothing is closed: what it leaves undone stays undone.
            End::Dead(harness, messages) => {
                drop(life);
                drop(harness);
                unanswered = messages;
                add(&totals.deaths, 1);
            }
            End::Stopped(harness) => {
                life.block_on(harness.stop());
                add(&totals.reopened, 1);
            }
            End::Over(harness) => {
                life.block_on(harness.stop());
                break;
            }
        }
    }
    beside.block_on(sequence.reference.stop());
}

/// A day of lists, a week of chats: pauses end both.
fn plan() -> Plan {
    let mut plan = Plan::memory();
    plan.retention = Some(7 * DAY);
    plan
}

impl Sequence<'_> {
    /// Until the process ends, one way or the other. What the life before did not answer is sent again first.
    async fn live(&mut self, harness: ServiceHarness, unanswered: Vec<NewMessage>) -> End {
        if !unanswered.is_empty() {
            self.store(&harness, vec![unanswered]).await;
        }
        while self.left > 0 {
            self.left -= 1;
            let step = self.steps.next();
            self.recent.borrow_mut().push(step.to_string());
            add(&self.totals.steps, 1);
            match step {
                Step::Reopen => {
                    self.lift(&harness);
                    return End::Stopped(harness);
                }
                Step::Die(death, messages) => {
                    die(&harness, death, &messages).await;
                    return End::Dead(harness, messages);
                }
                other => self.step(&harness, other).await,
            }
        }
        self.compare(&harness).await;
        End::Over(harness)
    }

    async fn step(&mut self, harness: &ServiceHarness, step: Step) {
        match step {
            Step::Store(groups) => self.store(harness, groups).await,
            Step::Delete(name) => {
                self.reference.service.delete(guest(name)).await.unwrap();
                self.until_done(harness, || harness.service.delete(guest(name)))
                    .await;
            }
            Step::Migrate(name, to) => {
                self.reference
                    .service
                    .migrate(guest(name), user(to))
                    .await
                    .unwrap();
                self.until_done(harness, || harness.service.migrate(guest(name), user(to)))
                    .await;
            }
            Step::Look(name) => self.look(harness, name).await,
            Step::Wait(pause) => {
                harness.clock.advance(pause);
                self.reference.clock.advance(pause);
            }
            Step::Sweep => {
                self.reference.service.sweep().await.unwrap();
                self.until_done(harness, || harness.service.sweep()).await;
            }
            Step::Settle => drop(harness.service.mark_synced().await),
            Step::Fail(failure) => {
                self.lift(harness);
                set(harness, failure);
            }
            _ => self.compare(harness).await,
        }
    }

    /// Sends until everything is answered; the answers are those of the reference.
    async fn store(&mut self, harness: &ServiceHarness, groups: Vec<Vec<NewMessage>>) {
        let mut expected = Vec::new();
        for group in &groups {
            let answers = self.reference.service.store(vec![group.clone()]).await;
            expected.push(place_of(&answers.unwrap()[0]));
        }
        let mut found = vec![None; groups.len()];
        for _ in 0..TRIES {
            // Each group is a request of its own, sent after the one before: their order is that of the reference.
            for (at, group) in groups.iter().enumerate() {
                if found[at].is_some() {
                    continue;
                }
                let answer = harness.service.store(vec![group.clone()]).await;
                match answer.map(|mut answers| answers.remove(0)) {
                    Ok(GroupOutcome::Failed(_)) | Err(_) => break,
                    Ok(answer) => found[at] = Some(place_of(&answer)),
                }
            }
            if found.iter().all(Option::is_some) {
                break;
            }
            self.lift(harness);
        }
        let found: Vec<_> = found
            .into_iter()
            .map(|place| place.expect("an answer in the end"))
            .collect();
        assert_eq!(found, expected, "left: subject, right: reference");
    }

    async fn until_done<T, F: Future<Output = guestbook::core::error::Result<T>>>(
        &self,
        harness: &ServiceHarness,
        ask: impl Fn() -> F,
    ) {
        for _ in 0..TRIES {
            if ask().await.is_ok() {
                return;
            }
            self.lift(harness);
        }
        panic!("it never succeeds");
    }

    /// Whoever answers, the words are those of the tables.
    async fn look(&self, harness: &ServiceHarness, name: &str) {
        let texts = |session: Option<(Vec<String>, _)>| session.map(|(texts, _)| texts);
        let expected = texts(self.reference.session(name).await);
        let Ok(session) = harness.try_session(name).await else {
            return;
        };
        let found = texts(session);
        assert_eq!(
            found, expected,
            "the session of {name}; left: subject, right: reference"
        );
    }

    /// Everything that can be read, once nothing fails any more and the lists have been mended.
    async fn compare(&self, harness: &ServiceHarness) {
        self.lift(harness);
        self.until_done(harness, || harness.service.sweep()).await;
        self.reference.service.sweep().await.unwrap();
        harness.mended().await;
        self.reference.mended().await;
        for name in GUESTS {
            assert_eq!(
                all_shown(harness.messages(name).await),
                all_shown(self.reference.messages(name).await),
                "the chat of {name}; left: subject"
            );
            // What is looked at and mended in the background is no outbox entry that could be waited for.
            let expected = self.reference.listed(name).await;
            until(&format!("the list of {name} is {expected:?}"), || async {
                harness.listed(name).await == expected
            })
            .await;
        }
        for name in USERS {
            assert_eq!(
                owned(harness, name).await,
                owned(&self.reference, name).await,
                "the chats of {name}; left: subject"
            );
        }
        harness.assert_well().await;
        self.reference.clock.advance(SECOND);
        add(&self.totals.compared, 1);
    }

    fn lift(&self, harness: &ServiceHarness) {
        add(
            &self.totals.failures,
            harness.tables.lift_all() + harness.lists.lift_all(),
        );
    }
}

/// The id by which a client knows a message. Beside it, the id in the tables is made anew on each side.
fn shown(own: MessageId, external: Option<&str>) -> String {
    external.map_or_else(|| own.to_string(), str::to_owned)
}

fn all_shown(messages: Vec<Message>) -> Vec<(String, Message)> {
    let one = |message: Message| {
        let shown = shown(message.id, message.external_id.as_deref());
        let id = MessageId(Uuid::nil());
        (shown, Message { id, ..message })
    };
    messages.into_iter().map(one).collect()
}

/// What a client is told of where its messages are. That it was a replay is told after a failure, too.
fn place_of(answer: &GroupOutcome) -> String {
    match answer {
        GroupOutcome::Saved(saved) => {
            let places: Vec<_> = saved
                .iter()
                .map(|saved| &saved.recorded)
                .map(|one| (shown(one.id, one.external_id.as_deref()), one.sequence))
                .collect();
            format!("{places:?}")
        }
        GroupOutcome::Conflict { index, id } => format!("conflict {index} {id}"),
        GroupOutcome::Failed(cause) => panic!("{cause}"),
    }
}

fn set(harness: &ServiceHarness, failure: Failure) {
    let control = if failure.of_tables {
        &harness.tables
    } else {
        &harness.lists
    };
    match failure.lasts {
        true => control.fail_from(failure.nth, failure.kind, failure.when),
        false => control.fail_nth(failure.nth, failure.kind, failure.when),
    }
}

/// Leaves messages on their way to where they will not arrive, or not wholly.
async fn die(harness: &ServiceHarness, death: Death, messages: &[NewMessage]) {
    match death {
        Death::BeforeCommit => harness.tables.hold(&["record"]),
        Death::BeforeList => harness.lists.hold(&["apply", "replace", "remove"]),
        Death::Anywhere => {}
    }
    let before = harness.tables.count("record");
    let Ok(waiting) = harness.service.enqueue(vec![messages.to_vec()]).await else {
        return;
    };
    match death {
        Death::Anywhere => tokio::task::yield_now().await,
        _ => {
            until("the commit has begun", || async {
                harness.tables.count("record") > before
            })
            .await
        }
    }
    if matches!(death, Death::BeforeList) {
        tokio::time::sleep(Duration::from_millis(3)).await; // long enough, mostly, for the commit
    }
    drop(waiting);
}

async fn owned(harness: &ServiceHarness, name: &str) -> Vec<(String, u64, u64)> {
    let all = harness
        .service
        .conversations(&user(name), None, 1000)
        .await
        .unwrap();
    let mut all: Vec<_> = all
        .into_iter()
        .map(|one| (one.title, one.message_count, one.total_tokens))
        .collect();
    all.sort();
    all
}
