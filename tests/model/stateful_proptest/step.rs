//! What can happen, and the dice that decide it.

use guestbook::core::error::ErrorKind;
use guestbook::core::{ClientId, Content, MessageId, NewMessage, Role};
use guestbook_testkit::random::Random;
use guestbook_testkit::service_harness::control::When;
use guestbook_testkit::service_harness::words::{DAY, HOUR, guest, noon};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// Few enough that they meet again.
pub(crate) const GUESTS: [&str; 4] = ["ann", "Ann", "bob", "cy:1"];
pub(crate) const USERS: [&str; 2] = ["user-1", "bob"];
/// Ids that are no UUIDs.
const NAMES: [&str; 3] = ["1", "2", "a/b"];
const TEXTS: [&str; 5] = [
    "yes",
    "one two three",
    " é \u{1F600} ",
    "\"q\" \\",
    "a\nb c",
];
const KINDS: [ErrorKind; 5] = [
    ErrorKind::Unavailable,
    ErrorKind::Full,
    ErrorKind::Busy,
    ErrorKind::Corrupt,
    ErrorKind::Internal,
];

/// A call of one of the stores that fails: the nth from now, and those after it if it lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) of_tables: bool,
    pub(crate) nth: usize,
    pub(crate) kind: ErrorKind,
    pub(crate) when: When,
    pub(crate) lasts: bool,
}

/// Where the process dies: with these calls of the stores begun and not done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    BeforeCommit,
    BeforeList,
    Anywhere,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Store(Vec<Vec<NewMessage>>),
    Delete(&'static str),
    Migrate(&'static str, &'static str),
    Look(&'static str),
    Wait(Duration),
    Sweep,
    Settle,
    Fail(Failure),
    /// Everything is compared.
    Compare,
    /// Stopped as it should be, and started again.
    Reopen,
    /// Dies while it stores these, and is started again.
    Die(Death, Vec<NewMessage>),
}

/// A line for a person.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |group: &Vec<NewMessage>| {
            let message = |message: &NewMessage| {
                let id = message.client_id.as_ref().map(ClientId::to_string);
                let id = id.unwrap_or_else(|| message.id.to_string());
                format!(
                    "{} {:?} {}",
                    message.guest,
                    message.content.as_str(),
                    id.get(..8).unwrap_or(&id)
                )
            };
            group.iter().map(message).collect::<Vec<_>>()
        };
        match self {
            Self::Store(groups) => {
                write!(f, "Store {:?}", groups.iter().map(told).collect::<Vec<_>>())
            }
            Self::Die(death, messages) => write!(f, "Die {death:?} {:?}", told(messages)),
            other => write!(f, "{other:?}"),
        }
    }
}

/// The steps of a sequence, one after the other.
pub(crate) struct Steps {
    random: Random,
    said: Vec<NewMessage>,
}

impl Steps {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        Self {
            random: Random::new(seed.wrapping_add(number.wrapping_mul(0xa076_1d64_78bd_642f))),
            said: Vec::new(),
        }
    }

    pub(crate) fn next(&mut self) -> Step {
        match self.random.below(100) {
            0..38 => Step::Store(self.groups()),
            38..44 => Step::Delete(self.guest()),
            44..49 => Step::Migrate(self.guest(), self.random.one_of(&USERS)),
            49..57 => Step::Look(self.guest()),
            57..65 => Step::Wait(self.pause()),
            65..68 => Step::Sweep,
            68..72 => Step::Settle,
            72..86 => Step::Fail(self.failure()),
            86..92 => Step::Compare,
            92..95 => Step::Reopen,
            _ => {
                let guest = self.guest();
                let messages = (0..1 + self.random.below(2))
                    .map(|_| self.message(guest))
                    .collect();
                Step::Die(
                    self.random
                        .one_of(&[Death::BeforeCommit, Death::BeforeList, Death::Anywhere]),
                    messages,
                )
            }
        }
    }

    fn groups(&mut self) -> Vec<Vec<NewMessage>> {
        let groups = 1 + self.random.below(3);
        (0..groups).map(|_| self.group()).collect()
    }

    /// New messages of one guest, or one that was sent before, or another under the id of that.
    fn group(&mut self) -> Vec<NewMessage> {
        let guest = self.guest();
        if !self.said.is_empty() && self.random.chance(20) {
            let mut old = self.random.one_of(&self.said);
            let id = old.client_id.clone().unwrap_or_else(|| old.id.into());
            return match self.random.chance(70) {
                // Only a UUID is the message's own id each time.
                true => {
                    old.id = id.wanted().unwrap_or_else(|| self.id());
                    vec![old]
                }
                false => vec![self.fresh(guest).with_client_id(id)],
            };
        }
        (0..1 + self.random.below(3))
            .map(|_| self.message(guest))
            .collect()
    }

    fn message(&mut self, name: &str) -> NewMessage {
        let message = self.fresh(name);
        self.said.push(message.clone());
        message
    }

    fn fresh(&mut self, name: &str) -> NewMessage {
        let id = self.id();
        let (role, text) = (self.random.one_of(&Role::ALL), self.random.one_of(&TEXTS));
        let content = Content::parse(text, 1000).unwrap();
        let message = NewMessage::new(id, guest(name), role, content, noon());
        match self.random.chance(20) {
            true => message.with_client_id(ClientId::parse(self.random.one_of(&NAMES)).unwrap()),
            false => message.with_client_id(id),
        }
    }

    fn id(&mut self) -> MessageId {
        let (high, low) = (self.random.number(), self.random.number());
        MessageId(Uuid::from_u64_pair(high, low))
    }

    fn failure(&mut self) -> Failure {
        Failure {
            of_tables: self.random.chance(50),
            nth: self.random.below(6),
            kind: self.random.one_of(&KINDS),
            when: self.random.one_of(&[When::Before, When::After]),
            lasts: self.random.chance(20),
        }
    }

    /// Also as long as lists live, and as chats are kept.
    fn pause(&mut self) -> Duration {
        match self.random.below(10) {
            0..5 => Duration::from_millis(self.random.below(100_000) as u64),
            5..8 => HOUR * 5,
            8 => DAY,
            _ => DAY * 7,
        }
    }

    fn guest(&mut self) -> &'static str {
        self.random.one_of(&GUESTS)
    }
}
