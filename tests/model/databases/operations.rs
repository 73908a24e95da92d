//! What is done to both sides. An operation names a conversation by the order in which it was first seen, because the
//! sides give them different ids.

use guestbook::core::{
    ClientId, Content, ContextBudget, GuestId, MessageId, Metadata, ModelId, NewMessage, OwnerId,
    Role, SearchText, Timestamp, Vector, Words,
};
use guestbook::storage::database::{
    CounterDeltas, Embedding, Entry, Group, PageStart, SearchQuery, SearchScope, VectorOutcome,
    VectorUpdate,
};
use guestbook_testkit::random::Random;
use std::time::Duration;
use uuid::Uuid;

/// Few enough that they meet again, and one user who is a guest as well.
const GUESTS: [&str; 5] = ["ann", "Ann", "bob", "cy:1", "both"];
const USERS: [&str; 3] = ["user-1", "user-2", "both"];
const TEXTS: [&str; 6] = [
    "yes",
    "no",
    "one two three",
    " é \u{1F600} ",
    "\"q\" \\",
    "a\nb c",
];
/// What is looked for; each is in some text.
const SOUGHT: [&str; 5] = ["yes", "THREE one", "q", "e\u{301}", "c b"];
/// Ids that are no UUIDs. Few, so that guests send the same ones.
const NAMES: [&str; 6] = ["1", "2", "3", "a/b", "\u{1F600}", " "];
const DIMENSION: usize = 8;

/// One call, or a few that belong together.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Record {
        groups: Vec<Group>,
        synced_ranges: Option<(usize, u64)>,
        deltas: CounterDeltas,
    },
    History(GuestId, PageStart, usize),
    HistoryById(usize, PageStart, usize),
    Conversations(OwnerId, Option<usize>, usize),
    Erase(GuestId),
    Migrate(GuestId, OwnerId),
    MigrationFailed(GuestId, OwnerId),
    Expire,
    Lapse,
    /// The messages of a conversation below a sequence.
    Settle(usize, u64, CounterDeltas),
    PayRemoval(GuestId),
    OutboxEntries,
    ListRow(GuestId),
    ListRows(Option<usize>, usize),
    Pending(Option<MessageId>, usize),
    Missing(ModelId, Option<MessageId>, usize),
    Update(ModelId, Vec<VectorUpdate>),
    Search(SearchScope, SearchQuery, usize),
    Context(GuestId, ContextBudget, Option<(ModelId, Vector)>),
    UsageAudit(OwnerId),
    Metrics,
    /// Sets everything derived of a conversation to what its messages say.
    RepairChat(usize),
    RepairUsage(OwnerId),
    RepairMetrics,
    Incarnation(Uuid),
}

/// The operations of a seed, one after the other, and their times.
pub(crate) struct Generator {
    random: Random,
    /// Decides about questions, so that what is done between them does not depend on how they are asked.
    asking: Random,
    now: Timestamp,
    said: Vec<NewMessage>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            asking: Random::new(!seed),
            now: Timestamp::parse("2100-01-30T20:00:00Z").unwrap(),
            said: Vec::new(),
        }
    }

    pub(crate) fn next(&mut self) -> (Timestamp, Operation) {
        if self.asking.chance(8) {
            return (self.now, self.question());
        }
        self.now = self.now.plus(self.pause());
        let operation = match self.random.below(100) {
            0..40 => self.record(),
            40..44 => Operation::History(self.guest(), self.page(), self.limit()),
            44..47 => Operation::HistoryById(self.conversation(), self.page(), self.limit()),
            47..50 => Operation::Conversations(self.user(), self.after(), self.limit()),
            50..53 => Operation::Erase(self.guest()),
            53..56 => Operation::Migrate(self.guest(), self.user()),
            56..57 => Operation::MigrationFailed(self.guest(), self.user()),
            57..60 => Operation::Expire,
            60..63 => Operation::Lapse,
            63..70 => Operation::Settle(self.conversation(), self.sequence(), self.deltas()),
            70..72 => Operation::PayRemoval(self.guest()),
            72..75 => Operation::OutboxEntries,
            75..77 => Operation::ListRow(self.guest()),
            77..80 => Operation::ListRows(self.after(), self.limit()),
            80..82 => Operation::Pending(self.after_message(), self.limit()),
            82..85 => Operation::Missing(self.model(), self.after_message(), self.limit()),
            85..91 => Operation::Update(self.model(), self.updates()),
            91..93 => Operation::UsageAudit(self.owner()),
            93..94 => Operation::Metrics,
            94..96 => Operation::RepairChat(self.conversation()),
            96..98 => Operation::RepairUsage(self.owner()),
            98..99 => Operation::RepairMetrics,
            _ => Operation::Incarnation(self.uuid()),
        };
        (self.now, operation)
    }

    /// Mostly short, but also exactly as long as the lists live, and into another day and month.
    fn pause(&mut self) -> Duration {
        let seconds = |n: usize| Duration::from_secs(n as u64);
        match self.random.below(100) {
            0..20 => Duration::ZERO,
            20..75 => Duration::from_millis(self.random.below(90_000) as u64),
            75..90 => seconds(self.random.below(3600)),
            90..94 => seconds(3600),
            94..98 => seconds(3600 * self.random.below(10)),
            98..99 => seconds(3600 * 36),
            _ => seconds(86_400 * self.random.below(40)),
        }
    }

    fn record(&mut self) -> Operation {
        let mut groups = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            let n = 1 + self.random.below(3);
            let guest = self.guest();
            groups.push(Group((0..n).map(|_| self.entry(&guest)).collect()));
        }
        if self.random.chance(2) && !self.said.is_empty() {
            groups.push(self.unannounced_repetition());
        }
        let synced_ranges = self.random.chance(30);
        let synced_ranges = synced_ranges.then(|| (self.conversation(), self.sequence()));
        Operation::Record {
            groups,
            synced_ranges,
            deltas: self.deltas(),
        }
    }

    /// A group of its own, so that the order in which a backend checks the rules does not matter.
    fn unannounced_repetition(&mut self) -> Group {
        let mut message = self.random.one_of(&self.said);
        message.client_id = None;
        Group(vec![Entry {
            message,
            embedding: Embedding::Off,
        }])
    }

    /// Something new, or something that was said before, or something else under the id of that, mostly of another guest's.
    fn entry(&mut self, guest: &GuestId) -> Entry {
        let repeats = !self.said.is_empty() && self.random.chance(15);
        let message = match repeats {
            true if self.random.chance(70) => self.again(),
            true => {
                let id = self.random.one_of(&self.said).id;
                let other = self.message(guest).with_client_id(id);
                self.said.push(other.clone());
                other
            }
            false => {
                let fresh = self.message(guest);
                let again = match fresh.client_id {
                    Some(_) => fresh.clone(),
                    None => fresh.clone().with_client_id(fresh.id),
                };
                self.said.push(again);
                fresh
            }
        };
        Entry {
            message,
            embedding: self.embedding(),
        }
    }

    /// Something that was said before. Only a UUID is the message's own id each time.
    fn again(&mut self) -> NewMessage {
        let mut message = self.random.one_of(&self.said);
        let wanted = message.client_id.as_ref().and_then(ClientId::wanted);
        message.id = wanted.unwrap_or_else(|| MessageId(self.uuid()));
        message
    }

    fn message(&mut self, guest: &GuestId) -> NewMessage {
        let id = MessageId(self.uuid());
        let role = self.random.one_of(&Role::ALL);
        let text = self.random.one_of(&TEXTS);
        let content = Content::parse(text, 1000).unwrap();
        let sent_at = Timestamp::from_ms(self.now.ms() - self.random.below(5000) as i64);
        let message = NewMessage::new(id, guest.clone(), role, content, sent_at);
        let message = match self.random.below(10) {
            0..4 => message.with_client_id(id),
            4..6 => message.with_client_id(ClientId::parse(self.random.one_of(&NAMES)).unwrap()),
            _ => message,
        };
        let message = match self.random.chance(30) {
            true => message.untimed(),
            false => message,
        };
        let message = match self.random.chance(10) {
            true => message.as_part(),
            false => message,
        };
        let other = self.random.chance(5).then(|| self.said_client_id());
        let message = message.ruling_out(other.flatten());
        let metadata = self.random.chance(10);
        message.with_metadata(metadata.then(|| Metadata::parse(r#"{"k":1}"#).unwrap()))
    }

    fn embedding(&mut self) -> Embedding {
        match self.random.below(10) {
            0..5 => Embedding::Vector(self.vector()),
            5..7 => Embedding::Pending,
            7 => Embedding::Failed("refused".into()),
            8 => Embedding::Nothing,
            _ => Embedding::Off,
        }
    }

    fn updates(&mut self) -> Vec<VectorUpdate> {
        let n = self.random.below(4);
        (0..n).map(|_| self.update()).collect()
    }

    fn update(&mut self) -> VectorUpdate {
        let outcome = match self.random.below(6) {
            0..3 => VectorOutcome::Vector(self.vector()),
            3 => VectorOutcome::Nothing,
            4 => VectorOutcome::Retry("busy".into()),
            _ => VectorOutcome::Failed("refused".into()),
        };
        VectorUpdate {
            id: self.said_id(),
            attempts: self.random.below(5) as u32,
            outcome,
        }
    }

    fn vector(&mut self) -> Vector {
        vector(self.random.below(100) as u8)
    }

    fn deltas(&mut self) -> CounterDeltas {
        match self.random.chance(30) {
            true => CounterDeltas {
                hits: self.random.below(5) as u64,
                misses: self.random.below(5) as u64,
                timed: self.random.below(5) as u64,
                timed_ms: self.random.below(100) as f64,
                owners: Vec::new(),
            },
            false => CounterDeltas::default(),
        }
    }

    fn question(&mut self) -> Operation {
        std::mem::swap(&mut self.random, &mut self.asking);
        let question = match self.random.chance(50) {
            true => Operation::Search(self.scope(), self.sought(), 1 + self.random.below(12)),
            false => Operation::Context(self.guest(), self.budget(), self.about()),
        };
        std::mem::swap(&mut self.random, &mut self.asking);
        question
    }

    fn scope(&mut self) -> SearchScope {
        match self.random.chance(50) {
            true => SearchScope::Guest(self.guest()),
            false => SearchScope::User(self.user()),
        }
    }

    fn sought(&mut self) -> SearchQuery {
        if self.random.chance(40) {
            let text = SearchText::parse("q", self.random.one_of(&SOUGHT)).unwrap();
            return SearchQuery::Text(Words::of("q", &text).unwrap());
        }
        SearchQuery::Meaning {
            model: self.model(),
            vector: self.vector(),
        }
    }

    fn budget(&mut self) -> ContextBudget {
        let recent = self.random.chance(60);
        let recent = recent.then(|| self.random.below(6) as u64);
        ContextBudget::new(1 + self.random.below(40) as u64, recent).unwrap()
    }

    fn about(&mut self) -> Option<(ModelId, Vector)> {
        let is_asked = self.random.chance(70);
        is_asked.then(|| (self.model(), self.vector()))
    }

    fn guest(&mut self) -> GuestId {
        GuestId::parse(self.random.one_of(&GUESTS)).unwrap()
    }

    fn user(&mut self) -> OwnerId {
        OwnerId::from_stored(self.random.one_of(&USERS))
    }

    fn owner(&mut self) -> OwnerId {
        match self.random.chance(50) {
            true => self.user(),
            false => OwnerId::from(&self.guest()),
        }
    }

    fn conversation(&mut self) -> usize {
        self.random.below(1 << 20)
    }

    fn after(&mut self) -> Option<usize> {
        self.random.chance(50).then(|| self.conversation())
    }

    fn said_id(&mut self) -> MessageId {
        match self.said.is_empty() {
            true => MessageId(self.uuid()),
            false => self.random.one_of(&self.said).id,
        }
    }

    fn said_client_id(&mut self) -> Option<ClientId> {
        let some = !self.said.is_empty();
        some.then(|| self.random.one_of(&self.said).client_id)
            .flatten()
    }

    fn after_message(&mut self) -> Option<MessageId> {
        self.random.chance(50).then(|| self.said_id())
    }

    fn model(&mut self) -> ModelId {
        model(self.random.one_of(&["first", "first", "second"]))
    }

    fn sequence(&mut self) -> u64 {
        self.random.below(20) as u64
    }

    fn page(&mut self) -> PageStart {
        match self.random.chance(50) {
            true => PageStart::At(self.sequence()),
            false => PageStart::Below(self.sequence()),
        }
    }

    fn limit(&mut self) -> usize {
        self.random.one_of(&[0, 1, 2, 5, 1000])
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.random.number(), self.random.number())
    }
}

pub(crate) fn model(name: &str) -> ModelId {
    ModelId::new(name, DIMENSION, &[name.len() as u8; 32])
}

/// The only place that knows how a vector is made.
fn vector(seed: u8) -> Vector {
    let cell = |n: usize| 1 + (usize::from(seed) * (n + 3) % 50) as u8;
    let cells: Vec<_> = (0..DIMENSION).map(cell).collect();
    Vector::from_bytes(&cells).unwrap()
}

/// Every guest there can be.
pub(crate) fn guests() -> impl Iterator<Item = GuestId> {
    GUESTS.into_iter().map(|name| GuestId::parse(name).unwrap())
}
